//! Integration tests of quorate-transport, one binary.

mod bad_input;
mod calls;
mod conformance;
mod golden;
mod hazards;
mod links;
mod liveness;
mod props;
mod support;
mod tcp;
