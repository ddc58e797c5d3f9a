//! The integration tests of the crate, one binary.

mod bad_input;
mod compat;
mod dice;
mod golden;
mod hazards;
mod props;
