//! Any bytes as the byte stream of a connection: no panic, and the same frames and the same end
//! whether it is fed whole, in pieces, or by `fill`. Every frame that comes out encodes to the
//! bytes it was read from.
//!
//! First byte: bit 0 mends checksums and sequences, so that mutations get past them; the other
//! bits set the limit of a body. Second byte: where the stream is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_transport::{Decoder, Frame, FrameError};

const HEADER: usize = 32;

/// Makes the header checks pass, frame by frame, up to the first length that has no bytes.
fn mend(wire: &mut [u8]) {
    let (mut at, mut sequence) = (0, 0_u32);
    while let Some(frame) = wire.get_mut(at..).filter(|rest| rest.len() >= HEADER) {
        let len = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        let body = frame.get(HEADER..HEADER.saturating_add(len));
        let crc = if frame[9] & 1 == 0 { body.map_or(0, crc32fast::hash) } else { 0 };
        let whole = body.is_some();
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        frame[24..28].copy_from_slice(&sequence.to_le_bytes());
        let head = crc32fast::hash(&frame[..28]);
        frame[28..32].copy_from_slice(&head.to_le_bytes());
        if !whole {
            return;
        }
        at += HEADER + len;
        sequence = sequence.wrapping_add(1);
    }
}

fn drain(decoder: &mut Decoder, frames: &mut Vec<Frame>) -> Result<(), FrameError> {
    while let Some(frame) = decoder.decode()? {
        frames.push(frame);
    }
    Ok(())
}

type Read = (Vec<Frame>, Result<(), FrameError>, u64);

fn whole(limit: u32, wire: &[u8]) -> Read {
    let (mut decoder, mut frames) = (Decoder::new(limit), Vec::new());
    decoder.feed(wire);
    let end = drain(&mut decoder, &mut frames);
    (frames, end, decoder.skipped())
}

fn in_pieces(limit: u32, wire: &[u8], size: usize) -> Read {
    let (mut decoder, mut frames) = (Decoder::new(limit), Vec::new());
    let mut end = Ok(());
    for piece in wire.chunks(size) {
        decoder.feed(piece);
        end = drain(&mut decoder, &mut frames);
        if end.is_err() {
            break;
        }
    }
    (frames, end, decoder.skipped())
}

fn filled(limit: u32, wire: &[u8], size: usize) -> Read {
    let (mut decoder, mut frames) = (Decoder::new(limit), Vec::new());
    let (mut rest, mut end) = (wire, Ok(()));
    while !rest.is_empty() && end.is_ok() {
        let taken = decoder.fill(|room| {
            let n = room.remaining_mut().min(size).min(rest.len());
            assert!(n > 0, "a reader without room reads for ever");
            room.put_slice(&rest[..n]);
            n
        });
        rest = &rest[taken..];
        end = drain(&mut decoder, &mut frames);
    }
    (frames, end, decoder.skipped())
}

fuzz_target!(|data: &[u8]| {
    let Some(([mode, cut], wire)) = data.split_first_chunk() else { return };
    let mut wire = wire.to_vec();
    if mode & 1 != 0 {
        mend(&mut wire);
    }
    let limit = 1_u32 << (mode >> 1).min(24);
    let size = usize::from(*cut) + 1;
    let (frames, end, skipped) = whole(limit, &wire);
    assert_eq!(in_pieces(limit, &wire, size), (frames.clone(), end, skipped));
    assert_eq!(filled(limit, &wire, size), (frames.clone(), end, skipped));
    if skipped == 0 {
        let again = frames.iter().zip(0..).map(|(f, n)| f.encode(n).expect("it was decoded"));
        let again: Vec<u8> = again.flatten().collect();
        assert!(wire.starts_with(&again), "what was read is what was written");
    }
});
