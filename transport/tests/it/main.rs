//! Integration tests of quorate-transport, one binary.

mod bad_input;
mod calls;
mod conformance;
mod examples;
mod golden;
mod hazards;
mod links;
mod liveness;
#[cfg(mutant)]
mod mutants;
mod props;
mod support;
mod tcp;
