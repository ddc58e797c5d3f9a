//! Two nodes whose clocks disagree; a message between them keeps cause before effect.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use quorate_clocks::{Hlc, ManualClock, ObserveError, SkewedClock, Timestamp, WallTime};
use std::time::Duration;

/// What a message carries besides its content: eight bytes.
struct Message {
    stamp: [u8; 8],
    text: &'static str,
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let truth = ManualClock::new(WallTime::from_nanos(1_700_000_000_000_000_000));
    // Alice's clock is 40 ms ahead of Bob's.
    let alice = Hlc::new(SkewedClock::new(truth.clone(), 40_000_000, 0));
    let bob = Hlc::new(truth.clone());

    let sent = alice.now();
    println!("alice sends     {sent}");
    let message = Message { stamp: sent.to_bytes(), text: "order 17" };

    truth.advance(Duration::from_millis(1));
    let stamp = Timestamp::from_bytes(message.stamp).ok_or("a stamp is never zero")?;
    let received = bob.observe(stamp)?;
    println!("bob receives    {received}  {}", message.text);
    assert!(received > sent, "although Bob's clock was behind");
    let shipped = bob.now();
    println!("bob ships       {shipped}");
    assert!(shipped > received);

    // A node whose clock is wrong by a year is told so, and drags nobody along.
    let year = Duration::from_secs(365 * 86_400);
    let mad = Hlc::new(ManualClock::new(WallTime::from_nanos(1_700_000_000_000_000_000)));
    mad.clock().advance(year);
    match bob.observe(mad.now()) {
        Err(ObserveError::Ahead(skew)) => println!("bob refuses     {skew}"),
        other => unreachable!("a year ahead: {other:?}"),
    }
    assert!(bob.now() < mad.now());
    Ok(())
}
