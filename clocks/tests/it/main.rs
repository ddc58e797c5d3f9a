//! Integration tests of quorate-clocks, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail the way tests do, and print seeds"
)]

mod alloc;
mod bounded;
mod bounded_format;
mod causality;
mod clock;
mod clockbound;
mod commit_wait;
mod drift;
mod dvv;
mod dvv_model;
mod examples;
mod execution;
mod format_mutations;
mod format_vectors;
mod generation;
mod horizon;
mod hybrid;
mod key;
mod lamport;
#[cfg(loom)]
mod loom;
#[cfg(loom)]
mod loom_snapshot;
mod manual;
mod mark;
mod matrix;
mod model;
mod mutants;
mod ntp;
mod serialized;
mod shiviz;
mod slot_disk;
mod sources;
mod support;
mod system;
mod time;
mod timestamp;
mod vectors;
