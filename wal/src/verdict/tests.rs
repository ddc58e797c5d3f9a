//! The decision as a function: the same bytes, the same answer; an I/O error is no answer.

use std::io;

use super::{Facts, Input, Linked, Sink, Stopped, Verdict, judge};
use crate::ahead::Ahead;
use crate::format::Unsupported;
use crate::format::crc::{self, Place};
use crate::format::frame::{FrameHeader, FrameKind, Link};
use crate::lsn::{Lsn, LsnSpan};
use crate::report::Tail;
use crate::scan::{Frame, Load, Reading};

const SALT: u64 = 77;
const BYTES: u32 = 16 << 10;

/// Notes the numbers of frames and holes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    frames: Vec<u64>,
    holes: Vec<LsnSpan>,
}

impl Sink for Seen {
    fn frame(&mut self, _: u64, frame: &Frame<'_>, _: bool) -> Result<(), Unsupported> {
        self.frames.push(frame.header.first_lsn);
        Ok(())
    }

    fn run(&mut self, _: u64, run: &Ahead) -> Result<(), Unsupported> {
        self.frames.extend(run.cursor.lsn..run.stop.lsn);
        Ok(())
    }

    fn hole(&mut self, lost: LsnSpan) {
        self.holes.push(lost);
    }
}

/// One segment of `n` frames with one empty record each; every frame claims that all before it
/// is durable. Also the offset of each frame.
fn image(n: u64) -> (Vec<u8>, Facts, Vec<u32>) {
    let mut bytes = vec![0; BYTES as usize];
    let (mut at, mut chain) = (4096_u32, 0);
    let link = Link {
        prev_seq: 0,
        prev_salt: 0,
        prev_end: 0,
        prev_chain: 0,
        prev_last_lsn: 0,
        main_low: 1,
    };
    let mut offsets = Vec::new();
    let mut put = |kind, payload: &[u8], first_lsn, chain: &mut u32| {
        let lsns = u32::from(kind == FrameKind::Data);
        let header = FrameHeader {
            kind,
            records: u16::from(kind == FrameKind::Data),
            stored_len: u32::try_from(payload.len()).unwrap(),
            durable_off: at,
            first_lsn,
            lsns,
            payload_crc: crc::of(payload),
            chain: *chain,
        };
        let (head, crc) = header.encode(Place { salt: SALT, seq: 1, offset: at });
        let from = at as usize;
        bytes[from..from + 40].copy_from_slice(&head);
        bytes[from + 40..from + 40 + payload.len()].copy_from_slice(payload);
        offsets.push(at);
        at += 40 + u32::try_from(payload.len()).unwrap();
        *chain = crc;
        crc
    };
    let crc = put(FrameKind::Link, &link.encode(), 1, &mut chain);
    for lsn in 1..=n {
        put(FrameKind::Data, &[1, 6, b'r', b'e', b'c', b'o', b'r', b'd'], lsn, &mut chain);
    }
    put(FrameKind::End, &[], n + 1, &mut chain);
    let link = Some(Linked { link, first_lsn: 1, crc, durable_off: 4096 });
    let facts = Facts { seq: 1, len: BYTES.into(), segment_bytes: BYTES, salt: Some(SALT), link };
    (bytes, facts, offsets)
}

fn reading(bytes: &[u8]) -> Reading<'_> {
    Box::new(move |offset, buf| {
        let rest = &bytes[bytes.len().min(offset as usize)..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    })
}

fn decide(bytes: &[u8], facts: Facts) -> (Verdict, Seen) {
    let input = Input { manifest: None, segments: vec![facts], expect_durable: 0 };
    let mut seen = Seen::default();
    (judge(&input, &|_| Ok(reading(bytes)), &mut seen, 0).unwrap(), seen)
}

#[test]
fn a_whole_segment_is_clean() {
    let (bytes, facts, offsets) = image(5);
    let (verdict, seen) = decide(&bytes, facts);
    assert_eq!((verdict.tail, verdict.next_lsn), (Tail::Clean, 6));
    assert_eq!(seen.frames, [1, 2, 3, 4, 5]);
    let last = verdict.last.unwrap();
    assert_eq!((last.at, last.ended), (offsets[6], true));
    assert_eq!(last.proven, last.at, "the End frame claims all before it");
}

#[test]
fn every_damaged_frame_is_a_hole_of_its_own_number() {
    for hit in 1..=4_usize {
        let (mut bytes, facts, offsets) = image(5);
        bytes[offsets[hit] as usize + 20] ^= 4;
        let (verdict, seen) = decide(&bytes, facts);
        let lsn = Lsn::new(hit as u64);
        assert_eq!(seen.holes, [LsnSpan::new(lsn, Some(lsn))]);
        assert_eq!(verdict.damage.len(), 1);
        assert_eq!(verdict.damage[0].single_bit, Some(20 * 8 + 2));
        assert_eq!(seen.frames.len(), 4, "the rest is read");
    }
}

#[test]
fn the_last_frame_without_a_witness_is_unverifiable() {
    let (mut bytes, facts, offsets) = image(3);
    // Both the last record and the End frame behind it, which would be the witness.
    bytes[offsets[3] as usize + 45] ^= 1;
    bytes[offsets[4] as usize..offsets[4] as usize + 40].fill(0);
    let (verdict, seen) = decide(&bytes, facts);
    assert_eq!(verdict.tail, Tail::Unverifiable { lsns: LsnSpan::new(Lsn::new(3), None) });
    assert_eq!((seen.frames, verdict.damage.len()), (vec![1, 2], 0));
}

#[test]
fn an_io_error_is_no_verdict() {
    let (_, facts, _) = image(3);
    let input = Input { manifest: None, segments: vec![facts], expect_durable: 0 };
    let opening = judge(&input, &|_| Err(io::Error::other("medium")), &mut Seen::default(), 0);
    assert!(matches!(opening, Err(Stopped::Io(1, _))));
    let broken: Load<'_> = &|_| Ok(Box::new(|_, _| Err(io::Error::other("medium"))));
    let reading = judge(&input, broken, &mut Seen::default(), 0);
    assert!(matches!(reading, Err(Stopped::Io(1, _))));
}

#[test]
fn any_single_byte_keeps_or_names_every_record() {
    let (bytes, facts, _) = image(6);
    for at in 4184..4184 + 7 * 48 {
        let mut hit = bytes.clone();
        hit[at] ^= 0x10;
        let (verdict, seen) = decide(&hit, facts);
        let again = decide(&hit, facts);
        assert_eq!((&again.0.damage, &again.1), (&verdict.damage, &seen), "a function");
        for lsn in 1..=6 {
            let lost = seen.holes.iter().any(|h| h.contains(Lsn::new(lsn)));
            let tail = matches!(
                verdict.tail,
                Tail::Unverifiable { lsns } if lsns.contains(Lsn::new(lsn))
            );
            assert_eq!(seen.frames.contains(&lsn), !(lost || tail), "byte {at} record {lsn}");
        }
    }
}
