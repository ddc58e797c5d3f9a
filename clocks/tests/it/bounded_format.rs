//! Golden vectors of the mark file and the clock-bound segment, and 200,000 mutated inputs.

use crate::clockbound::Fields;
use crate::slot_disk::Disk;
use crate::support::Rng;
use quorate_clocks::testing::SlotMark;
use quorate_clocks::{ClockBoundSegment, MarkDamage, MarkError, MarkKind, Unbounded, WallTime};
use std::path::PathBuf;

/// The bytes of ``golden `name`: `hex` `` in `FORMAT.md`.
fn golden(name: &str) -> Vec<u8> {
    let text = include_str!("../../FORMAT.md");
    let begin = format!("golden `{name}`: `");
    let rest = text.split(begin.as_str()).nth(1).unwrap_or_else(|| panic!("no vector {name}"));
    let hex: String = rest.split('`').next().unwrap().split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn open(bytes: Vec<u8>, kind: MarkKind) -> Result<SlotMark<Disk>, MarkError> {
    SlotMark::open(Disk::new(bytes), PathBuf::from("mark"), kind)
}

/// A file that was raised so often, to `value` at last.
fn written(kind: MarkKind, raises: u64, value: u64) -> Vec<u8> {
    let disk = Disk::new(vec![0; 1_024]);
    let handle = disk.clone();
    let mut mark = SlotMark::create(disk, PathBuf::from("mark"), kind).unwrap();
    for below in (0..raises).rev() {
        mark.raise(value - below).unwrap();
    }
    handle.durable()
}

#[test]
fn golden_mark_slots_are_what_is_written_and_read() {
    let rows = [
        ("mark-new", MarkKind::Generation, 0, 0),
        ("mark-generation", MarkKind::Generation, 2, 7),
        ("mark-horizon", MarkKind::Horizon, 1, 0x1122_3344_5566_7788),
        ("mark-user", MarkKind::User, 1, u64::MAX),
    ];
    for (name, kind, raises, value) in rows {
        let slot = golden(name);
        let file = written(kind, raises, value);
        assert_eq!(slot.len(), 32, "{name}");
        assert_eq!((&file[..32], &file[512..544]), (&slot[..], &slot[..]), "{name}");
        assert!(file[32..512].iter().chain(&file[544..]).all(|byte| *byte == 0));
        // A file put together from the vector alone.
        let mut bytes = vec![0; 1_024];
        bytes[..32].copy_from_slice(&slot);
        bytes[512..544].copy_from_slice(&slot);
        assert_eq!(open(bytes, kind).unwrap().get(), value, "{name}");
        let sum = crate::slot_disk::crc32(&slot[..28]);
        assert_eq!(slot[28..], sum.to_le_bytes(), "{name}: another CRC-32 agrees");
    }
    assert_eq!(crate::slot_disk::crc32(b"123456789"), 0xCBF4_3926);
}

/// The vector is that of a little-endian machine: the daemon writes in its machine's order.
#[cfg(target_endian = "little")]
#[test]
fn golden_clockbound_segment_is_read() {
    let bytes = golden("clockbound-segment");
    assert_eq!(bytes, Fields::good().bytes());
    let segment = ClockBoundSegment::parse(&bytes).unwrap();
    assert_eq!((segment.as_of_ns(), segment.generation()), (100_000_000_000, 4));
    let wall = WallTime::from_nanos(1_700_000_000_000_000_000);
    let now = segment.interval_at(wall, 101_000_000_000, None).unwrap();
    assert_eq!(now.width().as_nanos(), 2 * (50_000 + 1_000));
}

/// One to four changes: bytes changed, cut off, added, copied elsewhere.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, spots: &[u64]) {
    for _ in 0..=rng.below(4) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len() as u64;
        // Mostly where something stands.
        let at = if rng.one_in(4) { rng.below(len) } else { *rng.pick(spots) + rng.below(32) };
        let at = usize::try_from(at.min(len - 1)).unwrap();
        match rng.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.push(0xA5),
            2 => bytes[at] = 0,
            3 => bytes[at] = 0xFF,
            4 => {
                let from = usize::try_from(rng.below(len)).unwrap();
                bytes[at] = bytes[from];
            }
            _ => bytes[at] ^= 1 << rng.below(8),
        }
    }
}

#[test]
fn mutated_segments_are_refused_or_bounded() {
    let mut rng = Rng::new(1);
    let wall = WallTime::from_nanos(1_700_000_000_000_000_000);
    let (mut refused, mut read) = (0_u64, 0_u64);
    for _ in 0..100_000 {
        let mut bytes = Fields::good().bytes();
        mutate(&mut rng, &mut bytes, &[0, 16, 32, 48]);
        match ClockBoundSegment::parse(&bytes) {
            Ok(segment) => {
                read += 1;
                let mono = rng.next() >> rng.below(64);
                if let Ok(now) = segment.interval_at(wall, mono, Some(rng.next())) {
                    assert!(now.earliest() <= now.latest());
                    assert!(mono + 1_000 >= segment.as_of_ns());
                }
            }
            Err(why) => {
                refused += 1;
                let known = matches!(
                    why,
                    Unbounded::Malformed(_) | Unbounded::Unsynchronized | Unbounded::Source(_)
                );
                assert!(known, "{why}");
            }
        }
    }
    crate::support::say(format_args!("segments refused: {refused}, read: {read}"));
    assert!(refused > 10_000 && read > 10_000);
}

#[test]
fn mutated_mark_files_are_refused_or_hold_their_value() {
    let mut rng = Rng::new(2);
    let whole = written(MarkKind::User, 3, 1_000);
    let (mut refused, mut read) = (0_u64, 0_u64);
    for _ in 0..100_000 {
        let mut bytes = whole.clone();
        mutate(&mut rng, &mut bytes, &[0, 0, 512]);
        match open(bytes, MarkKind::User) {
            Ok(mark) => {
                read += 1;
                assert_eq!(mark.get(), 1_000, "a checksum let something through");
            }
            Err(MarkError::Corrupt { damage, .. }) => {
                refused += 1;
                let known = matches!(damage, MarkDamage::Length { .. } | MarkDamage::Slots { .. });
                assert!(known, "{damage}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    crate::support::say(format_args!("mark files refused: {refused}, read: {read}"));
    assert!(refused > 10_000 && read > 10_000);
}
