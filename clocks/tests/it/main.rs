//! Integration tests of quorate-clocks, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail the way tests do, and print seeds"
)]

mod clock;
mod drift;
mod examples;
mod execution;
mod horizon;
mod hybrid;
mod lamport;
#[cfg(loom)]
mod loom;
mod manual;
mod mark;
mod mutants;
mod slot_disk;
mod sources;
mod support;
mod system;
mod time;
mod timestamp;
