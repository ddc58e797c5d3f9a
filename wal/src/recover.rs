//! Opening a log: the I/O around the verdict (R0 to R3, R10), and the report.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, Recovery, TailPolicy};
use crate::create::{self, io_at};
use crate::error::OpenError;
use crate::format::Unsupported;
use crate::format::crc::Place;
use crate::format::frame::{FRAME_HEADER, FrameHeader, FrameKind, LINK_FRAME, Link, payload};
use crate::format::manifest::{MANIFEST_BYTES, Manifest, SLOT_STRIDE};
use crate::format::record::Hole;
use crate::format::segment::{COPY_AT, HEADER_BYTES, HEADER_LEN, SegmentHeader};
use crate::lsn::{Lsn, LsnSpan};
use crate::plant::planted;
use crate::prepare::{segment_name, segment_seq};
use crate::replay::{Replay, Visit};
use crate::report::{Damage, DamageKind, Evidence, RecoveryReport, Tail};
use crate::reserve::{RESERVE, RESERVE_TMP, reserve_bytes};
use crate::scan::{Reading, WINDOW};
use crate::verdict::{Facts, Input, Linked, Stopped, Verdict, judge};
use crate::vfs::{DirItem, OpenMode, Vfs, VfsLock, read_full, write_full};
use crate::width::{at, off, wide};

/// Bytes of a segment that classify it.
const HEAD: usize = HEADER_BYTES as usize + LINK_FRAME;
/// A thread for less than this takes longer to start than it saves.
const HELPER_BYTES_MIN: u64 = 1 << 20;
/// Segments in one directory.
const SEGMENTS_MAX: usize = 65_536;

/// What an open found, ready to be turned into a running log.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// `None`: read only.
    pub(crate) lock: Option<Box<dyn VfsLock>>,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) uuid: u128,
    pub(crate) heads: Vec<(u64, Option<SegmentHeader>, u64)>,
    pub(crate) verdict: Verdict,
    pub(crate) table: crate::table::Table,
    pub(crate) index: Vec<(u64, u64, u32, bool)>,
    pub(crate) report: RecoveryReport,
    /// `RESERVE` is there, and as long as it has to be.
    pub(crate) reserve: bool,
}

/// The directory, sorted into what it holds.
#[derive(Debug, Default)]
struct Listing {
    manifest: bool,
    segments: Vec<(u64, u64)>,
    leftovers: Vec<OsString>,
    foreign: Vec<OsString>,
    lock: bool,
    /// Length of `RESERVE`.
    reserve: Option<u64>,
}

impl Listing {
    fn read(vfs: &dyn Vfs, dir: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for DirItem { name, bytes, is_dir } in vfs.list(dir)? {
            let text = name.to_str().unwrap_or("");
            if is_dir {
                found.foreign.push(name);
            } else if text == "MANIFEST" {
                found.manifest = true;
            } else if text == "LOCK" {
                found.lock = true;
            } else if text == RESERVE {
                found.reserve = Some(bytes);
            } else if text.ends_with(".qwal.tmp") || matches!(text, "MANIFEST.tmp" | RESERVE_TMP) {
                found.leftovers.push(name);
            } else if let Some(seq) = segment_seq(text) {
                found.segments.push((seq, bytes));
            } else {
                found.foreign.push(name);
            }
        }
        found.segments.sort_unstable();
        found.foreign.sort_unstable();
        Ok(found)
    }

    fn is_new(&self) -> bool {
        !self.manifest && self.segments.is_empty()
    }
}

/// Locks, reads, decides, and writes what recovery has to write (nothing, if it refuses).
pub(crate) fn recover(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    config: &Config,
    visit: Option<Visit<'_>>,
) -> Result<Recovered, OpenError> {
    let vfs = vfs.as_ref();
    enter(vfs, dir)?;
    let lock = take_lock(vfs, dir)?;
    if !planted("no_dir_sync_at_open") {
        // A killed process may have left names that are not durable (H25).
        vfs.sync_dir(dir).map_err(io_at(dir))?;
    }
    let mut listing = Listing::read(vfs, dir).map_err(io_at(dir))?;
    let created = unfinished(vfs, dir, &listing)?;
    if created {
        clear_leftovers(vfs, dir, &listing, u64::MAX)?;
        create::directories(vfs, dir)?;
        create::log(vfs, dir, config)?;
        listing = Listing::read(vfs, dir).map_err(io_at(dir))?;
    }
    let slots = read_manifest(vfs, dir, listing.manifest)?;
    let mut found = survey(vfs, dir, config, &listing, slots, visit)?;
    found.report.created = created;
    found.lock = Some(lock);
    check_policy(config, &found.report)?;
    if !created {
        anchor_manifest(vfs, dir, found.manifest)?;
    }
    clear_leftovers(vfs, dir, &listing, found.manifest.map_or(0, |m| m.oldest))?;
    found.report.anchored_bytes = anchor(vfs, dir, &found.verdict)?;
    Ok(found)
}

/// Reads and decides, and touches nothing; a writer may be at work beside it. What MANIFEST says
/// is true of segments that are read later.
pub(crate) fn look(vfs: &dyn Vfs, dir: &Path, config: &Config) -> Result<Recovered, OpenError> {
    let not_a_log = |kind| matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let list = || match Listing::read(vfs, dir) {
        Err(e) if not_a_log(e.kind()) => Err(OpenError::NotALog(dir.to_path_buf())),
        other => other.map_err(io_at(dir)),
    };
    let slots = read_manifest(vfs, dir, list()?.manifest)?;
    let listing = list()?;
    if listing.is_new() || unfinished(vfs, dir, &listing)? {
        return Err(OpenError::NotALog(dir.to_path_buf()));
    }
    survey(vfs, dir, config, &listing, slots, None)
}

/// Reads every segment and decides.
fn survey(
    vfs: &dyn Vfs,
    dir: &Path,
    config: &Config,
    listing: &Listing,
    (manifest, bad_slots): (Option<Manifest>, u32),
    visit: Option<Visit<'_>>,
) -> Result<Recovered, OpenError> {
    let heads = Heads::read(vfs, dir, listing, manifest)?;
    let (input, uuid) = heads.input(config, manifest);
    let main_low = input.segments.iter().filter_map(|f| f.link).map(|l| l.link.main_low);
    let main_low = main_low.chain(manifest.map(|m| m.main_low)).max().unwrap_or(1);
    // A visitor is shown the bytes, in order: then one thread does everything.
    let helpers = if visit.is_some() { 0 } else { helpers(config, &input) };
    let mut replay = Replay::new(main_low, visit);
    let load = |seq| load(vfs, &dir.join(segment_name(seq)));
    let verdict = judge(&input, &load, &mut replay, helpers);
    let verdict = verdict.map_err(|stopped| refuse(dir, stopped))?;
    let mut report = report(&verdict, &replay, listing);
    report.repaired += heads.repaired + if manifest.is_some() { bad_slots } else { 0 };
    if manifest.is_none() {
        report.damage.insert(0, manifest_damage(&verdict));
    }
    let (accepted, damage): (Vec<Damage>, Vec<Damage>) =
        report.damage.drain(..).partition(|d| covered(d, &replay.accepted));
    report.accepted = accepted.iter().map(|d| d.lost).collect();
    report.damage = damage;
    let Replay { table, index, .. } = replay;
    let heads = heads.found;
    let bytes = u64::from(reserve_bytes(config.segment_bytes));
    let reserve = listing.reserve == Some(bytes);
    Ok(Recovered { lock: None, manifest, uuid, heads, verdict, table, index, report, reserve })
}

/// Makes sure that there is a directory that is, or may become, a log.
fn enter(vfs: &dyn Vfs, dir: &Path) -> Result<(), OpenError> {
    match Listing::read(vfs, dir) {
        Ok(found) => {
            let strange = found.is_new() && !found.lock && !found.foreign.is_empty();
            if strange { Err(OpenError::NotALog(dir.to_path_buf())) } else { Ok(()) }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => create::directories(vfs, dir),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            Err(OpenError::NotALog(dir.to_path_buf()))
        }
        Err(e) => Err(io_at(dir)(e)),
    }
}

fn take_lock(vfs: &dyn Vfs, dir: &Path) -> Result<Box<dyn VfsLock>, OpenError> {
    let path = dir.join("LOCK");
    match vfs.lock(&path) {
        Ok(lock) => Ok(lock),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            let mut text = Vec::new();
            // The file stays for ever (H53); its text is for people.
            let read = read_file(vfs, &path, &mut text);
            let pid = read.ok().and_then(|()| String::from_utf8(text).ok());
            Err(OpenError::Locked { holder: pid.and_then(|pid| pid.trim().parse().ok()) })
        }
        Err(e) => Err(io_at(&path)(e)),
    }
}

fn read_file(vfs: &dyn Vfs, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    let file = vfs.open(path, OpenMode::Read)?;
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    bytes.clear();
    bytes.resize(len, 0);
    let read = read_full(file.as_ref(), bytes, 0)?;
    bytes.truncate(read);
    Ok(())
}

/// The bytes of one segment.
fn load(vfs: &dyn Vfs, path: &Path) -> io::Result<Reading<'static>> {
    let file = vfs.open(path, OpenMode::Read)?;
    Ok(Box::new(move |offset, buf| read_full(file.as_ref(), buf, offset.into())))
}

/// How many threads are worth starting.
fn helpers(config: &Config, input: &Input) -> usize {
    if config.driver.is_manual() {
        return 0;
    }
    let bytes: u64 = input.segments.iter().map(|f| f.len).sum();
    let worth = usize::try_from(bytes / HELPER_BYTES_MIN).unwrap_or(usize::MAX);
    (config.verify_threads - 1).min(worth)
}

/// Whether the log is new, or its creation never finished: no MANIFEST, no frame.
fn unfinished(vfs: &dyn Vfs, dir: &Path, listing: &Listing) -> Result<bool, OpenError> {
    if listing.manifest {
        return Ok(false);
    }
    for &(seq, _) in &listing.segments {
        let path = dir.join(segment_name(seq));
        // Only what creation itself writes: the header page and one End frame.
        let from = HEADER_BYTES + off(FRAME_HEADER);
        if seq != 1 || !zero_from(vfs, &path, from).map_err(io_at(&path))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn zero_from(vfs: &dyn Vfs, path: &Path, from: u32) -> io::Result<bool> {
    let file = vfs.open(path, OpenMode::Read)?;
    let mut offset = u64::from(from);
    let mut window = vec![0; WINDOW];
    loop {
        let n = read_full(file.as_ref(), &mut window, offset)?;
        if window[..n].iter().any(|&b| b != 0) {
            return Ok(false);
        }
        if n < WINDOW {
            return Ok(true);
        }
        offset += n as u64;
    }
}

/// Removes what an interrupted operation left: temporary files, segments below `oldest`.
fn clear_leftovers(
    vfs: &dyn Vfs,
    dir: &Path,
    listing: &Listing,
    oldest: u64,
) -> Result<(), OpenError> {
    let below = listing.segments.iter().filter(|(seq, _)| *seq < oldest);
    let below = below.map(|(seq, _)| OsString::from(segment_name(*seq)));
    for name in listing.leftovers.iter().cloned().chain(below) {
        let path = dir.join(name);
        vfs.remove(&path).map_err(io_at(&path))?;
    }
    Ok(())
}

fn read_manifest(
    vfs: &dyn Vfs,
    dir: &Path,
    exists: bool,
) -> Result<(Option<Manifest>, u32), OpenError> {
    if !exists {
        return Ok((None, 2));
    }
    let path = dir.join("MANIFEST");
    let mut bytes = Vec::new();
    read_file(vfs, &path, &mut bytes).map_err(io_at(&path))?;
    bytes.truncate(MANIFEST_BYTES);
    Manifest::newest_of(&bytes).map_err(unsupported)
}

const fn unsupported(what: Unsupported) -> OpenError {
    OpenError::Unsupported { what: what.what, found: what.found }
}

fn refuse(dir: &Path, stopped: Stopped) -> OpenError {
    match stopped {
        Stopped::Io(seq, source) => OpenError::Io { path: dir.join(segment_name(seq)), source },
        Stopped::Unsupported(what) => unsupported(what),
    }
}

/// The first bytes of every segment.
#[derive(Debug, Default)]
struct Heads {
    /// Number, header if one copy is sound, length.
    found: Vec<(u64, Option<SegmentHeader>, u64)>,
    bytes: Vec<Vec<u8>>,
    repaired: u32,
}

impl Heads {
    fn read(
        vfs: &dyn Vfs,
        dir: &Path,
        listing: &Listing,
        manifest: Option<Manifest>,
    ) -> Result<Self, OpenError> {
        let oldest = manifest.map_or(0, |m| m.oldest);
        let mut heads = Self::default();
        for &(seq, len) in listing.segments.iter().filter(|(seq, _)| *seq >= oldest) {
            if heads.found.len() == SEGMENTS_MAX {
                return Err(OpenError::Unsupported { what: "number of segments", found: 65_537 });
            }
            let path: PathBuf = dir.join(segment_name(seq));
            let file = vfs.open(&path, OpenMode::Read).map_err(io_at(&path))?;
            let mut bytes = vec![0; HEAD];
            let n = read_full(file.as_ref(), &mut bytes, 0).map_err(io_at(&path))?;
            bytes.truncate(n);
            let header = heads.header(seq, &bytes).map_err(unsupported)?;
            heads.found.push((seq, header, len));
            heads.bytes.push(bytes);
        }
        Ok(heads)
    }

    /// R2: either copy.
    fn header(&mut self, seq: u64, bytes: &[u8]) -> Result<Option<SegmentHeader>, Unsupported> {
        let copy = |from: usize| {
            let bytes = bytes.get(from..from + HEADER_LEN).unwrap_or(&[]);
            Ok(SegmentHeader::decode(bytes)?.filter(|h| h.seq == seq))
        };
        let (first, second) = (copy(0)?, copy(COPY_AT)?);
        self.repaired += u32::from(first.is_some() != second.is_some());
        Ok(first.or(second))
    }

    /// What the verdict needs; a header that is gone is replaced by what others know of it.
    fn input(&self, config: &Config, manifest: Option<Manifest>) -> (Input, u128) {
        let first = self.found.iter().find_map(|(_, header, _)| *header);
        let uuid = manifest.map_or_else(|| first.map_or(0, |h| h.uuid), |m| m.uuid);
        let mut segments: Vec<Facts> = Vec::new();
        // From the newest down: a Link knows the salt of the segment before it.
        let mut salts: Vec<(u64, u64)> =
            manifest.iter().map(|m| (m.durable_seq, m.durable_salt)).collect();
        for (&(seq, header, len), bytes) in self.found.iter().zip(&self.bytes).rev() {
            let header = header.filter(|h| h.uuid == uuid);
            let told = salts.iter().find(|(s, _)| *s == seq).map(|(_, salt)| *salt);
            let salt = header.map(|h| h.salt).or(told);
            let link = salt.and_then(|salt| read_link(bytes, seq, salt));
            if let Some(linked) = link {
                salts.push((linked.link.prev_seq, linked.link.prev_salt));
            }
            // A file that grows is as long as it is: its length is no evidence of anything.
            let fixed = header.filter(|h| !h.grows);
            let segment_bytes =
                fixed.map_or_else(|| u32::try_from(len).unwrap_or(u32::MAX), |h| h.segment_bytes);
            segments.push(Facts { seq, len, segment_bytes, salt, link });
        }
        segments.reverse();
        let expect_durable = config.expect_durable.as_u64();
        (Input { manifest, segments, expect_durable }, uuid)
    }
}

fn read_link(bytes: &[u8], seq: u64, salt: u64) -> Option<Linked> {
    let place = Place { salt, seq, offset: HEADER_BYTES };
    let frame = bytes.get(at(HEADER_BYTES)..)?;
    let (header, crc) = FrameHeader::decode(frame, place).ok().flatten()?;
    if header.kind != FrameKind::Link {
        return None;
    }
    // The chain goes down: a Link that points elsewhere would lead in circles.
    let link = Link::decode(payload(frame, 0, &header)?).filter(|link| link.prev_seq < seq)?;
    let FrameHeader { first_lsn, durable_off, .. } = header;
    Some(Linked { link, first_lsn, crc, durable_off })
}

fn report(verdict: &Verdict, replay: &Replay<'_>, listing: &Listing) -> RecoveryReport {
    let lsn = Lsn::new;
    RecoveryReport {
        created: false,
        first: lsn(verdict.members.first().map_or(verdict.next_lsn, |m| m.first_lsn)),
        durable: lsn(verdict.next_lsn - 1),
        tail: verdict.tail,
        damage: verdict.damage.clone(),
        accepted: Vec::new(),
        repaired: verdict.repaired,
        foreign: listing.foreign.clone(),
        streams: replay.table.streams.len() as u64,
        segments: off(listing.segments.len()),
        bytes_scanned: verdict.bytes_scanned,
        anchored_bytes: 0,
        elapsed: std::time::Duration::ZERO,
    }
}

/// MANIFEST is gone, or no slot of it is sound. No record is lost by that alone.
fn manifest_damage(verdict: &Verdict) -> Damage {
    let next = verdict.next_lsn;
    Damage {
        segment: 0,
        offset: 0,
        kind: DamageKind::Manifest,
        lost: LsnSpan::new(Lsn::new(next), Some(Lsn::new(next - 1))),
        evidence: Evidence::Structure,
        single_bit: None,
    }
}

/// Whether damage was accepted earlier: its numbers, or its place if it holds none.
fn covered(damage: &Damage, accepted: &[Hole]) -> bool {
    let to = damage.lost.to.map(Lsn::as_u64);
    accepted.iter().any(|hole| {
        let same = hole.segment == damage.segment && hole.from_off == damage.offset;
        let within =
            damage.lost.from.as_u64() >= hole.from_lsn && to.is_some_and(|to| to <= hole.to_lsn);
        let ends = to.is_some_and(|to| to <= hole.to_lsn);
        if damage.lost.is_empty() { same } else { within || (same && ends) }
    })
}

fn check_policy(config: &Config, report: &RecoveryReport) -> Result<(), OpenError> {
    if !report.damage.is_empty() {
        if config.recovery == Recovery::Strict {
            return Err(OpenError::Corruption(Box::new(report.clone())));
        }
        tracing::warn!(places = report.damage.len(), "write-ahead log opened over damage");
    }
    if matches!(report.tail, Tail::Unverifiable { .. }) {
        if config.tail == TailPolicy::Refuse {
            return Err(OpenError::Unverifiable(Box::new(report.clone())));
        }
        tracing::warn!(tail = ?report.tail, "write-ahead log has an unverifiable tail");
    }
    if report.repaired > 0 {
        tracing::warn!(copies = report.repaired, "redundant copies were bad");
    }
    Ok(())
}

/// R10 for MANIFEST: the slot that counts may be only in the page cache, and after a failed sync
/// stay there. Before anything is done because of it, as deleting files below `oldest`, it is
/// written again and synced (H10).
fn anchor_manifest(vfs: &dyn Vfs, dir: &Path, now: Option<Manifest>) -> Result<(), OpenError> {
    let Some(now) = now else { return Ok(()) };
    let path = dir.join("MANIFEST");
    let rewrite = || {
        let file = vfs.open(&path, OpenMode::Write)?;
        let at = now.slot_seq % 2 * wide(SLOT_STRIDE);
        write_full(file.as_ref(), &now.encode(), at)?;
        file.sync_data()
    };
    rewrite().map_err(io_at(&path))
}

/// R10: what was read may be only in the page cache, after a failed sync even for ever. The
/// unproven part is written again, unchanged, and synced (H9, H10).
fn anchor(vfs: &dyn Vfs, dir: &Path, verdict: &Verdict) -> Result<u64, OpenError> {
    let Some(last) = verdict.last.filter(|l| l.proven < l.at) else { return Ok(0) };
    if planted("no_anchor") {
        return Ok(0);
    }
    let path = dir.join(segment_name(last.seq));
    let end = if last.ended { last.at + off(FRAME_HEADER) } else { last.at };
    let rewrite = || {
        let file = vfs.open(&path, OpenMode::Write)?;
        let mut window = vec![0; WINDOW.min(at(end - last.proven))];
        let mut offset = last.proven;
        while offset < end {
            let size = WINDOW.min(at(end - offset));
            let n = read_full(file.as_ref(), &mut window[..size], offset.into())?;
            if n < size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            write_full(file.as_ref(), &window[..size], offset.into())?;
            offset += off(size);
        }
        file.sync_data()
    };
    rewrite().map_err(io_at(&path))?;
    Ok((end - last.proven).into())
}
