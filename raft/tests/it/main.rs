//! Integration tests of quorate-raft, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail the way tests do"
)]

mod alloc;
mod backlog;
mod bad_input;
mod cluster;
mod crash;
mod examples;
mod golden;
mod group;
mod hazards;
mod kill;
mod linearizable;
mod lives;
mod members;
mod model;
#[cfg(mutant)]
mod mutants;
mod observe;
mod props;
mod refusals;
mod scripts;
mod sessions;
mod sim;
mod snapshot_resume;
mod snapshots_sending;
mod snapshots_wanted;
mod store;
mod subscribe;
mod transfers;
