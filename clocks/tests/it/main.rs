//! Integration tests of quorate-clocks, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail the way tests do, and print seeds"
)]

mod bounded;
mod bounded_format;
mod clock;
mod clockbound;
mod commit_wait;
mod drift;
mod examples;
mod execution;
mod generation;
mod horizon;
mod hybrid;
mod lamport;
#[cfg(loom)]
mod loom;
#[cfg(loom)]
mod loom_snapshot;
mod manual;
mod mark;
mod mutants;
mod ntp;
mod slot_disk;
mod sources;
mod support;
mod system;
mod time;
mod timestamp;
