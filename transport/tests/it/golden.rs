//! Golden vectors of wire version 1, one of every kind. Never edited, only added to.

use crate::support::*;
use quorate_transport::*;

/// Hex without spaces.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

pub fn hello() -> Hello {
    let mut hello = Hello::new(identity(1, 3), Lane::Data, Some(node(2)), 0x1122_3344_5566_7788);
    hello.dead_nonce = 9;
    hello.frame_bytes_max = 16 << 20;
    hello.ping_interval_ms = 500;
    hello.advertised = Some("10.1.2.3:7400".parse().unwrap());
    hello
}

pub fn hello_ack() -> HelloAck {
    let life = Incarnation::new(5);
    let mut ack = HelloAck::new(HelloStatus::Duplicate, node(2), life, 0x1122_3344_5566_7788);
    ack.frame_bytes_max = 16 << 20;
    ack.other_nonce = 0xAA;
    ack.known = Incarnation::new(4);
    ack.observed = Some("[2001:db8::1]:9".parse().unwrap());
    ack
}

/// One frame of every kind, as the first of its connection.
pub fn frames() -> Vec<Frame> {
    let of = |kind| Frame::new(kind, CHANNEL).with_id(0x0102_0304_0506_0708);
    vec![
        hello().to_frame(),
        hello_ack().to_frame(),
        Frame::message(ChannelId::new(7), &b"hi"[..]),
        of(Kind::Call).with_aux(1_000).with_body(&b"call"[..]),
        of(Kind::Reply).with_aux(42).with_body(&b"reply"[..]),
        of(Kind::Reject).with_aux(0x1_0007).with_body(&b"why"[..]),
        of(Kind::Cancel),
        of(Kind::StreamOpen).with_body(&b"head"[..]),
        of(Kind::StreamData).with_body(&b"chunk"[..]),
        of(Kind::StreamCredit).with_aux(65_536),
        of(Kind::StreamEnd).with_body(vec![5, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]),
        of(Kind::StreamDone),
        of(Kind::StreamReset).with_aux(2),
        of(Kind::Ping),
        of(Kind::Pong).with_aux(7),
        Frame::new(Kind::GoAway, ChannelId::ENDPOINT).with_aux(4),
    ]
}

const VECTORS: [&str; 16] = [
    "800000003db5a3390100000000000000000000000000000000000000cdb4588f \
     5152544548454c4f01000100010000007766554433221100efcdab8967452301 \
     0100000000000000030000000000000002000000000000000000000000000000 \
     887766554433221109000000000000000000000100000000f401000000000000 \
     0400e81c0a010203000000000000000000000000000000000000000000000000",
    "60000000a61876070200000000000000000000000000000000000000325ed7e3 \
     0100010000000001020000000000000005000000000000000000000000000000 \
     8877665544332211aa0000000000000004000000000000000000000000000000 \
     0600090020010db8000000000000000000000001000000000000000000000000",
    "02000000ac2a93d80300070000000000000000000000000000000000dd92145d \
     6869",
    "040000003e2f8ecc04001000e803000008070605040302010000000059b3e1ae \
     63616c6c",
    "05000000e0c6a8fd050010002a000000080706050403020100000000c9cdba76 \
     7265706c79",
    "03000000f08f022a06001000070001000807060504030201000000008ae18e0a \
     776879",
    "00000000000000000700100000000000080706050403020100000000cb4723e2",
    "040000009cf6f3a708001000000000000807060504030201000000003f119ea0 \
     68656164",
    "050000002e71069509001000000000000807060504030201000000008bbef47b \
     6368756e6b",
    "00000000000000000a0010000000010008070605040302010000000010a07dc9",
    "100000009a53c3be0b00100000000000080706050403020100000000381e78e0 \
     05000000000000000102030400000000",
    "00000000000000000c00100000000000080706050403020100000000b3dc51d0",
    "00000000000000000d0010000200000008070605040302010000000096c29632",
    "00000000000000000e001000000000000807060504030201000000003faa9f1a",
    "00000000000000000f001000070000000807060504030201000000000c690182",
    "000000000000000010000000040000000000000000000000000000004b9087b4",
];

#[test]
fn every_kind_is_encoded_as_written_down() {
    let all: Vec<String> = frames().iter().map(|frame| hex(&frame.encode(0).unwrap())).collect();
    let expected: Vec<String> = VECTORS.iter().map(|v| hex(&unhex(v))).collect();
    for (found, expected) in all.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(frames().iter().map(|f| f.kind).collect::<Vec<_>>(), Kind::ALL);
}

#[test]
fn every_vector_is_decoded_to_its_frame() {
    for (vector, frame) in VECTORS.iter().zip(frames()) {
        let mut decoder = Decoder::new(1024);
        decoder.feed(&unhex(vector));
        assert_eq!(decoder.decode(), Ok(Some(frame)));
        assert_eq!(decoder.decode(), Ok(None));
    }
    assert_eq!(Hello::decode(&frames()[0]), Ok(hello()));
    assert_eq!(HelloAck::decode(&frames()[1]), Ok(hello_ack()));
}

/// The worked example of the format.
#[test]
fn worked_example() {
    let frame = Frame::message(ChannelId::new(7), &b"hi"[..]);
    let expected = "02000000 ac2a93d8 03 00 0700 00000000 0000000000000000 01000000 b8f5a8e5 6869";
    assert_eq!(frame.encode(1).unwrap(), unhex(expected));
}

/// A datagram of node 1 for node 2 on channel 7, body `hi`.
pub const DATAGRAM: &str = "445101000700020098abfecd546732010100000000000000 \
     030000000000000002000000110df14c6869";

pub fn datagram() -> Vec<u8> {
    unhex(DATAGRAM)
}

#[test]
fn a_datagram_is_encoded_and_decoded_as_written_down() {
    let channel = ChannelId::new(7);
    let wire = Datagram::encode(&identity(1, 3), node(2), channel, b"hi").unwrap();
    assert_eq!(hex(&wire), hex(&datagram()));
    let wire = datagram();
    let found = Datagram::decode(&wire, &identity(2, 1), 2).unwrap();
    assert_eq!((found.source, found.incarnation.value()), (node(1), 3));
    assert_eq!((found.channel, found.body), (channel, &b"hi"[..]));
}
