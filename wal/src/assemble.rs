//! Turning what recovery found into a running log (R11).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use crate::commit::Io;
use crate::config::{Config, Prealloc};
use crate::core::{Chores, Core};
use crate::create::io_at;
use crate::error::OpenError;
use crate::event::EventQueue;
use crate::format::manifest::Manifest;
use crate::format::segment::{HEADER_BYTES, SegmentHeader};
use crate::lsn::Marks as Positions;
use crate::marks::Marks;
use crate::plan::{Plan, Spare};
use crate::plant::planted;
use crate::prepare::segment_name;
use crate::recover::Recovered;
use crate::report::{RecoveryReport, Tail};
use crate::reserve::{Preparing, reserve_bytes};
use crate::segments::{Role, Segment, SegmentSet};
use crate::staging::{Gate, Group, Staging};
use crate::stats::Counters;
use crate::sync::{Lock, Signal};
use crate::vfs::{OpenMode, Vfs};
use crate::waiters::{DurablePlace, Progress};

/// Builds the shared state; the threads are not running yet.
pub(crate) fn assemble(
    vfs: Arc<dyn Vfs>,
    dir: &Path,
    config: Config,
    mut found: Recovered,
) -> Result<(Arc<Core>, RecoveryReport), OpenError> {
    let read_only = found.lock.is_none();
    let resumes = !read_only && resumes(&config, &found);
    let io = open_last(vfs.as_ref(), dir, &found, resumes)?;
    let mut table = std::mem::take(&mut found.table);
    table.high = table.high.min(found.verdict.next_lsn - 1);
    let current = current(&config, &found, resumes);
    let offset = if resumes { io.w } else { current.bytes };
    let plan = Plan::new(current, offset, config.align.bytes(), config.batch_bytes_max);
    let mut staging = Staging::new(&config, plan, table, found.verdict.next_lsn);
    let segments = segments(vfs.as_ref(), dir, &config, &found, &mut staging)?;
    if !found.report.damage.is_empty() {
        staging.gate = Gate::Damaged;
    }
    if read_only {
        staging.gate = Gate::Closed;
    }
    let durable_lsn = found.verdict.next_lsn - 1;
    let place = found.verdict.last.map_or_else(DurablePlace::default, |last| DurablePlace {
        seq: last.seq,
        salt: last.salt,
        off: last.at,
        lsn: durable_lsn,
    });
    let mut progress = Progress::default();
    (progress.durable_lsn, progress.written_lsn) = (durable_lsn, durable_lsn);
    if found.report.damage.is_empty() {
        progress.place = place;
    }
    let marks = open_marks(vfs.as_ref(), dir, &found)?;
    let core = Core {
        vfs,
        dir: dir.to_path_buf(),
        config,
        uuid: found.uuid,
        staging: Lock::new(staging),
        progress: Lock::new(progress),
        done: Signal::new(),
        work: Signal::new(),
        io: Lock::new(io),
        segments: Lock::new(segments),
        marks: Lock::new(marks),
        preparing: Lock::new(Preparing { reserve: found.reserve }),
        chores: Lock::new(Chores {
            prepare: true,
            reclaim: true,
            mark_idle: false,
            ..Chores::default()
        }),
        chores_due: Signal::new(),
        flush_asked: AtomicBool::new(false),
        damage: found.report.damage.clone(),
        events: Lock::new(EventQueue::default()),
        lagging_told: AtomicU64::new(0),
        counters: Counters::default(),
        closing: Lock::new(None),
        lock: Lock::new(found.lock),
        read_only,
    };
    let core = Arc::new(core);
    if !read_only {
        first_room(&core)?;
    }
    debug_assert!(sound(&core.positions()));
    Ok((core, found.report))
}

fn sound(marks: &Positions) -> bool {
    marks.high <= marks.durable && marks.durable <= marks.written && marks.written <= marks.staged
}

/// Whether the next frame goes behind the last one. After a torn tail, or damage, the segment is
/// never touched again: what was discarded could come back behind new frames (H4).
fn resumes(config: &Config, found: &Recovered) -> bool {
    let clean = found.verdict.tail == Tail::Clean && found.verdict.damage.is_empty();
    let clean = clean || planted("torn_tail_resumed") && found.verdict.damage.is_empty();
    let last =
        found.verdict.last.filter(|last| clean && (last.ended || planted("torn_tail_resumed")));
    let head = last.and_then(|last| found.heads.iter().find(|(seq, ..)| *seq == last.seq));
    head.is_some_and(|(_, header, len)| header.is_some_and(|h| fits(config, &h, *len).is_some()))
}

/// Whether a segment is one that this configuration writes; if so, whether it was the reserve.
fn fits(config: &Config, header: &SegmentHeader, len: u64) -> Option<bool> {
    let whole = header.segment_bytes == config.segment_bytes
        && header.grows == (config.prealloc == Prealloc::Grow);
    let reserve = header.segment_bytes == reserve_bytes(config.segment_bytes) && !header.grows;
    let full = len >= u64::from(if header.grows { HEADER_BYTES } else { header.segment_bytes });
    let written = header.align == config.align.bytes() && full;
    (written && (whole || reserve)).then_some(!whole)
}

/// The segment that is written now.
fn current(config: &Config, found: &Recovered, resumes: bool) -> Spare {
    let seq = found.verdict.last.map_or(0, |last| last.seq);
    let head = found.heads.iter().find(|(other, ..)| resumes && *other == seq);
    let (bytes, is_reserve) = match head {
        Some((_, Some(header), len)) => {
            (header.segment_bytes, fits(config, header, *len) == Some(true))
        }
        _ => (config.segment_bytes, false),
    };
    Spare { seq, bytes, is_reserve }
}

fn open_last(vfs: &dyn Vfs, dir: &Path, found: &Recovered, resumes: bool) -> Result<Io, OpenError> {
    let clean = found.manifest.is_some_and(|m| m.clean);
    let (group, sync_time, events) = (Group::default(), Duration::ZERO, Vec::new());
    let path = dir.to_path_buf();
    let Some(last) = found.verdict.last else {
        let (seq, salt, w, d, chain, file, grows) = (0, 0, 0, 0, 0, None, false);
        return Ok(Io {
            seq,
            salt,
            path,
            file,
            grows,
            w,
            d,
            chain,
            sync_time,
            clean,
            group,
            events,
        });
    };
    let head = found.heads.iter().find(|(seq, ..)| *seq == last.seq);
    let grows = head.is_some_and(|(_, header, _)| header.is_some_and(|h| h.grows));
    let path = dir.join(segment_name(last.seq));
    let file =
        if resumes { Some(vfs.open(&path, OpenMode::Write).map_err(io_at(&path))?) } else { None };
    let (seq, salt, chain, w) = (last.seq, last.salt, last.chain, last.at);
    Ok(Io { seq, salt, path, file, grows, w, d: w, chain, sync_time, clean, group, events })
}

fn segments(
    vfs: &dyn Vfs,
    dir: &Path,
    config: &Config,
    found: &Recovered,
    staging: &mut Staging,
) -> Result<SegmentSet, OpenError> {
    let mut set = SegmentSet::default();
    let announced = found.manifest.map_or(0, |m| m.newest);
    set.next_seq = announced + 1;
    let damaged = found.verdict.damage.iter().map(|d| d.segment).max().unwrap_or(0);
    for (seq, header, len) in &found.heads {
        let path = dir.join(segment_name(*seq));
        let salt = header.map_or(0, |h| h.salt);
        let member = found.verdict.members.iter().find(|m| m.seq == *seq);
        let fits = header.and_then(|h| fits(config, &h, *len));
        // Only what MANIFEST has announced is used (H35); another size is skipped. So is what
        // stands before a damaged segment: a log that goes on below it would meet it again.
        let usable = found.lock.is_some()
            && found.verdict.empty.contains(seq)
            && *seq <= announced
            && *seq > damaged;
        let spare = fits.filter(|_| usable);
        let (bytes, grows) = header.map_or((0, false), |h| (h.segment_bytes, h.grows));
        let segment = Segment { seq: *seq, salt, path: path.clone(), bytes, grows };
        match (member, spare) {
            (Some(member), _) => {
                // The header may be gone; the verdict knows the salt in any case.
                let segment = Segment { salt: member.salt, ..segment };
                set.insert(segment, Role::Member, member.first_lsn, member.end);
            }
            (None, Some(is_reserve)) => {
                set.insert(segment, Role::Prepared, 0, 0);
                let file = vfs.open(&path, OpenMode::Write).map_err(io_at(&path))?;
                set.set_writer(*seq, file);
                staging.plan.add(Spare { seq: *seq, bytes, is_reserve });
            }
            (None, None) => set.insert(segment, Role::Discarded, 0, 0),
        }
    }
    for &(seq, lsn, offset, always) in &found.index {
        set.note_frame(seq, lsn, offset, always);
    }
    Ok(set)
}

fn open_marks(vfs: &dyn Vfs, dir: &Path, found: &Recovered) -> Result<Marks, OpenError> {
    let path = dir.join("MANIFEST");
    let Some(now) = found.manifest else {
        let heads = &found.heads;
        let oldest = heads.first().map_or(1, |(seq, ..)| *seq);
        let newest = heads.last().map_or(1, |(seq, ..)| *seq);
        let uuid = found.uuid;
        let now = Manifest { uuid, oldest, newest, main_low: 1, ..Manifest::default() };
        return Ok(Marks::new(None, path, now));
    };
    if found.lock.is_none() {
        return Ok(Marks::new(None, path, now));
    }
    let file = vfs.open(&path, OpenMode::Write).map_err(io_at(&path))?;
    Ok(Marks::new(Some(file), path, now))
}

/// A log that cannot go on in its last segment and has none prepared gets one before anybody
/// appends; a full disk is no error here, reads and truncation work (G10).
fn first_room(core: &Arc<Core>) -> Result<(), OpenError> {
    let stuck = {
        let staging = core.staging.lock();
        staging.plan.has_no_spare() && staging.plan.left() == 0
    };
    if stuck {
        let prepared = core.prepare_ahead();
        prepared.map_err(|f| OpenError::Io { path: f.path, source: f.source })?;
    }
    Ok(())
}
