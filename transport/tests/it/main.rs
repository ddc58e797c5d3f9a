//! Integration tests of quorate-transport, one binary.

mod calls;
mod conformance;
mod golden;
mod support;
mod tcp;
