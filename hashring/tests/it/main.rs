//! The integration tests of the crate, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_wrap,
    reason = "helpers of tests fail and count the way tests do"
)]

mod campaign;
mod hazards;
mod model;
mod oracle;
mod random;
mod solver;
