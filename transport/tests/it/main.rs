//! Integration tests of quorate-transport, one binary.

mod bad_input;
mod calls;
mod conformance;
mod golden;
mod links;
mod support;
mod tcp;
