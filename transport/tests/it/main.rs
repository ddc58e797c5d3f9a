//! Integration tests of quorate-transport, one binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "helpers of tests fail the way tests do"
)]

mod bad_input;
mod calls;
mod campaign;
mod codec;
mod conformance;
mod datagrams;
mod dedup;
mod examples;
mod faulty;
mod golden;
mod hazards;
mod limits;
mod links;
mod liveness;
#[cfg(mutant)]
mod mutants;
mod props;
mod quorum;
mod sockets;
mod streams;
mod support;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
