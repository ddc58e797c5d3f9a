//! Properties over arbitrary frames and arbitrary cuts of the byte stream.

use crate::support::*;
use proptest::prelude::*;
use quorate_transport::*;

fn frame() -> impl Strategy<Value = Frame> {
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        (0..200_000_usize, any::<u8>()).prop_map(|(n, byte)| vec![byte; n]),
    ];
    let kinds =
        prop_oneof![Just(Kind::Message), Just(Kind::Call), Just(Kind::Reply), Just(Kind::Ping)];
    (kinds, any::<u16>(), any::<u32>(), any::<u64>(), body, any::<bool>()).prop_map(
        |(kind, channel, aux, id, body, check)| {
            let frame = Frame::new(kind, ChannelId::new(channel)).with_aux(aux).with_id(id);
            let frame = if kind == Kind::Ping { frame } else { frame.with_body(body) };
            if check { frame } else { frame.without_body_crc() }
        },
    )
}

fn decode_all(decoder: &mut Decoder) -> Vec<Frame> {
    std::iter::from_fn(|| decoder.decode().unwrap()).collect()
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// H1: whatever the pieces the bytes come in, the same frames come out.
    #[test]
    fn h01_a_decoder_fed_in_pieces_equals_one_fed_whole(
        frames in proptest::collection::vec(frame(), 1..6),
        cuts in proptest::collection::vec(1..100_000_usize, 1..20),
    ) {
        let mut wire = Vec::new();
        for (frame, sequence) in frames.iter().zip(0..) {
            wire.extend(frame.encode(sequence).unwrap());
        }
        let mut whole = Decoder::new(1 << 20);
        whole.feed(&wire);
        prop_assert_eq!(&decode_all(&mut whole), &frames);
        let (mut pieces, mut found, mut rest) = (Decoder::new(1 << 20), Vec::new(), &wire[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            pieces.feed(now);
            found.extend(decode_all(&mut pieces));
            rest = later;
        }
        prop_assert_eq!(found, frames);
    }

    /// A body is the same however it was cut.
    #[test]
    fn bodies_in_pieces_have_the_crc_of_the_whole(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..12),
    ) {
        let body = Body::parts(pieces.iter().cloned().map(Into::into));
        let whole: Vec<u8> = pieces.concat();
        prop_assert_eq!(body.len(), whole.len());
        let cut = Frame::message(CHANNEL, body).encode(3).unwrap();
        prop_assert_eq!(cut, Frame::message(CHANNEL, whole).encode(3).unwrap());
    }

    /// Arbitrary bytes never panic and never give a frame.
    #[test]
    fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 32..200)) {
        let mut decoder = Decoder::new(64);
        decoder.feed(&noise);
        prop_assert!(decoder.decode().is_err());
    }
}
