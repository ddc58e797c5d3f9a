//! Verifying segments ahead of the judge: where the first run of a linked segment begins and may
//! end is known before it is read, so that other threads can follow it (§5.4, R3).
//!
//! What they hand over is a list of what the run does to the table and the index. The judge takes
//! it in place of the run only if it would have begun at the same place with the same limit; what
//! nobody has begun it reads itself. So the outcome does not depend on who was faster.

use crate::driver;
use crate::format::record::{Entries, Record};
use crate::scan::{Cursor, Frame, Image, Load, Stop, Stopped};
use crate::segments::INDEX_STEP;
use crate::sync::{Lock, Signal};
use crate::width::off;

/// A run of frames that may be followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) seq: u64,
    pub(crate) salt: u64,
    pub(crate) end: u32,
    pub(crate) cursor: Cursor,
    pub(crate) limit: u32,
}

/// An operation without the bytes of a block.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) lsn: u64,
    /// Of the frame.
    pub(crate) offset: u32,
    /// Length of the bytes that the operation had.
    pub(crate) len: u32,
    record: Record<'static>,
    cell: Box<[u8]>,
}

impl Note {
    /// `None` for a record of the plain log: only the last of a run matters.
    fn of(record: Record<'_>, lsn: u64, offset: u32) -> Option<Self> {
        let (mut len, mut cell) = (0, Box::default());
        let record = match record {
            Record::Data { .. } => return None,
            Record::Entries(entries) => {
                let Entries { replace, carried, stream, back, first, count, tag, bytes } = entries;
                len = off(bytes.len());
                let bytes = &[];
                let kept = Entries { replace, carried, stream, back, first, count, tag, bytes };
                Record::Entries(kept)
            }
            Record::Meta { carried, stream, back, slot, bytes } => {
                len = off(bytes.len());
                cell = bytes.into();
                Record::Meta { carried, stream, back, slot, bytes: &[] }
            }
            Record::Drop { stream, back } => Record::Drop { stream, back },
            Record::TruncateSuffix { from } => Record::TruncateSuffix { from },
            Record::Hole(hole) => Record::Hole(hole),
            Record::KeepStream { stream, low } => Record::KeepStream { stream, low },
            Record::KeepMain { low } => Record::KeepMain { low },
            Record::High { lsn } => Record::High { lsn },
        };
        Some(Self { lsn, offset, len, record, cell })
    }

    /// The operation; a block has lost its bytes.
    pub(crate) fn record(&self) -> Record<'_> {
        match self.record {
            Record::Meta { carried, stream, back, slot, .. } => {
                Record::Meta { carried, stream, back, slot, bytes: &self.cell }
            }
            other => other,
        }
    }
}

/// A run that was followed.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(crate) cursor: Cursor,
    limit: u32,
    pub(crate) stop: Stop,
    /// How far the bytes were looked at.
    pub(crate) reach: u32,
    /// Number and offset of frames for the sparse index.
    pub(crate) index: Vec<(u64, u32)>,
    /// The newest record of the plain log.
    pub(crate) main_last: Option<u64>,
    pub(crate) notes: Vec<Note>,
}

impl Ahead {
    fn add(&mut self, frame: &Frame<'_>) {
        let mut lsn = frame.header.first_lsn;
        let far = self.index.last().is_none_or(|&(_, last)| frame.offset >= last + INDEX_STEP);
        if far && frame.is_data() {
            self.index.push((lsn, frame.offset));
        }
        if frame.plain {
            self.main_last = Some(frame.last_lsn());
            return;
        }
        for record in frame.records().flatten() {
            match Note::of(record, lsn, frame.offset) {
                Some(note) => self.notes.push(note),
                None => self.main_last = Some(lsn),
            }
            lsn += u64::from(record.has_lsn());
        }
    }
}

#[derive(Debug)]
enum Slot {
    Free,
    Taken,
    /// `None`: it could not be followed; the judge will see why.
    Done(Option<Box<Ahead>>),
}

#[derive(Debug)]
struct Board {
    slots: Vec<Slot>,
    /// How far the judge is: nobody runs far away from it, so that memory stays bounded.
    judged: usize,
    stop: bool,
}

/// Shares the runs among threads.
pub(crate) struct Verifier<'a> {
    load: Load<'a>,
    runs: Vec<Run>,
    helpers: usize,
    board: Lock<Board>,
    news: Signal,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(load: Load<'a>, runs: Vec<Run>, helpers: usize) -> Self {
        let helpers = helpers.min(runs.len().saturating_sub(1));
        let slots = runs.iter().map(|_| Slot::Free).collect();
        let board = Lock::new(Board { slots, judged: 0, stop: false });
        Self { load, runs, helpers, board, news: Signal::new() }
    }

    /// Decides while the helpers run ahead.
    pub(crate) fn beside<T>(&self, decide: impl FnOnce() -> T) -> T {
        if self.helpers == 0 {
            return decide();
        }
        driver::beside(self.helpers, &|| self.help(), || {
            let _end = EndOfWork(self);
            decide()
        })
    }

    /// A run, if somebody has followed it, or is about to, from the same place to the same limit.
    pub(crate) fn take(&self, seq: u64, cursor: Cursor, limit: u32) -> Option<Box<Ahead>> {
        if self.helpers == 0 {
            return None;
        }
        let i = self.runs.binary_search_by_key(&seq, |run| run.seq).ok()?;
        let mut board = self.board.lock();
        board.judged = i;
        self.news.notify_all();
        while matches!(board.slots[i], Slot::Taken) {
            board = self.news.wait(board);
        }
        let slot = std::mem::replace(&mut board.slots[i], Slot::Done(None));
        let Slot::Done(ahead) = slot else { return None };
        ahead.filter(|a| (a.cursor, a.limit) == (cursor, limit))
    }

    fn help(&self) {
        let mut buf = Vec::new();
        while let Some(i) = self.next() {
            let mut done = OnDrop { verifier: self, i, ahead: None };
            done.ahead = self.follow(&self.runs[i], &mut buf).ok();
        }
    }

    /// The next run to follow; waits for the judge if that is too far behind.
    fn next(&self) -> Option<usize> {
        let mut board = self.board.lock();
        loop {
            let free = board.slots.iter().position(|slot| matches!(slot, Slot::Free))?;
            if board.stop {
                return None;
            }
            if free <= board.judged + 2 * self.helpers {
                board.slots[free] = Slot::Taken;
                return Some(free);
            }
            board = self.news.wait(board);
        }
    }

    fn follow(&self, run: &Run, buf: &mut Vec<u8>) -> Result<Box<Ahead>, Stopped> {
        let Run { seq, salt, end, cursor, limit } = *run;
        let mut image = Image::new(self.load, seq, salt, end, std::mem::take(buf))?;
        let mut ahead = Box::new(Ahead {
            cursor,
            limit,
            stop: Stop::at(cursor),
            reach: 0,
            index: Vec::new(),
            main_last: None,
            notes: Vec::new(),
        });
        ahead.stop = image.run(cursor, limit, &mut |frame| {
            ahead.add(frame);
            Ok(())
        })?;
        (*buf, ahead.reach) = image.into_parts();
        Ok(ahead)
    }
}

/// Hands a run over, or says that there is none, also when the helper panics.
struct OnDrop<'a, 'b> {
    verifier: &'a Verifier<'b>,
    i: usize,
    ahead: Option<Box<Ahead>>,
}

impl Drop for OnDrop<'_, '_> {
    fn drop(&mut self) {
        self.verifier.board.lock().slots[self.i] = Slot::Done(self.ahead.take());
        self.verifier.news.notify_all();
    }
}

/// Lets the helpers go when there is a decision, or none.
struct EndOfWork<'a, 'b>(&'a Verifier<'b>);

impl Drop for EndOfWork<'_, '_> {
    fn drop(&mut self) {
        self.0.board.lock().stop = true;
        self.0.news.notify_all();
    }
}
