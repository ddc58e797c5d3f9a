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
mod clocks;
mod datagrams;
mod determinism;
mod disk;
mod exhaust;
mod files;
mod hazards;
mod linearizable;
mod links;
mod qcheck;
mod recorded;
mod recorder;
mod world;
