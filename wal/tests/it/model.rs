//! A naive model of the log: what was staged, batch by batch, and what must be there after it.

use std::collections::BTreeMap;

use quorate_wal::{ReadBound, Slot, StreamId, Wal};

/// One operation the script performed.
#[derive(Clone, Debug)]
pub(crate) enum Did {
    Record(Vec<u8>),
    Cut(u64),
    Block { stream: StreamId, replace: bool, first: u64, count: u32, tag: u64, bytes: Vec<u8> },
    Meta { stream: StreamId, slot: u8, bytes: Vec<u8> },
    Keep { stream: StreamId, low: u64 },
    Drop(StreamId),
    KeepMain(u64),
}

impl Did {
    pub(crate) fn has_lsn(&self) -> bool {
        !matches!(self, Self::Keep { .. } | Self::KeepMain(_))
    }
}

/// A batch as staged: its operations in order, and its first number.
#[derive(Clone, Debug)]
pub(crate) struct Batched {
    pub(crate) first: u64,
    pub(crate) ops: Vec<Did>,
}

impl Batched {
    /// Its last number, if it has any.
    pub(crate) fn last(&self) -> Option<u64> {
        let lsns = self.ops.iter().filter(|op| op.has_lsn()).count() as u64;
        (lsns > 0).then(|| self.first + lsns - 1)
    }

    fn brief(&self) -> String {
        let ops: Vec<_> = self
            .ops
            .iter()
            .map(|op| match op {
                Did::Record(bytes) => format!("record {}", bytes.len()),
                Did::Meta { stream, slot, .. } => format!("meta {stream} {slot}"),
                Did::Block { stream, replace, first, count, .. } => {
                    format!("block {stream} {replace} {first}+{count}")
                }
                other => format!("{other:?}"),
            })
            .collect();
        format!("@{} {ops:?}", self.first)
    }
}

/// All that was staged over the lives of a log, and what was acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) staged: Vec<Batched>,
    pub(crate) acked: u64,
    /// Batches (an index into `staged`) that are certainly there.
    pub(crate) acked_batches: usize,
    pub(crate) main_low: u64,
    pub(crate) clock: u64,
}

impl History {
    /// Of a log that does not exist yet.
    pub(crate) fn new() -> Self {
        Self { main_low: 1, ..Self::default() }
    }

    /// The model that equals `found`, which holds numbers up to `newest`: how many batches it
    /// has, at least `least`. The log's own carried records take numbers between batches.
    pub(crate) fn prefix(&self, found: &Model, newest: u64, least: usize) -> Option<usize> {
        let mut model = Model::default();
        for n in 0..=self.staged.len() {
            let ahead = self.staged[n..].iter().find_map(|b| b.last().map(|_| b.first));
            let fits = n >= least && ahead.is_none_or(|first| first > newest);
            if fits && model.equals(found, self.main_low) {
                return Some(n);
            }
            let next = self.staged.get(n)?;
            if next.last().is_some_and(|last| last > newest) {
                return None;
            }
            model.take(next);
        }
        None
    }

    /// For a failure: the last batches, and the models they make.
    pub(crate) fn explain(&self, found: &Model, least: usize) -> String {
        let mut text = format!("acked {} ({least} batches), found {}\n", self.acked, found.brief());
        let mut model = Model::default();
        for (n, batch) in self.staged.iter().enumerate() {
            model.take(batch);
            if n + 12 > self.staged.len() {
                text += &format!("{} {}\n  {}\n", n + 1, batch.brief(), model.brief());
            }
        }
        text
    }
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) main: BTreeMap<u64, Vec<u8>>,
    streams: BTreeMap<StreamId, ModelStream>,
    pub(crate) main_low: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ModelStream {
    low: u64,
    next: u64,
    bounded: bool,
    /// Index to the tag and the bytes of its block.
    entries: BTreeMap<u64, (u64, Vec<u8>)>,
    metas: BTreeMap<u8, Vec<u8>>,
}

impl Model {
    fn take(&mut self, batch: &Batched) {
        let mut lsn = batch.first;
        for did in &batch.ops {
            self.apply(lsn, did);
            lsn += u64::from(did.has_lsn());
        }
    }

    fn apply(&mut self, lsn: u64, did: &Did) {
        match did {
            Did::Record(bytes) => {
                self.main.insert(lsn, bytes.clone());
            }
            Did::Cut(from) => {
                self.main.split_off(from);
            }
            Did::Block { stream, first, count, tag, bytes, .. } => {
                let s = self.streams.entry(*stream).or_default();
                if !s.bounded {
                    (s.low, s.bounded) = (*first, true);
                }
                s.entries.split_off(first);
                for i in 0..u64::from(*count) {
                    s.entries.insert(first + i, (*tag, bytes.clone()));
                }
                s.next = first + u64::from(*count);
            }
            Did::Meta { stream, slot, bytes } => {
                let s = self.streams.entry(*stream).or_default();
                s.metas.insert(*slot, bytes.clone());
            }
            Did::Keep { stream, low } => {
                let s = self.streams.entry(*stream).or_default();
                s.low = if s.bounded { s.low.max(*low) } else { *low };
                s.bounded = true;
                s.entries = s.entries.split_off(&s.low);
                s.next = s.next.max(s.low);
            }
            Did::Drop(stream) => {
                self.streams.remove(stream);
            }
            Did::KeepMain(low) => {
                self.main_low = self.main_low.max(*low);
                self.main = self.main.split_off(&self.main_low);
            }
        }
    }

    /// Whether the log shows this. A low mark may be known from MANIFEST although its hint was
    /// lost; `main_low` is the highest one that was ever asked for. A low mark of 0 on an empty
    /// stream shows nowhere.
    fn equals(&self, found: &Self, main_low: u64) -> bool {
        let low = self.main_low.max(1);
        if found.main_low < low || found.main_low > low.max(main_low) {
            return false;
        }
        let main = self.main.range(found.main_low..);
        main.eq(found.main.iter())
            && self.streams.len() == found.streams.len()
            && self.streams.iter().zip(&found.streams).all(|((id, a), (other, b))| {
                let same = a.entries == b.entries && a.metas == b.metas;
                id == other && (a.low, a.next) == (b.low, b.next) && same
            })
    }

    fn brief(&self) -> String {
        let streams: Vec<_> = self
            .streams
            .iter()
            .map(|(id, s)| {
                let n = s.entries.len();
                format!("{id}: {}..{} ({n}) metas {:?}", s.low, s.next, s.metas.keys())
            })
            .collect();
        let (first, last) = (self.main.keys().next(), self.main.keys().next_back());
        let (low, n) = (self.main_low, self.main.len());
        format!("low {low} main {n} {first:?}..{last:?} {streams:?}")
    }
}

/// What the log itself says.
pub(crate) fn observe(wal: &Wal) -> Model {
    let mut model = Model { main_low: wal.marks().low.as_u64(), ..Model::default() };
    for record in wal.read(wal.marks().low, ReadBound::Written) {
        let record = record.unwrap();
        let lsn = record.lsn.as_u64();
        if lsn.is_multiple_of(7) {
            assert_eq!(wal.get(record.lsn).unwrap(), record.bytes, "get equals read");
        }
        model.main.insert(lsn, record.bytes.to_vec());
    }
    for id in wal.streams(1) {
        let stream = wal.stream(id);
        let mut s = ModelStream::default();
        (s.low, s.next) = (stream.bounds().start, stream.bounds().end);
        s.bounded = s.next > 0;
        let mut blocks = Vec::new();
        let mut next = s.low;
        while next < s.next {
            next = stream.read(next..s.next, 700, &mut blocks).unwrap();
        }
        for block in blocks {
            for index in block.live {
                s.entries.insert(index, (block.tag, block.bytes.to_vec()));
            }
        }
        for slot in 0..16 {
            if let Some(bytes) = stream.meta(Slot::new(slot).unwrap()) {
                s.metas.insert(slot, bytes.to_vec());
            }
        }
        model.streams.insert(id, s);
    }
    model
}
