//! Round trips and refusals of every codec, over generated values.

use proptest::prelude::*;

use super::crc::Place;
use super::frame::{FRAME_HEADER, FrameHeader, FrameKind, Link};
use super::manifest::Manifest;
use super::record::{Entries, Hole, Record, RecordFault, Records, is_plain};
use super::segment::SegmentHeader;
use super::varint;
use crate::batch::{EntriesOp, Op};
use crate::lsn::{Slot, StreamId};

fn stream() -> impl Strategy<Value = StreamId> {
    (any::<u16>(), any::<u64>()).prop_map(|(space, id)| StreamId::new(space, id))
}

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    out
}

fn comes_back(record: &Record<'_>) {
    let bytes = encoded(record);
    let mut records = Records::new(&bytes, 1);
    assert_eq!(records.next(), Some(Ok(*record)));
    assert!(records.is_done());
    for cut in 0..bytes.len() {
        let mut records = Records::new(&bytes[..cut], 1);
        let short = records.next();
        assert!(matches!(short, Some(Err(RecordFault::Malformed))), "{cut} of {bytes:02x?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn varints(value in any::<u64>(), rest in prop::collection::vec(any::<u8>(), 0..4)) {
        let mut bytes = Vec::new();
        varint::put(&mut bytes, value);
        prop_assert!(bytes.len() <= 10);
        let len = bytes.len();
        bytes.extend_from_slice(&rest);
        let mut input = &bytes[..];
        prop_assert_eq!(varint::take(&mut input), Some(value));
        prop_assert_eq!(input, &rest[..]);
        // A longer form of the same number is refused.
        if len < 10 {
            let mut long = bytes[..len].to_vec();
            long[len - 1] |= 0x80;
            long.push(0);
            prop_assert_eq!(varint::take(&mut &long[..]), None);
        }
    }

    #[test]
    fn records(
        stream in stream(),
        numbers in any::<[u64; 5]>(),
        count in any::<u32>(),
        offsets in any::<[u32; 2]>(),
        replace in any::<bool>(),
        slot in any::<u8>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let [a, b, c, d, e] = numbers.map(|n| n >> 2);
        let (count, slot) = (1 + count % (1 << 24), slot % 16);
        let bytes = &bytes[..];
        let meta_carried = !replace;
        let carried = meta_carried.then_some(1 + offsets[0] % count);
        let (back, first, tag) = (a, b, c);
        comes_back(&Record::Data { bytes });
        let entries = Entries { replace, carried, stream, back, first, count, tag, bytes };
        comes_back(&Record::Entries(entries));
        comes_back(&Record::Meta { carried: meta_carried, stream, back, slot, bytes });
        comes_back(&Record::Drop { stream, back });
        comes_back(&Record::TruncateSuffix { from: a });
        let [from_off, to_off] = offsets;
        comes_back(&Record::Hole(Hole { segment: c, from_off, to_off, from_lsn: d, to_lsn: e }));
        comes_back(&Record::KeepStream { stream, low: a });
        comes_back(&Record::KeepMain { low: a });
        comes_back(&Record::High { lsn: a });
    }

    #[test]
    fn the_worst_case_of_an_operation_holds(
        stream in stream(),
        numbers in any::<[u64; 4]>(),
        count in any::<u32>(),
        len in 0..300_usize,
    ) {
        let [back, first, tag, low] = numbers;
        let data = vec![1; len];
        let bytes = &data[..];
        let (at, replace, carried) = (0, false, Some(count));
        let slot = Slot::new(3).unwrap();
        let entries = Entries { replace, carried, stream, back, first, count, tag, bytes };
        let pairs = [
            (Op::Record { at, len }, Record::Data { bytes }),
            (
                Op::Entries(EntriesOp { stream, replace, carried, first, count, tag, at, len }),
                Record::Entries(entries),
            ),
            (
                Op::Meta { stream, slot, carried: true, at, len },
                Record::Meta { carried: true, stream, back, slot: 3, bytes },
            ),
            (Op::Keep { stream, low }, Record::KeepStream { stream, low }),
            (Op::Drop { stream }, Record::Drop { stream, back }),
            (Op::TruncateSuffix { from: low }, Record::TruncateSuffix { from: low }),
            (Op::KeepMain { low }, Record::KeepMain { low }),
            (Op::High { lsn: low }, Record::High { lsn: low }),
        ];
        for (op, record) in pairs {
            prop_assert!(encoded(&record).len() <= op.worst(), "{:?}", op);
        }
    }

    #[test]
    fn plain_payloads_are_what_records_says(
        sizes in prop::collection::vec(prop_oneof![0..300_usize, 16_380..16_390_usize], 1..8),
        other in any::<bool>(),
        hit in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes = Vec::new();
        for &size in &sizes {
            Record::Data { bytes: &vec![1; size] }.encode(&mut bytes);
        }
        if other {
            Record::High { lsn: 1 }.encode(&mut bytes);
        }
        if let Some((at, value)) = hit {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let count = u16::try_from(sizes.len()).unwrap() + u16::from(other);
        let mut records = Records::new(&bytes, count);
        let data = records.by_ref().all(|r| matches!(r, Ok(Record::Data { .. })));
        prop_assert_eq!(is_plain(&bytes, count), data && records.is_done());
    }

    #[test]
    fn any_bytes_are_records_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for record in Records::new(&bytes, 50) {
            if record.is_err() {
                break;
            }
        }
    }

    #[test]
    fn headers_hold_at_their_place_only(
        salt in 1..u64::MAX,
        seq in 1..1_u64 << 63,
        offset in (512..1_u32 << 27).prop_map(|n| n * 8),
        first_lsn in 0..1_u64 << 63,
        lsns in any::<[u32; 3]>(),
        records in 1..u16::MAX,
        bit in 0..320_usize,
    ) {
        let header = FrameHeader {
            kind: FrameKind::Data,
            records,
            stored_len: lsns[1],
            durable_off: offset - 8,
            first_lsn,
            lsns: lsns[0] % u32::from(records),
            payload_crc: lsns[2],
            chain: lsns[0],
        };
        let place = Place { salt, seq, offset };
        let (mut bytes, crc) = header.encode(place);
        prop_assert_eq!(FrameHeader::decode(&bytes, place), Ok(Some((header, crc))));
        for other in [
            Place { salt: salt ^ 1, ..place },
            Place { seq: seq ^ 1, ..place },
            Place { offset: offset + 8, ..place },
        ] {
            prop_assert_eq!(FrameHeader::decode(&bytes, other), Ok(None));
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(FrameHeader::decode(&bytes, place), Ok(None));
    }

    #[test]
    fn segment_headers_and_slots(
        uuid in any::<u128>(),
        numbers in any::<[u64; 6]>(),
        small in any::<[u32; 2]>(),
        clean in any::<bool>(),
        bit in 0..768_usize,
    ) {
        let [a, b, c, d, e, f] = numbers.map(|n| n >> 1);
        let align = [0, 512, 4096][(c % 3) as usize];
        let segment_bytes = small[0];
        let grows = d % 2 == 0;
        let header = SegmentHeader { uuid, seq: a, salt: b.max(1), segment_bytes, align, grows };
        let mut bytes = header.encode();
        prop_assert_eq!(SegmentHeader::decode(&bytes), Ok(Some(header)));
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(SegmentHeader::decode(&bytes), Ok(None));
        let slot = Manifest {
            slot_seq: a,
            clean,
            uuid,
            oldest: b,
            newest: c,
            durable_seq: d,
            durable_salt: e,
            durable_lsn: f,
            durable_off: small[1],
            main_low: a,
        };
        let mut bytes = slot.encode();
        prop_assert_eq!(Manifest::decode(&bytes, a % 2), Ok(Some(slot)));
        prop_assert_eq!(Manifest::decode(&bytes, 1 - a % 2), Ok(None));
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(Manifest::decode(&bytes, a % 2), Ok(None));
        let link = Link {
            prev_seq: a,
            prev_salt: b,
            prev_end: small[0],
            prev_chain: small[1],
            prev_last_lsn: c,
            main_low: d,
        };
        prop_assert_eq!(Link::decode(&link.encode()), Some(link));
    }
}

#[test]
fn a_flipped_bit_is_found_by_its_checksum_alone() {
    let bytes: Vec<u8> = (0..333_u32).map(|n| (n * 7 % 251) as u8).collect();
    let sound = super::crc::of(&bytes);
    assert_eq!(super::crc::flipped_bit(&bytes, sound), None);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(super::crc::flipped_bit(&flipped, sound), Some(bit as u64));
        flipped[(bit / 8 + 9) % 333] ^= 4;
        assert_eq!(super::crc::flipped_bit(&flipped, sound), None, "two bits");
    }
}

#[test]
fn zeros_are_nothing() {
    let place = Place { salt: 1, seq: 1, offset: 4096 };
    assert_eq!(FrameHeader::decode(&[0; FRAME_HEADER], place), Ok(None));
    assert_eq!(SegmentHeader::decode(&[0; 96]), Ok(None));
    assert_eq!(Manifest::newest_of(&[0; 8192]), Ok((None, 2)));
}
