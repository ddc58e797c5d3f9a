//! P9: frames out of blocks of 64 KiB.

use crate::Bench;
use crate::ours::{CHANNEL, PAYLOAD};
use bytes::BytesMut;
use quorate_benches::sheet::Line;
use quorate_benches::turns::{Contender, take_turns};
use quorate_transport::{Decoder, Frame};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tokio_util::codec::{Decoder as _, Encoder as _, LengthDelimitedCodec};

/// Frames of a turn: 16 blocks of ours.
const FRAMES: u32 = 10_920;
const BLOCK: usize = 64 << 10;
const PEER: &str = "LengthDelimitedCodec";
const SUMS: &str = "CRC-32 of header and body alone";

fn by<'a>(name: &str, mut work: impl FnMut() -> u32 + 'a) -> Contender<'a> {
    Contender::new(name, move || {
        let begun = Instant::now();
        assert_eq!(work(), FRAMES, "every frame is found");
        begun.elapsed().as_nanos() as f64 / f64::from(FRAMES)
    })
}

fn ours(checked: bool) -> impl FnMut() -> u32 {
    let mut frame = Frame::message(CHANNEL, PAYLOAD);
    if !checked {
        frame = frame.without_body_crc();
    }
    let wire: Vec<u8> = (0..FRAMES).flat_map(|n| frame.encode(n).expect("short")).collect();
    move || {
        let (mut decoder, mut count) = (Decoder::new(1 << 20), 0);
        for block in wire.chunks(BLOCK) {
            let mut rest = block;
            while !rest.is_empty() {
                // As from a socket: into the decoder's own block.
                let n = decoder.fill(|room| {
                    let n = room.remaining_mut().min(rest.len());
                    room.put_slice(&rest[..n]);
                    n
                });
                rest = &rest[n..];
                while let Some(frame) = decoder.decode().expect("as it was encoded") {
                    black_box(frame);
                    count += 1;
                }
            }
        }
        count
    }
}

fn peer() -> impl FnMut() -> u32 {
    let mut wire = BytesMut::new();
    for _ in 0..FRAMES {
        let body = bytes::Bytes::from_static(PAYLOAD);
        LengthDelimitedCodec::new().encode(body, &mut wire).expect("short");
    }
    move || {
        let (mut codec, mut buffer, mut count) =
            (LengthDelimitedCodec::new(), BytesMut::with_capacity(BLOCK), 0);
        for block in wire.chunks(BLOCK) {
            buffer.extend_from_slice(block);
            while let Some(frame) = codec.decode(&mut buffer).expect("as it was encoded") {
                black_box(frame);
                count += 1;
            }
        }
        count
    }
}

fn sums() -> impl FnMut() -> u32 {
    let wire = vec![7; BLOCK];
    move || {
        let frames = wire.chunks_exact(96).cycle().take(FRAMES as usize);
        let sum = frames.map(|f| crc32fast::hash(&f[..28]) ^ crc32fast::hash(&f[32..]));
        black_box(sum.fold(0, |all, one| all ^ one));
        FRAMES
    }
}

/// Ours alone, for a profiler; nanoseconds for a frame.
pub(crate) fn alone(time: Duration) -> f64 {
    let (mut work, begun, mut count) = (ours(true), Instant::now(), 0);
    while begun.elapsed() < time {
        count += u64::from(work());
    }
    begun.elapsed().as_nanos() as f64 / count as f64
}

/// P9: decoding.
pub(crate) fn decode(bench: &mut Bench) {
    let contenders = vec![
        by(SUMS, sums()),
        by("ours", ours(true)),
        by("unchecked", ours(false)),
        by(PEER, peer()),
    ];
    let rounds = take_turns(contenders, bench.rounds * 3);
    for (name, lane) in [
        ("ours", "P9 decode of a frame of 64 B, header and body checked"),
        ("unchecked", "P9 the same, body not checked"),
    ] {
        let line = Line::new(lane)
            .value(&format!("{:.1} ns", rounds.ns(name)), rounds.ns(name), "ns")
            .floor(&format!("{SUMS} {:.1} ns", rounds.ns(SUMS)), rounds.ratio(name, SUMS))
            .peer(PEER, &format!("{:.1} ns", rounds.ns(PEER)), rounds.ratio(PEER, name))
            .goal("≤ 20 ns", rounds.ns(name) <= 20.0)
            .goal("≥ 3× LengthDelimitedCodec", rounds.ratio(PEER, name) >= 3.0);
        bench.sheet.push(line);
    }
}
