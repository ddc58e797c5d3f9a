//! Integration tests of quorate-clocks, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail the way tests do, and print seeds"
)]

mod alloc;
mod cases;
mod causality;
mod clock;
mod drift;
mod dvv;
mod dvv_model;
mod examples;
mod format_mutations;
mod format_vectors;
mod key;
mod manual;
mod matrix;
mod model;
mod mutants;
#[cfg(feature = "serde")]
mod serialized;
mod shiviz;
mod support;
mod system;
mod time;
mod vectors;
