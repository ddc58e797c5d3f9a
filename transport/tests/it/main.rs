//! Integration tests of quorate-transport, one binary.

mod calls;
mod golden;
mod support;
