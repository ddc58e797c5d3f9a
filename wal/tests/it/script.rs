//! A seeded script of everything a log can be asked to do.

use std::collections::BTreeMap;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{Ack, Batch, Lsn, Slot, StreamId, Turn, Wal, WriteError};

use crate::model::{Batched, Did, History};
use crate::rig::{Rng, group};

pub(crate) struct Script<'a> {
    pub(crate) wal: &'a Wal,
    pub(crate) rng: Rng,
    pub(crate) history: &'a mut History,
    pub(crate) batch: Batch,
}

impl Script<'_> {
    /// Runs until the log stops or the steps are used up; between steps some of the log's own
    /// work is done, if it is driven by hand.
    pub(crate) fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            if self.step().is_none() {
                return;
            }
            for _ in 0..self.rng.below(4) {
                if self.wal.turn() != Turn::Again {
                    break;
                }
            }
        }
    }

    /// The same while the disk has only a little room left, then more room again.
    pub(crate) fn run_full(&mut self, disk: &MemVfs, steps: u64) {
        disk.quota(Some(disk.used() + self.rng.below(20 << 10)), false);
        self.run(steps);
        disk.quota(None, false);
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = match self.rng.below(8) {
            0 => 0,
            1 => 900 + self.rng.below(1500),
            _ => self.rng.below(200),
        };
        self.history.clock += 1;
        let mut bytes = self.history.clock.to_le_bytes().to_vec();
        bytes.resize(8 + usize::try_from(len).unwrap(), self.history.clock as u8);
        bytes
    }

    fn fill(&mut self) -> Vec<Did> {
        let mut ops = Vec::new();
        self.batch.clear();
        let mut seen: BTreeMap<StreamId, (u64, u64)> = BTreeMap::new();
        for _ in 0..1 + self.rng.below(3) {
            // Stream 0 is seldom used: it has to be carried.
            let id = if self.rng.below(12) == 0 { 0 } else { 1 + self.rng.below(3) };
            let stream = group(id);
            let bounds = self.wal.stream(stream).bounds();
            let (low, next) = *seen.entry(stream).or_insert((bounds.start, bounds.end));
            let bytes = self.bytes();
            let did = match self.rng.below(12) {
                0..=3 => Did::Record(bytes),
                4..=7 => {
                    let replace = self.rng.below(4) == 0 && next > low;
                    let first = if replace { low + self.rng.below(next - low) } else { next };
                    let first = if next == 0 { 1 } else { first };
                    let count = 1 + u32::try_from(self.rng.below(5)).unwrap();
                    let tag = self.rng.below(9);
                    seen.insert(stream, (low.max(u64::from(next == 0)), first + u64::from(count)));
                    Did::Block { stream, replace, first, count, tag, bytes }
                }
                8 => Did::Meta { stream, slot: self.rng.below(3) as u8, bytes },
                9..=10 => {
                    // Now and then below the mark, which changes nothing.
                    let back = if self.rng.below(4) == 0 { low / 2 } else { low };
                    let to = (back + self.rng.below(next - back + 3)).max(1);
                    seen.insert(stream, (low.max(to), next.max(to)));
                    Did::Keep { stream, low: to }
                }
                _ if self.rng.below(4) == 0 => {
                    seen.insert(stream, (0, 0));
                    Did::Drop(stream)
                }
                _ => Did::Record(bytes),
            };
            self.push(&did);
            ops.push(did);
        }
        ops
    }

    fn push(&mut self, did: &Did) {
        let batch = &mut self.batch;
        match did {
            Did::Record(bytes) => batch.record(bytes),
            Did::Block { stream, replace: false, first, count, tag, bytes } => {
                batch.extend(*stream, *first, *count, *tag, bytes)
            }
            Did::Block { stream, first, count, tag, bytes, .. } => {
                batch.replace(*stream, *first, *count, *tag, bytes)
            }
            Did::Meta { stream, slot, bytes } => {
                batch.meta(*stream, Slot::new(*slot).unwrap(), bytes)
            }
            Did::Keep { stream, low } => batch.keep_from(*stream, *low),
            Did::Drop(stream) => batch.drop_stream(*stream),
            Did::Cut(_) | Did::KeepMain(_) => unreachable!("not batch operations"),
        };
    }

    fn note(&mut self, first: u64, ops: Vec<Did>) {
        self.history.staged.push(Batched { first, ops });
    }

    fn step(&mut self) -> Option<()> {
        let marks = self.wal.marks();
        match self.rng.below(20) {
            0 if marks.staged > marks.high && marks.staged >= marks.low => {
                let span = marks.staged.as_u64() - marks.low.as_u64() + 1;
                let from = marks.low.as_u64() + self.rng.below(span);
                let from = from.max(marks.high.as_u64() + 1);
                let staged = match self.wal.truncate_suffix(Lsn::new(from)) {
                    Ok(staged) => staged,
                    Err(refused) => return went_on(&refused),
                };
                let first = staged.lsn().as_u64();
                self.note(first, vec![Did::Cut(from)]);
                staged.wait().ok()?;
                self.acked(first);
            }
            1..=2 if marks.durable > marks.low => {
                let span = marks.durable.as_u64() - marks.low.as_u64();
                let low = marks.low.as_u64() + 1 + self.rng.below(span);
                self.wal.truncate_prefix(Lsn::new(low)).ok()?;
                self.history.main_low = self.history.main_low.max(low);
                let first = self.wal.marks().staged.as_u64() + 1;
                self.note(first, vec![Did::KeepMain(low)]);
            }
            3 => {
                self.wal.advance_high(marks.durable).ok()?;
            }
            4 => {
                let lsn = self.wal.sync().ok()?.wait().ok()?;
                self.acked(lsn.as_u64());
            }
            kind => return self.append(kind),
        }
        Some(())
    }

    fn append(&mut self, kind: u64) -> Option<()> {
        let ops = self.fill();
        let ack = match kind {
            5..=7 => Ack::Staged,
            8..=10 => Ack::Written,
            _ => Ack::Durable,
        };
        let bytes = u32::try_from(self.batch.bytes()).unwrap();
        let permit = match self.wal.reserve(bytes).wait() {
            Ok(permit) => permit,
            // What frees space is taken without a permit, out of the reserve.
            Err(WriteError::NoSpace { .. }) => return self.free(),
            Err(other) => return went_on(&other),
        };
        let staged = match permit.stage(&self.batch, ack) {
            Ok(staged) => staged,
            Err(WriteError::Poisoned(_)) => return None,
            Err(other) => panic!("the script breaks a rule: {other}: {ops:?}"),
        };
        let first = staged.lsns().from.as_u64();
        self.note(first, ops);
        let lsn = staged.wait().ok()?;
        if ack == Ack::Durable {
            self.acked(lsn.as_u64());
        }
        Some(())
    }

    /// On a full disk: gives something up.
    fn free(&mut self) -> Option<()> {
        let stream = group(1 + self.rng.below(3));
        let bounds = self.wal.stream(stream).bounds();
        if bounds.is_empty() {
            return Some(());
        }
        let low = bounds.end;
        self.batch.clear();
        self.batch.keep_from(stream, low);
        let staged = match self.wal.stage(&self.batch, Ack::Durable) {
            Ok(staged) => staged,
            Err(refused) => return went_on(&refused),
        };
        self.note(staged.lsns().from.as_u64(), vec![Did::Keep { stream, low }]);
        let lsn = staged.wait().ok()?;
        self.acked(lsn.as_u64());
        Some(())
    }

    fn acked(&mut self, lsn: u64) {
        self.history.acked = self.history.acked.max(lsn);
        self.history.acked_batches = self.history.staged.len();
        assert!(self.wal.marks().durable.as_u64() >= lsn, "acknowledged is durable");
    }
}

/// A refusal leaves the log as it was, unless it has stopped.
fn went_on(refused: &WriteError) -> Option<()> {
    match refused {
        WriteError::NoSpace { .. } | WriteError::Busy { .. } | WriteError::TooLarge { .. } => {
            Some(())
        }
        WriteError::Poisoned(_) => None,
        other => panic!("the script breaks a rule: {other}"),
    }
}
