//! Reading sealed segments again, from the medium, to find rot before it is needed (§5.9).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;
use crate::driver;
use crate::error::ReadError;
use crate::format::frame::{LINK_FRAME, Link};
use crate::format::segment::{COPY_AT, HEADER_BYTES, SegmentHeader};
use crate::lsn::{Lsn, LsnSpan};
use crate::report::{Damage, DamageKind, Evidence};
use crate::scan::{Cursor, Image, Stop, Stopped, Why};
use crate::segments::Seal;
use crate::stats::add;
use crate::vfs::{OpenMode, VfsFile, read_full};
use crate::width::{at, off};

/// About how many bytes one step reads.
const STEP_BYTES: u32 = 1 << 20;

/// How fast to read.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use quorate_wal::Pace;
/// assert_eq!(Pace::bytes_per_second(1 << 20).time_for(512 << 10), Duration::from_millis(500));
/// assert_eq!(Pace::unlimited().time_for(u64::MAX), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    bytes_per_second: u64,
}

impl Pace {
    /// So many bytes in a second, on average; 0 counts as 1.
    #[must_use]
    pub const fn bytes_per_second(bytes: u64) -> Self {
        Self { bytes_per_second: if bytes == 0 { 1 } else { bytes } }
    }

    /// As fast as the medium delivers.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { bytes_per_second: u64::MAX }
    }

    /// How long reading so many bytes is to take.
    #[must_use]
    pub fn time_for(self, bytes: u64) -> Duration {
        if self.bytes_per_second == u64::MAX {
            return Duration::ZERO;
        }
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What a scrub has done so far.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Config, Pace, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// assert_eq!(wal.scrub(Pace::unlimited()).counts().segments, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubCounts {
    /// Segments read to their end.
    pub segments: u64,
    /// Bytes read and verified.
    pub bytes: u64,
    /// Damaged places that were found.
    pub damage: u64,
    /// Segments of which one of the two header copies is bad; the other one is enough.
    pub copies_bad: u64,
    /// Segments given up because the medium refused to read.
    pub unreadable: u64,
    /// Segments that were reclaimed before their turn.
    pub gone: u64,
}

/// One step of a [`Scrub`].
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Config, Pace, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let pace = Pace::bytes_per_second(8 << 20);
/// let mut scrub = wal.scrub(pace);
/// while let Some(step) = scrub.step() {
///     assert!(step.found.is_none(), "no damage here");
///     let _rest = pace.time_for(step.bytes); // the caller waits as it likes
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct ScrubStep {
    /// Bytes read by this step.
    pub bytes: u64,
    /// What it found wrong.
    pub found: Option<Result<Damage, ReadError>>,
}

/// Reads every sealed segment again and checks it against what the open, or the writing, saw:
/// headers, checksums, chain, numbers, ends. An iterator of what is wrong; it repairs nothing.
///
/// Damage that is known since the open is not named again. An error of the medium is an item, too;
/// the rest of that segment is given up. The segment that is written is left out, and so are those
/// that are sealed later; segments are held one at a time.
///
/// As an iterator it keeps its [`Pace`] by holding the calling thread. With
/// [`Driver::Manual`](crate::Driver::Manual) there is no clock: use [`step`](Self::step) and wait
/// elsewhere.
///
/// # Cost
/// Reads the log once, past the page cache where the system allows that; 1 MiB of memory.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Config, Pace, Wal, vfs::MemVfs};
/// let config = Config::embedded().segment_bytes(16 << 10).batch_bytes_max(4 << 10).build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// for _ in 0..40 {
///     wal.append_blocking(&[7; 1000])?;
/// }
/// let mut scrub = wal.scrub(Pace::unlimited());
/// assert!(scrub.next().is_none());
/// assert!(scrub.counts().segments >= 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scrub {
    core: Arc<Core>,
    pace: Pace,
    left: VecDeque<u64>,
    now: Option<Checked>,
    counts: ScrubCounts,
    /// Bytes that the iterator has not paused for yet.
    unpaid: u64,
}

/// A segment in the middle of its check.
#[derive(Debug)]
struct Checked {
    seal: Seal,
    image: Image<'static>,
    cursor: Cursor,
}

impl Scrub {
    pub(crate) fn new(core: &Arc<Core>, pace: Pace) -> Self {
        let left = core.segments.lock().sealed();
        let (core, counts) = (Arc::clone(core), ScrubCounts::default());
        Self { core, pace, left, now: None, counts, unpaid: 0 }
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> ScrubCounts {
        self.counts
    }

    /// Reads about 1 MiB, without regard to the pace; `None` when all is done.
    pub fn step(&mut self) -> Option<ScrubStep> {
        let step = match self.now.take() {
            Some(checked) => self.go_on(checked),
            None => loop {
                let seq = self.left.pop_front()?;
                let seal = self.core.segments.lock().seal(seq);
                match seal {
                    Some(seal) => break self.begin(seal),
                    None => self.counts.gone += 1,
                }
            },
        };
        self.counts.bytes += step.bytes;
        match &step.found {
            Some(Ok(damage)) => {
                self.counts.damage += 1;
                add(&self.core.counters.verify_failures, 1);
                tracing::warn!(%damage, "scrub found damage");
            }
            Some(Err(_)) => self.counts.unreadable += 1,
            None => {}
        }
        Some(step)
    }

    /// Header page and Link.
    fn begin(&mut self, seal: Seal) -> ScrubStep {
        let path = &seal.segment.path;
        let failed = |e| failed(&seal, 0, e);
        let opened = self.core.vfs.open(path, OpenMode::Read);
        let file = match opened.and_then(|file| file.drop_cache().map(|()| file)) {
            Ok(file) => file,
            Err(e) => return failed(e),
        };
        let copies = match sound_copies(file.as_ref(), &seal) {
            Ok(copies) => copies,
            Err(e) => return failed(e),
        };
        self.counts.copies_bad += u64::from(copies == 1);
        let (seq, salt, end) = (seal.segment.seq, seal.segment.salt, seal.end);
        let read = Box::new(move |offset: u32, buf: &mut [u8]| {
            read_full(file.as_ref(), buf, offset.into())
        });
        let mut image = Image::over(read, seq, salt, end);
        let link = match image.link() {
            Ok(link) => link,
            Err(stopped) => return self.stopped(&seal, HEADER_BYTES, stopped),
        };
        let bytes = u64::from(HEADER_BYTES) + LINK_FRAME as u64;
        let (start, lsn) = (HEADER_BYTES + off(LINK_FRAME), seal.first_lsn);
        let cursor = |chain| Cursor { at: start, lsn, chain };
        let mut found = None;
        if copies == 0 {
            found = Some((0, DamageKind::SegmentHeader));
        }
        let chain = match link {
            Some((link, header)) if self.continues(&seal, &link) => Some(header.crc),
            _ => {
                found = found.or(Some((HEADER_BYTES, DamageKind::Link)));
                None
            }
        };
        let lost = LsnSpan::new(Lsn::new(lsn), Some(Lsn::new(lsn - 1)));
        let damage = found.map(|(offset, kind)| damage_at(&seal, offset, kind, lost));
        let known = |d: &Damage| self.is_known(d, seal.first_lsn);
        let found = damage.filter(|d| !known(d)).map(Ok);
        self.now = Some(Checked { cursor: cursor(chain), image, seal });
        ScrubStep { bytes, found }
    }

    /// Whether the Link fits the segment before, as far as that is still there.
    fn continues(&self, seal: &Seal, link: &Link) -> bool {
        let before = self.core.segments.lock().seal(link.prev_seq);
        link.prev_last_lsn + 1 == seal.first_lsn
            && before.is_none_or(|b| b.end == link.prev_end && b.segment.salt == link.prev_salt)
    }

    fn go_on(&mut self, mut checked: Checked) -> ScrubStep {
        let Checked { seal, image, cursor } = &mut checked;
        let from = cursor.at;
        // Up to a frame that the index knows, so that its number is compared, too.
        let behind = seal.index.partition_point(|&(_, at)| at < from.saturating_add(STEP_BYTES));
        let stand = (seal.next_lsn, seal.end);
        let (lsn, limit) = seal.index.get(behind).copied().unwrap_or(stand);
        let stop = match image.run(*cursor, limit, &mut |_| Ok(())) {
            Ok(stop) => stop,
            Err(stopped) => return self.stopped(seal, from, stopped),
        };
        let whole = stop.at == limit && stop.lsn == lsn;
        let mut step = ScrubStep { bytes: u64::from(stop.at - from), found: None };
        *cursor = Cursor { at: stop.at, lsn: stop.lsn, chain: stop.chain };
        if !whole {
            match self.behind_damage(seal, image, &stop) {
                Ok((damage, next)) => {
                    let known = self.is_known(&damage, stop.lsn);
                    step.found = (!known).then_some(Ok(damage));
                    *cursor = next;
                }
                Err(stopped) => return self.stopped(seal, stop.at, stopped),
            }
        }
        if checked.cursor.at >= checked.seal.end {
            self.counts.segments += 1;
        } else {
            self.now = Some(checked);
        }
        step
    }

    /// What is lost where a run stopped, and where to go on.
    fn behind_damage(
        &self,
        seal: &Seal,
        image: &mut Image<'static>,
        stop: &Stop,
    ) -> Result<(Damage, Cursor), Stopped> {
        let end = Cursor { at: seal.end, lsn: seal.next_lsn, chain: None };
        let at_end = stop.at >= seal.end;
        let resumed = if at_end { None } else { image.resume(stop.at + 8, seal.end, stop.lsn)? };
        let next = resumed.map_or(end, |found| Cursor {
            at: found.offset,
            lsn: found.header.first_lsn,
            chain: None,
        });
        let kind = match stop.why {
            Why::Payload => DamageKind::Payload,
            _ if at_end => DamageKind::Link,
            _ => DamageKind::FrameHeader,
        };
        let lost = LsnSpan::new(Lsn::new(stop.lsn), Some(Lsn::new(next.lsn.saturating_sub(1))));
        let mut damage = damage_at(seal, stop.at, kind, lost);
        damage.single_bit = image.single_bit(stop.at, stop.lsn)?;
        Ok((damage, next))
    }

    /// Whether the open has named this: the numbers around it are in a hole.
    fn is_known(&self, damage: &Damage, lsn: u64) -> bool {
        let staging = self.core.staging.lock();
        let lost = damage.lost;
        let around = |h: &LsnSpan| {
            h.contains(Lsn::new(lsn)) || (lost.is_empty() && h.contains(Lsn::new(lsn - 1)))
        };
        staging.table.holes.iter().any(around)
    }

    fn stopped(&self, seal: &Seal, offset: u32, stopped: Stopped) -> ScrubStep {
        match stopped {
            Stopped::Io(_, e) => failed(seal, offset, e),
            // The open knew everything it read: this was not there then.
            Stopped::Unsupported(_) => {
                let lost =
                    LsnSpan::new(Lsn::new(seal.first_lsn), Some(Lsn::new(seal.next_lsn - 1)));
                let damage = damage_at(seal, offset, DamageKind::FrameHeader, lost);
                ScrubStep { bytes: 0, found: Some(Ok(damage)) }
            }
        }
    }

    fn pause(&mut self) {
        if !self.core.config.driver.is_manual() || self.core.read_only {
            driver::pause(self.pace.time_for(std::mem::take(&mut self.unpaid)));
        }
    }
}

impl Iterator for Scrub {
    type Item = Result<Damage, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.pause();
            let step = self.step()?;
            self.unpaid += step.bytes;
            if step.found.is_some() {
                return step.found;
            }
        }
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        if self.now.take().is_some() {
            // A segment may have waited for this one.
            self.core.chore(|c| c.reclaim = true);
        }
    }
}

fn failed(seal: &Seal, offset: u32, source: io::Error) -> ScrubStep {
    let path = seal.segment.path.clone();
    ScrubStep { bytes: 0, found: Some(Err(ReadError::Io { path, offset: offset.into(), source })) }
}

fn damage_at(seal: &Seal, offset: u32, kind: DamageKind, lost: LsnSpan) -> Damage {
    let evidence = Evidence::NextSegment { segment: seal.next_seq };
    Damage { segment: seal.segment.seq, offset, kind, lost, evidence, single_bit: None }
}

/// How many of the two header copies are sound.
fn sound_copies(file: &dyn VfsFile, seal: &Seal) -> io::Result<u32> {
    let mut page = vec![0; at(HEADER_BYTES)];
    let read = read_full(file, &mut page, 0)?;
    page.truncate(read);
    let sound = |from: &usize| {
        let header = SegmentHeader::decode(page.get(*from..).unwrap_or(&[])).ok().flatten();
        header.is_some_and(|h| (h.seq, h.salt) == (seal.segment.seq, seal.segment.salt))
    };
    Ok(off([0, COPY_AT].iter().filter(|from| sound(from)).count()))
}
