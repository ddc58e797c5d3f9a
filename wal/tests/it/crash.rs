//! The crash explorer: seeded scripts, power cuts and kills at every kind of operation boundary,
//! and the invariants that must hold after each open.

use std::collections::BTreeMap;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{
    Ack, Batch, Lsn, OpenError, ReadBound, ReadError, Replayed, Slot, StreamId, Tail, Wal,
    WriteError,
};

use crate::rig::{Replay, Rng, dir, group, open_with, seeds, segments, small};

/// One operation the script performed, with the numbers it got.
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
    fn has_lsn(&self) -> bool {
        !matches!(self, Self::Keep { .. } | Self::KeepMain(_))
    }
}

/// A batch as staged: its operations, in order, and its first number.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    first: u64,
    ops: Vec<Did>,
}

/// All that was staged over the lives of a log, and what was acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    staged: Vec<Staged>,
    pub(crate) acked: u64,
    /// Batches (an index into `staged`) that are certainly there.
    acked_batches: usize,
    pub(crate) main_low: u64,
    clock: u64,
}

impl History {
    /// Of a log that does not exist yet.
    pub(crate) fn new() -> Self {
        Self { main_low: 1, ..Self::default() }
    }
}

/// A naive model of streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    main: BTreeMap<u64, Vec<u8>>,
    streams: BTreeMap<StreamId, ModelStream>,
    main_low: u64,
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

    fn of(history: &History, batches: usize) -> Self {
        let mut model = Self::default();
        for batch in &history.staged[..batches] {
            let mut lsn = batch.first;
            for did in &batch.ops {
                model.apply(lsn, did);
                lsn += u64::from(did.has_lsn());
            }
        }
        model
    }
}

/// What the log itself says.
fn observe(wal: &Wal) -> Model {
    let mut model = Model { main_low: wal.marks().low.as_u64(), ..Model::default() };
    for record in wal.read(wal.marks().low, ReadBound::Written) {
        let record = record.unwrap();
        model.main.insert(record.lsn.as_u64(), record.bytes.to_vec());
        assert_eq!(wal.get(record.lsn).unwrap(), record.bytes, "get equals read");
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

fn brief(batch: &Staged) -> String {
    let ops: Vec<_> = batch
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
    format!("@{} {ops:?}", batch.first)
}

/// Counted so that a campaign that stopped exploring fails.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) states: u64,
    clean: u64,
    torn: u64,
    unverifiable: u64,
    rolls: u64,
    unlinked: u64,
    anchored: u64,
    resumed: u64,
    created_again: u64,
}

pub(crate) struct Script<'a> {
    pub(crate) wal: &'a Wal,
    pub(crate) rng: Rng,
    pub(crate) history: &'a mut History,
    pub(crate) batch: Batch,
}

impl Script<'_> {
    /// Runs until the power goes or the steps are used up.
    pub(crate) fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            if self.step().is_none() {
                return;
            }
        }
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
            let stream = group(self.rng.below(4));
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
                8..=9 => Did::Meta { stream, slot: self.rng.below(3) as u8, bytes },
                10 => {
                    let to = (low + self.rng.below(next - low + 3)).max(1);
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
        self.history.staged.push(Staged { first, ops });
    }

    fn step(&mut self) -> Option<()> {
        let marks = self.wal.marks();
        match self.rng.below(20) {
            0 if marks.staged > marks.high && marks.staged >= marks.low => {
                let span = marks.staged.as_u64() - marks.low.as_u64() + 1;
                let from = marks.low.as_u64() + self.rng.below(span);
                let from = from.max(marks.high.as_u64() + 1);
                let staged = self.wal.truncate_suffix(Lsn::new(from)).ok()?;
                let first = staged.lsn().as_u64();
                self.note(first, vec![Did::Cut(from)]);
                staged.wait().ok()?;
                self.acked(first);
            }
            1 if marks.durable > marks.low => {
                let span = marks.durable.as_u64() - marks.low.as_u64();
                let low = marks.low.as_u64() + 1 + self.rng.below(span);
                self.wal.truncate_prefix(Lsn::new(low)).ok()?;
                self.history.main_low = self.history.main_low.max(low);
                let first = marks.staged.as_u64() + 1;
                self.note(first, vec![Did::KeepMain(low)]);
            }
            2 => {
                self.wal.advance_high(marks.durable).ok()?;
            }
            3 => {
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
            4..=6 => Ack::Staged,
            7..=9 => Ack::Written,
            _ => Ack::Durable,
        };
        let bytes = u32::try_from(self.batch.bytes()).unwrap();
        let permit = self.wal.reserve(bytes).wait().ok()?;
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

    fn acked(&mut self, lsn: u64) {
        self.history.acked = self.history.acked.max(lsn);
        self.history.acked_batches = self.history.staged.len();
        assert!(self.wal.marks().durable.as_u64() >= lsn, "acknowledged is durable");
    }
}

/// Opens a crashed disk and checks everything; the history that is true from here on.
pub(crate) fn check(
    disk: &MemVfs,
    history: &History,
    seen: &mut Seen,
    power_cut: bool,
) -> (Wal, History) {
    seen.states += 1;
    let mut replayed = 0;
    let mut visit = |op: Replayed<'_>| {
        if let Replayed::Record { .. } = op {
            replayed += 1;
        }
    };
    let opened = Wal::open_on(
        std::sync::Arc::new(disk.clone()),
        dir(),
        small().build().unwrap(),
        Some(&mut visit),
    );
    let (wal, report) = match opened {
        Ok(opened) => opened,
        // I6 (G5): a crash alone is never corruption.
        Err(OpenError::Corruption(report)) => panic!("false corruption: {report:#?}"),
        Err(other) => panic!("open failed: {other}"),
    };
    match report.tail {
        Tail::Clean => seen.clean += 1,
        Tail::Torn { .. } => seen.torn += 1,
        Tail::Unverifiable { .. } => seen.unverifiable += 1,
        _ => {}
    }
    seen.anchored += u64::from(report.anchored_bytes > 0);
    seen.created_again += u64::from(report.created);
    // I1, I2, I3, I7, I8: the log equals the model of some prefix of what was staged, and that
    // prefix holds everything acknowledged.
    let newest = report.durable.as_u64();
    assert!(newest >= history.acked, "lost: {newest} recovered, {} acknowledged", history.acked);
    let found = observe(&wal);
    let least = if power_cut { history.acked_batches } else { 0 };
    let fits = |n: &usize| {
        let last: u64 = history.staged[..*n]
            .iter()
            .map(|b| b.first - 1 + b.ops.iter().filter(|op| op.has_lsn()).count() as u64)
            .max()
            .unwrap_or(0);
        if last != newest {
            return false;
        }
        let mut model = Model::of(history, *n);
        // A low mark may be known from MANIFEST although its hint was lost.
        if found.main_low > model.main_low.max(1) && found.main_low <= history.main_low {
            model.apply(0, &Did::KeepMain(found.main_low));
        }
        model.main_low = model.main_low.max(1);
        // A low mark of 0 on an empty stream shows nowhere.
        for s in model.streams.values_mut() {
            s.bounded = s.next > 0;
        }
        model == found
    };
    let n = (least..=history.staged.len()).find(fits);
    let Some(n) = n else {
        panic!(
            "no prefix of the history fits.\nreport {report:?}\nacked {} ({least} batches of {})\n\
             last staged {:?}\nfound {}\n{}",
            history.acked,
            history.staged.len(),
            history.staged.iter().rev().take(12).map(brief).collect::<Vec<_>>(),
            found.brief(),
            (least..=history.staged.len())
                .map(|n| format!("{n}: {}\n", Model::of(history, n).brief()))
                .collect::<String>(),
        );
    };
    let mut now = history.clone();
    now.staged.truncate(n);
    now.acked = newest;
    now.acked_batches = n;
    now.main_low = found.main_low;
    (wal, now)
}

/// One life after another on the same disk.
fn explore(seed: u64, seen: &mut Seen) {
    let _replay = Replay { test: "crash::", seed };
    let mut rng = Rng(seed);
    let mut disk = MemVfs::new();
    let mut history = History::new();
    let mut power_cut = true;
    for _life in 0..4 {
        // The crash may come in the middle of the open.
        disk.power_off_after(if rng.below(6) == 0 { rng.below(30) } else { 20 + rng.below(150) });
        let opened = open_with(&disk, small());
        if let Ok((wal, report)) = opened {
            seen.resumed += u64::from(!report.created && report.tail == Tail::Clean);
            let rng = Rng(rng.next());
            let mut script = Script { wal: &wal, rng, history: &mut history, batch: Batch::new() };
            script.run(60);
            let stats = wal.stats();
            seen.rolls += stats.rolls;
            seen.unlinked += stats.unlinked;
        }
        let states: Vec<MemVfs> = if power_cut {
            (0..6).map(|_| disk.crash(rng.next())).chain(disk.crash_states(4)).collect()
        } else {
            vec![disk.kill()]
        };
        let go_on = usize::try_from(rng.below(states.len() as u64)).unwrap();
        let mut next = None;
        for (i, state) in states.into_iter().enumerate() {
            let before: Vec<_> = contents(&state);
            let image = state.kill();
            let (wal, now) = check(&state, &history, seen, true);
            // I5: recovery changed no byte of a segment that was there, and a second open of the
            // same image answers the same.
            for (path, bytes) in &before {
                if let Ok(after) = state.contents(path) {
                    assert!(after == *bytes, "{} changed", path.display());
                }
            }
            let durable = wal.marks().durable;
            let second = open_with(&image, small()).unwrap().1;
            assert_eq!(second.durable, durable, "a second open answers the same");
            if i == go_on {
                wal.shutdown().wait().unwrap();
                next = Some((state, now));
            }
        }
        let (state, now) = next.unwrap();
        (disk, history) = (state, now);
        power_cut = !power_cut;
    }
}

fn contents(disk: &MemVfs) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    if disk.contents(&dir().join("MANIFEST")).is_err() {
        // The creation never finished; it begins again with other bytes.
        return Vec::new();
    }
    segments(disk).into_iter().map(|p| (p.clone(), disk.contents(&p).unwrap())).collect()
}

#[test]
fn explorer() {
    let mut seen = Seen::default();
    let seeds = seeds(200);
    let whole = seeds.len() > 1;
    for seed in seeds {
        explore(seed, &mut seen);
    }
    println!("{seen:?}");
    if whole {
        let counts = [
            seen.clean,
            seen.torn,
            seen.unverifiable,
            seen.rolls,
            seen.unlinked,
            seen.anchored,
            seen.resumed,
            seen.created_again,
        ];
        assert!(counts.iter().all(|&n| n > 0), "vacuous: {seen:?}");
        assert!(seen.states >= 3000, "{seen:?}");
    }
}

#[test]
fn reading_beyond_the_end_is_not_yet() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, small()).unwrap();
    assert!(matches!(wal.get(Lsn::new(1)), Err(ReadError::NotYet { .. })));
}
