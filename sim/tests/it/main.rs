//! The tests of the crate: one binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail the way tests do, and print what they counted"
)]

mod async_nodes;
mod calls;
mod campaign;
mod checkers;
mod clocks;
mod composition;
mod conformance;
mod datagrams;
mod determinism;
mod disk;
mod examples;
mod exhaust;
mod files;
mod hazards;
mod linearizable;
mod links;
mod planted;
mod qcheck;
mod recorded;
mod recorder;
mod shrink;
mod toys;
mod world;
