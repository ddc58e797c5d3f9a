//! Golden vectors of wire version 1. Never edited, only added to.

use quorate_transport::*;

/// Hex without spaces.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The worked example of the format.
#[test]
fn worked_example() {
    let frame = Frame::message(ChannelId::new(7), &b"hi"[..]);
    let expected = "02000000ac2a93d803000700000000000000000000000000\
                    01000000b8f5a8e56869";
    assert_eq!(hex(&frame.encode(1).unwrap()), expected);
}
