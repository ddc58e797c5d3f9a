//! The key-value store as its users see it: real processes, real sockets, a real Redis client.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::exit,
    reason = "helpers of tests fail the way tests do; the child ends the way the program does"
)]

mod cli;
mod commands;
mod crash;
mod limits;
mod process;

/// The child's part: this binary runs the program when a test asks it to.
#[test]
fn child() {
    let Ok(args) = std::env::var(process::ARGS) else { return };
    let args = std::iter::once("kv").chain(args.split('\n')).map(std::ffi::OsString::from);
    // The harness would call any end of the test a success.
    std::process::exit(i32::from(kv::run(args)));
}
