//! The integration tests of the crate, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_wrap,
    reason = "helpers of tests fail and count the way tests do"
)]

mod alloc;
mod bad_input;
mod campaign;
mod clusters;
mod compat;
mod contract;
mod examples;
mod golden;
mod hazards;
mod model;
#[cfg(mutant)]
mod mutants;
mod oracle;
mod props;
mod random;
mod report;
#[cfg(feature = "serde")]
mod serialized;
mod solver;

/// Whether bytes occur within others.
fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
