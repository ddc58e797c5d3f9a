//! Reading records back: every header and payload is verified on every read.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::core::Core;
use crate::error::ReadError;
use crate::event::Event;
use crate::format::crc::{self, Place};
use crate::format::frame::{FRAME_HEADER, FrameHeader, FrameKind};
use crate::format::record::{Record as Stored, Records};
use crate::format::segment::{COPY_AT, HEADER_BYTES, SegmentHeader};
use crate::lsn::{Lsn, LsnSpan, ReadBound};
use crate::report::{Damage, DamageKind, Evidence};
use crate::segments::{Hit, Segment, SegmentSet};
use crate::stats::add;
use crate::table::Table;
use crate::vfs::{VfsFile, read_full};
use crate::width::{at, off, pad8};

/// Bytes read at once by a sequential reader, and by a single read.
const WINDOW: usize = 1 << 20;
const SMALL_WINDOW: usize = 8 << 10;
/// Readers and tailers open at once.
pub(crate) const READERS_MAX: u64 = 1024;

/// A record of the plain log.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Config, Lsn, ReadBound, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// wal.append_blocking(b"x")?;
/// let record = wal.read(Lsn::new(1), ReadBound::Durable).next().expect("one record")?;
/// assert_eq!((record.lsn.as_u64(), &record.bytes[..]), (1, &b"x"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its number.
    pub lsn: Lsn,
    /// Its bytes: a slice of the block that was read, without a copy.
    pub bytes: Bytes,
}

/// A stretch of one segment, read and cut into frames.
#[derive(Debug)]
pub(crate) struct Window {
    segment: Arc<Segment>,
    file: Arc<dyn VfsFile>,
    base: u32,
    bytes: Bytes,
    /// `bytes` are the whole file.
    mapped: bool,
    end: u32,
    size: usize,
}

/// A frame that verified.
#[derive(Debug)]
pub(crate) struct ReadFrame {
    pub(crate) header: FrameHeader,
    pub(crate) payload: Bytes,
    pub(crate) next: u32,
}

impl ReadFrame {
    pub(crate) fn records(&self) -> Records<'_> {
        let count = if self.header.kind == FrameKind::Data { self.header.records } else { 0 };
        Records::new(&self.payload[..at(self.header.stored_len)], count)
    }
}

impl Window {
    pub(crate) fn open(
        core: &Core,
        segment: Arc<Segment>,
        end: u32,
        size: usize,
    ) -> Result<Self, ReadError> {
        Self::open_in(&mut core.segments.lock(), core, segment, end, size)
    }

    fn open_in(
        segments: &mut SegmentSet,
        core: &Core,
        segment: Arc<Segment>,
        end: u32,
        size: usize,
    ) -> Result<Self, ReadError> {
        let vfs = core.vfs.as_ref();
        // Only the owner of a log knows that nobody writes to a file.
        let map = if core.read_only { None } else { segments.map(vfs, &segment) };
        let opened = segments.reader(vfs, &segment);
        let file = opened.map_err(|e| io_error(&segment.path, 0, e))?;
        let mapped = map.is_some();
        Ok(Self { segment, file, base: 0, bytes: map.unwrap_or_default(), mapped, end, size })
    }

    fn have(&self, offset: u32, len: usize) -> bool {
        offset >= self.base && at(offset - self.base) + len <= self.bytes.len()
    }

    fn fill(&mut self, offset: u32, len: usize) -> Result<bool, ReadError> {
        if self.have(offset, len) {
            return Ok(true);
        }
        let most = at(self.end.saturating_sub(offset));
        if self.mapped || len > most {
            return Ok(false);
        }
        let size = len.max(self.size).min(most);
        // Memory that nobody looks at any more is used again, without clearing it.
        let mut bytes = std::mem::take(&mut self.bytes).try_into_mut().unwrap_or_default();
        bytes.resize(size, 0);
        let n = read_full(self.file.as_ref(), &mut bytes, offset.into())
            .map_err(|e| io_error(&self.segment.path, offset.into(), e))?;
        bytes.truncate(n);
        (self.base, self.bytes) = (offset, bytes.freeze());
        Ok(n >= len)
    }

    /// The frame at `offset`, which must begin with number `lsn` if that is given.
    pub(crate) fn frame(
        &mut self,
        core: &Core,
        offset: u32,
        lsn: Option<u64>,
    ) -> Result<ReadFrame, ReadError> {
        add(&core.counters.frames_read, 1);
        let (segment, file) = (Arc::clone(&self.segment), Arc::clone(&self.file));
        let bad = |kind| {
            if core.read_only && !is_same(file.as_ref(), &segment) {
                return gone(&segment, offset);
            }
            damaged(core, &segment, offset, kind, lsn.unwrap_or(1))
        };
        let (seq, salt) = (segment.seq, segment.salt);
        if !self.fill(offset, FRAME_HEADER)? {
            return Err(bad(DamageKind::Length));
        }
        let from = at(offset - self.base);
        let place = Place { salt, seq, offset };
        let found = FrameHeader::decode(&self.bytes[from..], place).ok().flatten();
        let header = match found {
            Some((header, _)) if lsn.is_none_or(|lsn| header.first_lsn == lsn) => header,
            _ => return Err(bad(DamageKind::FrameHeader)),
        };
        let len = pad8(at(header.stored_len));
        if !self.fill(offset, FRAME_HEADER + len)? {
            return Err(bad(DamageKind::Payload));
        }
        let from = at(offset - self.base) + FRAME_HEADER;
        let payload = self.bytes.slice(from..from + len);
        if crc::of(&payload) != header.payload_crc {
            return Err(bad(DamageKind::Payload));
        }
        Ok(ReadFrame { header, payload, next: offset + off(FRAME_HEADER + len) })
    }
}

fn io_error(path: &Path, offset: u64, source: std::io::Error) -> ReadError {
    ReadError::Io { path: path.to_path_buf(), offset, source }
}

/// Whether the file is still this segment: a writer beside a read-only log may have recycled it.
fn is_same(file: &dyn VfsFile, segment: &Segment) -> bool {
    let mut page = vec![0; at(HEADER_BYTES)];
    let read = read_full(file, &mut page, 0).unwrap_or(0);
    page.truncate(read);
    [0, COPY_AT].into_iter().any(|from| {
        let copy = page.get(from..).unwrap_or(&[]);
        let header = SegmentHeader::decode(copy).ok().flatten();
        header.is_some_and(|h| (h.seq, h.salt) == (segment.seq, segment.salt))
    })
}

fn gone(segment: &Segment, offset: u32) -> ReadError {
    let source = std::io::Error::new(std::io::ErrorKind::NotFound, "the writer has given it up");
    io_error(&segment.path, offset.into(), source)
}

fn damaged(core: &Core, segment: &Segment, offset: u32, kind: DamageKind, lsn: u64) -> ReadError {
    add(&core.counters.verify_failures, 1);
    let lost = LsnSpan::new(Lsn::new(lsn), None);
    let evidence = Evidence::Structure;
    let damage = Damage { segment: segment.seq, offset, kind, lost, evidence, single_bit: None };
    tracing::warn!(%damage, "a record failed its checksum on read");
    core.tell([Event::Damage(Box::new(damage.clone()))]);
    ReadError::Corruption(Box::new(damage))
}

/// The records of the plain log from a number on, up to a bound that moves with the log.
///
/// `None` means that the bound is reached now; later calls may find more. It pins the segment it
/// reads: that one is not deleted meanwhile. After an error it goes on behind what is lost, or
/// ends if that cannot be known. 1,024 may be open at once, tailers included: one more answers
/// [`ReadError::TooManyReaders`] once and ends.
///
/// # Cost
/// Holds up to 1 MiB; the memory is used again when no record of it is held any more.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Batch, Config, Lsn, ReadBound, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// wal.commit_blocking(Batch::new().record(b"a").record(b"b"))?;
/// let all: Result<Vec<_>, _> = wal.read(Lsn::new(1), ReadBound::Durable).collect();
/// assert_eq!(all?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    pub(crate) core: Arc<Core>,
    pub(crate) bound: ReadBound,
    /// The lowest number that was not looked at yet.
    pub(crate) next: u64,
    place: Option<(Window, u32, u64)>,
    ready: VecDeque<Record>,
    admitted: bool,
    done: bool,
}

impl Reader {
    pub(crate) fn new(core: &Arc<Core>, from: Lsn, bound: ReadBound) -> Self {
        let core = Arc::clone(core);
        let next = from.as_u64().max(1);
        let ready = VecDeque::new();
        let mut reader =
            Self { core, bound, next, place: None, ready, admitted: false, done: false };
        reader.admit();
        reader
    }

    /// Takes one of the places for readers, unless it has one.
    fn admit(&mut self) -> bool {
        let readers = &self.core.counters.readers;
        let more = |n: u64| (n < READERS_MAX).then_some(n + 1);
        self.admitted |= !self.admitted && readers.fetch_update(Relaxed, Relaxed, more).is_ok();
        self.admitted
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    /// After an error: goes on where it is, or at the low mark if that has passed by.
    pub(crate) fn retry(&mut self, low: Option<u64>) {
        self.place = None;
        self.done = false;
        self.next = self.next.max(low.unwrap_or(0));
    }

    fn step(&mut self) -> Result<bool, ReadError> {
        if !self.admit() {
            return Err(ReadError::TooManyReaders { max: READERS_MAX });
        }
        let bound = self.core.bound(self.bound);
        if self.next > bound {
            return Ok(false);
        }
        let mut lost = self.core.check_readable(self.next)?;
        if lost.is_none() && self.place.is_none() {
            // What stood before the first segment is gone, and a hole may begin right there.
            let first = self.core.segments.lock().first_lsn();
            if first > self.next {
                self.next = first.min(bound + 1);
                lost = self.core.check_readable(self.next)?;
            }
        }
        if let Some(lost) = lost {
            self.place = None;
            match lost.to {
                Some(to) => self.next = to.as_u64() + 1,
                None => self.done = true,
            }
            return Err(ReadError::Lost { lsns: lost });
        }
        self.seek()?;
        let Some((window, offset, lsn)) = &mut self.place else { return Ok(false) };
        let frame = window.frame(&self.core, *offset, Some(*lsn))?;
        let mut number = frame.header.first_lsn;
        for record in frame.records().flatten() {
            if let Stored::Data { bytes } = record
                && number >= self.next
                && number <= bound
            {
                let bytes = frame.payload.slice_ref(bytes);
                self.ready.push_back(Record { lsn: Lsn::new(number), bytes });
            }
            number += u64::from(record.has_lsn());
        }
        (*offset, *lsn) = (frame.next, number);
        self.next = self.next.max(number.min(bound + 1));
        if number > bound + 1 {
            // The frame reaches beyond the bound: read it again when the bound has moved.
            self.place = None;
        }
        let low = self.core.hide(&mut self.ready);
        self.next = self.next.max(low);
        Ok(true)
    }

    /// Makes `place` the frame that holds `next`, or one before it.
    fn seek(&mut self) -> Result<(), ReadError> {
        let inside = self.place.as_ref().is_some_and(|(w, offset, _)| *offset < w.end);
        if inside {
            return Ok(());
        }
        let found = {
            let segments = self.core.segments.lock();
            self.next = self.next.max(segments.first_lsn());
            segments.find(self.next)
        };
        let Some(Hit { segment, offset, end, lsn, .. }) = found else {
            self.place = None;
            return Ok(());
        };
        // At the end of what was readable in this segment: go on there, or in the next one.
        if let Some((window, at, number)) = &mut self.place {
            if window.segment.seq == segment.seq && end > *at {
                window.end = end;
                return Ok(());
            }
            if window.segment.seq == segment.seq && *number == self.next {
                self.place = None;
                return Ok(());
            }
        }
        let window = Window::open(&self.core, segment, end, WINDOW)?;
        self.place = Some((window, offset, lsn));
        Ok(())
    }
}

impl Iterator for Reader {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Some(Ok(record));
            }
            if self.done {
                return None;
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    let ends = !matches!(error, ReadError::Lost { .. });
                    self.done |= ends;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.admitted {
            self.core.counters.readers.fetch_sub(1, Relaxed);
        }
        if self.place.take().is_some() {
            // A segment may have waited for this reader.
            self.core.chore(|c| c.reclaim = true);
        }
    }
}

impl Core {
    /// How far reads may go now.
    pub(crate) fn bound(&self, bound: ReadBound) -> u64 {
        match bound {
            ReadBound::Durable => self.progress.lock().durable_lsn,
            ReadBound::Written => self.progress.lock().written_lsn,
            ReadBound::High => self.staging.lock().table.high,
        }
    }

    /// `Truncated` below the low mark; the hole that holds `lsn`, if one does.
    fn check_readable(&self, lsn: u64) -> Result<Option<LsnSpan>, ReadError> {
        readable(&self.staging.lock().table, lsn)
    }

    /// Drops records that were truncated at either end meanwhile; the low mark.
    fn hide(&self, ready: &mut VecDeque<Record>) -> u64 {
        let staging = self.staging.lock();
        let table = &staging.table;
        if !table.cuts.is_empty() {
            ready.retain(|r| !table.is_cut(r.lsn.as_u64()));
        }
        table.main_low
    }

    /// One record of the plain log.
    pub(crate) fn get(&self, lsn: u64) -> Result<Bytes, ReadError> {
        let written = self.progress.lock().written_lsn;
        let cut = {
            let staging = self.staging.lock();
            if let Some(lsns) = readable(&staging.table, lsn)? {
                return Err(ReadError::Lost { lsns });
            }
            staging.table.is_cut(lsn)
        };
        if lsn > written {
            return Err(ReadError::NotYet { bound: written });
        }
        if lsn == 0 || cut {
            return Err(ReadError::NotARecord(Lsn::new(lsn)));
        }
        let (mut window, mut offset, mut first) = {
            let mut segments = self.segments.lock();
            let Some(hit) = segments.find(lsn) else {
                return Err(ReadError::NotARecord(Lsn::new(lsn)));
            };
            let size = at(hit.next.saturating_sub(hit.offset)).min(SMALL_WINDOW);
            let window = Window::open_in(&mut segments, self, hit.segment, hit.end, size)?;
            (window, hit.offset, hit.lsn)
        };
        loop {
            if offset >= window.end {
                return Err(ReadError::NotARecord(Lsn::new(lsn)));
            }
            let frame = window.frame(self, offset, Some(first))?;
            let end = first + u64::from(frame.header.lsns);
            if lsn < end {
                return pick(&frame, lsn);
            }
            (offset, first) = (frame.next, end);
        }
    }
}

fn readable(table: &Table, lsn: u64) -> Result<Option<LsnSpan>, ReadError> {
    if lsn < table.main_low {
        return Err(ReadError::Truncated { low: table.main_low });
    }
    Ok(table.holes.iter().find(|h| h.contains(Lsn::new(lsn))).copied())
}

fn pick(frame: &ReadFrame, lsn: u64) -> Result<Bytes, ReadError> {
    let mut number = frame.header.first_lsn;
    for record in frame.records().flatten() {
        if number == lsn && record.has_lsn() {
            return match record {
                Stored::Data { bytes } => Ok(frame.payload.slice_ref(bytes)),
                _ => Err(ReadError::NotARecord(Lsn::new(lsn))),
            };
        }
        number += u64::from(record.has_lsn());
    }
    Err(ReadError::NotARecord(Lsn::new(lsn)))
}
