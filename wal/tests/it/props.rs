//! Properties of what a user can see, over generated inputs.

use proptest::prelude::*;
use quorate_wal::vfs::MemVfs;
use quorate_wal::{Batch, Lsn, ReadBound, Slot};

use crate::rig::{group, open};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn records_of_any_bytes_come_back(
        batches in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..5),
            1..30,
        )
    ) {
        let disk = MemVfs::new();
        let (wal, _) = open(&disk);
        for records in &batches {
            let mut batch = Batch::new();
            for record in records {
                batch.record(record);
            }
            wal.commit_blocking(&batch).unwrap();
        }
        let flat: Vec<_> = batches.into_iter().flatten().collect();
        for wal in [wal, open(&disk.crash(1)).0] {
            let read: Vec<_> = wal
                .read(Lsn::new(1), ReadBound::Durable)
                .map(|r| r.unwrap().bytes.to_vec())
                .collect();
            prop_assert_eq!(&read, &flat);
        }
    }

    #[test]
    fn blocks_of_any_numbers_come_back(
        space in 1..1000_u16,
        id in any::<u64>(),
        first in 0..1_u64 << 60,
        count in 1..1_u32 << 24,
        tag in any::<u64>(),
        slot in 0..16_u8,
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let disk = MemVfs::new();
        let (wal, _) = open(&disk);
        let id = quorate_wal::StreamId::new(space, id);
        let slot = Slot::new(slot).unwrap();
        let mut batch = Batch::new();
        batch.extend(id, first, count, tag, &bytes).meta(id, slot, &bytes[..bytes.len().min(500)]);
        prop_assume!(batch.bytes() <= 4096);
        wal.commit_blocking(&batch).unwrap();
        drop(wal);
        let (wal, _) = open(&disk);
        let stream = wal.stream(id);
        let end = first + u64::from(count);
        prop_assert_eq!(stream.bounds(), first..end);
        let mut out = Vec::new();
        prop_assert_eq!(stream.read(first..end, 1, &mut out).unwrap(), end);
        prop_assert_eq!(&out[0].bytes[..], &bytes[..]);
        prop_assert_eq!((out[0].count, out[0].tag), (count, tag));
        prop_assert_eq!(&stream.meta(slot).unwrap()[..], &bytes[..bytes.len().min(500)]);
    }

    #[test]
    fn what_is_staged_fits(sizes in prop::collection::vec(0..3900_usize, 1..120)) {
        // The plan never underestimates: whatever was staged is written, also across rolls.
        let disk = MemVfs::new();
        let (wal, _) = open(&disk);
        let mut count = 0;
        for size in sizes {
            let mut batch = Batch::new();
            batch.record(&vec![7; size]);
            let permit = wal.reserve(u32::try_from(batch.bytes()).unwrap()).wait().unwrap();
            permit.stage(&batch, quorate_wal::Ack::Staged).unwrap().wait().unwrap();
            count += 1;
        }
        wal.sync().unwrap().wait().unwrap();
        prop_assert_eq!(wal.marks().durable, Lsn::new(count));
        drop(wal);
        prop_assert_eq!(open(&disk.crash(5)).1.durable, Lsn::new(count));
    }
}

#[test]
fn streams_of_many_spaces_are_listed_apart() {
    let (wal, _) = open(&MemVfs::new());
    let mut batch = Batch::new();
    for id in [3, 1, 2] {
        batch.extend(group(id), 1, 1, 1, b"x");
    }
    batch.extend(quorate_wal::StreamId::new(2, 9), 1, 1, 1, b"y");
    wal.commit_blocking(&batch).unwrap();
    assert_eq!(wal.streams(1), [group(1), group(2), group(3)]);
    assert_eq!(wal.streams(2).len(), 1);
    assert!(wal.streams(3).is_empty());
}
