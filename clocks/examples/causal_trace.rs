//! A client writes to a leader that has a follower, and every step goes into a trace that the
//! `ShiViz` page draws as a space-time diagram: `cargo run --example causal_trace > trace.log`.

use quorate_clocks::{ShivizLog, TraceError, TraceProcess};
use std::io::Write;

pub(crate) fn trace<W: Write>(out: W) -> Result<W, TraceError> {
    let log = ShivizLog::new(out);
    let mut client = TraceProcess::new(&log, "client")?;
    let mut leader = TraceProcess::new(&log, "leader")?;
    let mut follower = TraceProcess::new(&log, "follower")?;

    // The stamp travels with the message; here it is handed over by hand.
    let put = client.send("put x = 1")?;
    leader.receive(put, "got put x = 1")?;
    leader.local("appended entry 1")?;
    let append = leader.send("append entry 1 to follower")?;
    client.local("waits")?; // concurrent with all that the leader does
    follower.receive(append, "got entry 1")?;
    follower.local("entry 1 is durable")?;
    let ack = follower.send("acknowledge entry 1")?;
    leader.receive(ack, "entry 1 is committed")?;
    let done = leader.send("put done")?;
    client.receive(done, "put done")?;
    Ok(log.into_inner())
}

#[allow(dead_code, reason = "the test calls `trace` as well")]
pub(crate) fn main() -> Result<(), TraceError> {
    trace(std::io::stdout().lock()).map(drop)
}
