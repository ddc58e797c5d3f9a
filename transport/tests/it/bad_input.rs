//! Every row of "bad input → typed answer → effect".

use crate::golden::{frames, hello, hello_ack};
use crate::support::*;
use quorate_transport::*;

fn decode(bytes: &[u8], max: u32) -> Result<Option<Frame>, FrameError> {
    let mut decoder = Decoder::new(max);
    decoder.feed(bytes);
    decoder.decode()
}

/// No bit of any frame can flip without a typed refusal: a wrong frame is never delivered.
#[test]
fn every_flipped_bit_of_every_kind_is_refused() {
    for frame in frames() {
        let wire = frame.encode(0).unwrap();
        for bit in 0..wire.len() * 8 {
            let mut bad = wire.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let expected_crc = bit < 32 * 8;
            match decode(&bad, 1024) {
                Err(FrameError::HeadCrc { .. }) => assert!(expected_crc, "{:?} {bit}", frame.kind),
                Err(FrameError::BodyCrc { .. }) => assert!(!expected_crc, "{:?} {bit}", frame.kind),
                other => panic!("{:?} with bit {bit} flipped gave {other:?}", frame.kind),
            }
        }
    }
}

/// With a payload that checks itself, the header still is protected whole.
#[test]
fn without_a_body_crc_the_header_is_still_whole() {
    let wire = Frame::message(CHANNEL, &b"payload"[..]).without_body_crc().encode(0).unwrap();
    for bit in 0..32 * 8 {
        let mut bad = wire.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(decode(&bad, 1024), Err(FrameError::HeadCrc { .. })), "{bit}");
    }
}

#[test]
fn truncation_is_waited_for_never_guessed() {
    for frame in frames() {
        let wire = frame.encode(0).unwrap();
        for end in 0..wire.len() {
            assert_eq!(decode(&wire[..end], 1024), Ok(None));
        }
    }
}

#[test]
fn oversized_frames_are_refused_before_their_body() {
    let wire = Frame::message(CHANNEL, vec![0; 1025]).encode(0).unwrap();
    let expected = Err(FrameError::TooLarge { bytes: 1025, max: 1024 });
    assert_eq!(decode(&wire[..32], 1024), expected);
}

#[test]
fn a_gap_in_the_sequence_is_refused() {
    let wire = Frame::message(CHANNEL, &b"x"[..]).encode(1).unwrap();
    assert_eq!(decode(&wire, 1024), Err(FrameError::Sequence { expected: 0, found: 1 }));
}

/// Encodes a header by hand, with right CRCs.
fn raw(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut wire = Frame::message(CHANNEL, body.to_vec()).encode(0).unwrap();
    wire[8] = kind;
    wire[9] = flags;
    if flags & 1 != 0 {
        wire[4..8].fill(0);
    }
    let crc = crc32(&wire[..28]);
    wire[28..32].copy_from_slice(&crc.to_le_bytes());
    wire
}

pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn the_crc_is_the_iso_one() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn unknown_kinds_are_skipped_only_if_they_allow_it() {
    assert_eq!(decode(&raw(17, 0, b""), 64), Err(FrameError::UnknownKind { kind: 17 }));
    assert_eq!(decode(&raw(0, 0, b""), 64), Err(FrameError::UnknownKind { kind: 0 }));
    let mut decoder = Decoder::new(64);
    decoder.feed(&raw(200, 2, b"future"));
    decoder.feed(&Frame::message(CHANNEL, &b"now"[..]).encode(1).unwrap());
    assert_eq!(decoder.decode(), Ok(Some(Frame::message(CHANNEL, &b"now"[..]))));
    assert_eq!(decoder.skipped(), 1);
}

#[test]
fn flags_that_mean_nothing_are_refused() {
    for flags in [8, 16, 32, 64, 128] {
        let what = "flags";
        assert_eq!(decode(&raw(3, flags, b"x"), 64), Err(FrameError::Malformed { what }));
    }
    // Idempotent is for calls, and handshakes always carry their body CRC.
    assert!(matches!(decode(&raw(3, 4, b"x"), 64), Err(FrameError::Malformed { .. })));
    assert!(matches!(decode(&raw(1, 1, b"x"), 64), Err(FrameError::Malformed { .. })));
    assert!(matches!(decode(&raw(7, 0, b"body"), 64), Err(FrameError::Malformed { .. })));
    assert!(matches!(decode(&raw(6, 0, &[0; 1025]), 4096), Err(FrameError::Malformed { .. })));
}

/// No bit of a handshake's body can flip unnoticed by its frame, and what a frame with right CRCs
/// may still say wrong is told apart.
#[test]
fn handshakes_say_what_is_wrong() {
    let me = identity(2, 1);
    assert_eq!(hello().check(&me), HelloStatus::Accept);
    let mut other = hello();
    (other.wire_min, other.wire_max) = (2, 9);
    assert_eq!(other.check(&me), HelloStatus::Version);
    other = hello();
    other.identity.cluster = ClusterId::new(1);
    assert_eq!(other.check(&me), HelloStatus::WrongCluster);
    other = hello();
    other.target = Some(node(3));
    assert_eq!(other.check(&me), HelloStatus::WrongNode);
    other = hello();
    other.identity.node = node(2);
    assert_eq!(other.check(&me), HelloStatus::SelfConnect);

    let mut ack = hello_ack();
    assert_eq!(ack.check(&hello()), Err(HelloStatus::Duplicate));
    ack.status = HelloStatus::Accept;
    assert_eq!(ack.check(&hello()), Ok(()));
    ack.node = node(3);
    assert_eq!(ack.check(&hello()), Err(HelloStatus::WrongNode));
    ack = hello_ack();
    (ack.status, ack.wire) = (HelloStatus::Accept, 2);
    assert_eq!(ack.check(&hello()), Err(HelloStatus::Version));
}

#[test]
fn malformed_handshakes_are_refused() {
    let body = |frame: Frame| frame.body.into_bytes().to_vec();
    let good = body(hello().to_frame());
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        Hello::decode(&Frame::new(Kind::Hello, ChannelId::ENDPOINT).with_body(bad))
    };
    for (at, byte) in [(0, b'X'), (12, 3), (13, 2)] {
        assert!(matches!(with(at, byte), Err(FrameError::Malformed { .. })), "{at}");
    }
    assert_eq!(with(14, 9), Ok(hello()), "zero fields are not looked at");
    for zero in [32..40, 64..72] {
        let mut bad = good.clone();
        bad[zero].fill(0);
        let frame = Frame::new(Kind::Hello, ChannelId::ENDPOINT).with_body(bad);
        assert!(matches!(Hello::decode(&frame), Err(FrameError::Malformed { .. })));
    }
    let short = Frame::new(Kind::Hello, ChannelId::ENDPOINT).with_body(good[..127].to_vec());
    assert!(matches!(Hello::decode(&short), Err(FrameError::Malformed { .. })));
    assert!(matches!(Hello::decode(&hello_ack().to_frame()), Err(FrameError::Malformed { .. })));
}
