//! Integration tests of quorate-raft, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail the way tests do"
)]

mod cluster;
mod group;
mod hazards;
#[cfg(mutant)]
mod mutants;
mod scripts;
mod sim;
mod store;
