//! Logs to be damaged, and the books of what was done to make them.

use std::collections::BTreeMap;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{Ack, Batch, Lsn, Slot, Wal};

use super::oracle::open_seeing;
use crate::rig::{Rng, group, manual, open_with, settle};

/// How much one commit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Batch,
    Large,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Main,
    Stream,
    Mixed,
}

/// How the last life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Shut down.
    Closed,
    /// Killed after an acknowledgement.
    Killed,
    /// Killed with written, unsynced groups behind the last acknowledgement.
    Written,
    /// Power cut with such groups: some sectors of them are there.
    Cut,
}

/// What a specimen is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) size: Size,
    pub(crate) content: Content,
    pub(crate) ending: Ending,
    /// The oldest segments were given back; where files are used again, these are.
    pub(crate) reclaimed: bool,
    pub(crate) seed: u64,
}

/// What took a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    Record(Vec<u8>),
    Block { stream: u64, first: u64, bytes: Vec<u8> },
    Meta { stream: u64, slot: u8, bytes: Vec<u8> },
}

/// A log, and what is true of it.
#[derive(Clone, Debug)]
pub(crate) struct Specimen {
    pub(crate) shape: Shape,
    pub(crate) disk: MemVfs,
    pub(crate) wrote: BTreeMap<u64, Wrote>,
    /// Acknowledged as durable up to here.
    pub(crate) acked: u64,
    pub(crate) low: u64,
}

struct Maker {
    wal: Wal,
    rng: Rng,
    wrote: BTreeMap<u64, Wrote>,
    next_index: [u64; 2],
    shape: Shape,
    batch: Batch,
    serial: u64,
}

impl Maker {
    fn bytes(&mut self) -> Vec<u8> {
        self.serial += 1;
        let len = match self.shape.size {
            Size::Small => 8 + self.rng.below(40),
            Size::Batch => 8 + self.rng.below(90),
            Size::Large => 1100 + self.rng.below(1800),
        };
        let mut bytes = (self.serial ^ self.shape.seed << 32).to_le_bytes().to_vec();
        bytes.resize(usize::try_from(len).unwrap(), self.serial as u8 | 1);
        bytes
    }

    fn one(&mut self) -> Wrote {
        let stream = self.rng.below(2);
        let main = match self.shape.content {
            Content::Main => true,
            Content::Stream => false,
            Content::Mixed => self.rng.below(2) == 0,
        };
        let bytes = self.bytes();
        if main {
            self.batch.record(&bytes);
            Wrote::Record(bytes)
        } else if self.rng.below(5) == 0 {
            let slot = self.rng.below(3) as u8;
            self.batch.meta(group(stream), Slot::new(slot).unwrap(), &bytes);
            Wrote::Meta { stream, slot, bytes }
        } else {
            let next = &mut self.next_index[usize::try_from(stream).unwrap()];
            let first = *next;
            *next += 1;
            self.batch.extend(group(stream), first, 1, self.serial, &bytes);
            Wrote::Block { stream, first, bytes }
        }
    }

    fn commit(&mut self, ack: Ack) {
        self.batch.clear();
        let n = match self.shape.size {
            Size::Batch => 6 + self.rng.below(8),
            Size::Small | Size::Large => 1,
        };
        let ops: Vec<Wrote> = (0..n).map(|_| self.one()).collect();
        let permit = loop {
            let bytes = u32::try_from(self.batch.bytes()).unwrap();
            match self.wal.reserve(bytes).wait() {
                Ok(permit) => break permit,
                Err(e) if e.is_retryable() => settle(&self.wal),
                Err(e) => panic!("{e}"),
            }
        };
        let staged = permit.stage(&self.batch, ack).unwrap();
        let first = staged.lsns().from.as_u64();
        staged.wait().unwrap();
        self.wrote.extend((first..).zip(ops));
        settle(&self.wal);
    }

    /// Commits until so many segments were begun since.
    fn fill(&mut self, rolls: u64) {
        let to = self.wal.stats().rolls + rolls;
        while self.wal.stats().rolls < to {
            let ack = if self.rng.below(6) == 0 { Ack::Written } else { Ack::Durable };
            self.commit(ack);
        }
        for _ in 0..5 {
            self.commit(Ack::Durable);
        }
    }
}

impl Specimen {
    pub(crate) fn make(shape: Shape) -> Self {
        let disk = MemVfs::new();
        let (wal, _) = open_with(&disk, manual()).unwrap();
        let mut maker = Maker {
            wal,
            rng: Rng(shape.seed),
            wrote: BTreeMap::new(),
            next_index: [1, 1],
            shape,
            batch: Batch::new(),
            serial: 0,
        };
        if shape.reclaimed {
            maker.fill(2);
            maker.give_back();
        }
        maker.fill(1);
        // A life that ends torn leaves frames behind that nobody may ever read again.
        let (disk, mut maker) = maker.torn_life(&disk);
        maker.fill(1);
        maker.end(disk)
    }
}

impl Maker {
    /// Gives everything back that is there, and writes on until the files are gone.
    fn give_back(&mut self) {
        let low = self.wal.marks().durable.as_u64() + 1;
        self.wal.truncate_prefix(Lsn::new(low)).unwrap();
        self.batch.clear();
        for stream in 0..2 {
            self.batch.drop_stream(group(stream));
        }
        let staged = self.wal.stage(&self.batch, Ack::Durable).unwrap();
        staged.wait().unwrap();
        self.next_index = [1, 1];
        // What was dropped may or may not be shown by a reader: it is not kept in the books.
        self.wrote.clear();
        settle(&self.wal);
        let to = self.wal.stats().rolls + 2;
        while self.wal.stats().rolls < to {
            self.commit(Ack::Durable);
        }
    }

    /// Written groups, a power cut that keeps a part of them, and a reopen.
    fn torn_life(mut self, disk: &MemVfs) -> (MemVfs, Self) {
        let acked = self.wal.marks().durable.as_u64();
        let before = self.next_index;
        for _ in 0..3 {
            self.commit(Ack::Written);
        }
        let cut = disk.crash(self.shape.seed ^ 77);
        let (wal, report) = open_with(&cut, manual()).unwrap();
        let durable = report.durable.as_u64();
        assert!(durable >= acked && report.damage.is_empty(), "{report:?}");
        self.wrote.split_off(&(durable + 1));
        for (stream, next) in self.next_index.iter_mut().enumerate() {
            *next = wal.stream(group(stream as u64)).bounds().end.max(before[stream]);
        }
        self.wal = wal;
        (cut, self)
    }

    fn end(mut self, disk: MemVfs) -> Specimen {
        let acked = self.wal.marks().durable.as_u64();
        let low = self.wal.marks().low.as_u64();
        let unsynced = match self.shape.ending {
            Ending::Written | Ending::Cut => 3,
            Ending::Closed | Ending::Killed => 0,
        };
        for _ in 0..unsynced {
            self.commit(Ack::Written);
        }
        let disk = match self.shape.ending {
            Ending::Closed => {
                self.wal.shutdown().wait().unwrap();
                disk
            }
            Ending::Killed | Ending::Written => disk.kill(),
            Ending::Cut => disk.crash(self.shape.seed ^ 99),
        };
        // Where carrying moved a record, its number is the one a sound open shows; what it holds,
        // and that it is there, is the maker's knowledge.
        let (opened, seen) = open_seeing(&disk.kill(), manual());
        assert_eq!(opened.unwrap().1.damage, [], "{:?}", self.shape);
        let begin = self.wrote.keys().next().copied().unwrap_or(0);
        let mut wrote: BTreeMap<u64, Wrote> = seen.into_iter().filter(|s| s.0 >= begin).collect();
        for (lsn, made) in self.wrote.range(low..=acked) {
            let mut later = self.wrote.range(lsn + 1..).filter_map(|(_, wrote)| wrote.cell());
            let old = made.cell().is_some_and(|cell| later.any(|later| later == cell));
            assert!(old || wrote.values().any(|w| w == made), "{:?}: {lsn}", self.shape);
        }
        // Written, never acknowledged, and gone: a lost write may bring it back.
        for (lsn, made) in self.wrote.split_off(&(acked + 1)) {
            wrote.entry(lsn).or_insert(made);
        }
        Specimen { shape: self.shape, disk: disk.kill(), wrote, acked, low }
    }
}

impl Wrote {
    /// The cell of a stream that this is the value of.
    pub(crate) fn cell(&self) -> Option<(u64, u8)> {
        match self {
            Self::Meta { stream, slot, .. } => Some((*stream, *slot)),
            _ => None,
        }
    }
}
