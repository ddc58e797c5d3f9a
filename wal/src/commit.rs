//! The leader's work: headers and checksums, one write for each segment touched, one sync (§5.2).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::core::Core;
use crate::driver::Stopwatch;
use crate::error::{FailedOp, Failure};
use crate::event::Event;
use crate::format::crc::{self, Place};
use crate::format::frame::{FRAME_HEADER, FrameHeader, FrameKind, Link};
use crate::format::segment::HEADER_BYTES;
use crate::lsn::Lsn;
use crate::plant::planted;
use crate::segments::Segment;
use crate::staging::{Gate, Group, Part, Slot};
use crate::stats::{Counters, tally};
use crate::vfs::{VfsFile, write_full};
use crate::waiters::DurablePlace;
use crate::width::{off, pad8};

/// The segment being written; only the leader touches it.
#[derive(Debug)]
pub(crate) struct Io {
    /// 0: no segment was ever written.
    pub(crate) seq: u64,
    pub(crate) salt: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Option<Arc<dyn VfsFile>>,
    /// The file becomes longer with each group.
    pub(crate) grows: bool,
    /// Where the End frame stands.
    pub(crate) w: u32,
    /// Below here this segment is durable.
    pub(crate) d: u32,
    /// Checksum of the last frame's header.
    pub(crate) chain: u32,
    /// How long the last sync took.
    pub(crate) sync_time: Duration,
    /// MANIFEST says that the log was closed cleanly.
    pub(crate) clean: bool,
    pub(crate) group: Group,
    /// To be told when the group is done and no lock is held.
    pub(crate) events: Vec<Event>,
}

/// What a group has reached.
#[derive(Debug)]
struct Done {
    ticket: u64,
    last_lsn: u64,
    synced: bool,
    sync_time: Duration,
    place: DurablePlace,
    /// Where the End frame stands.
    written: u32,
    events: Vec<Event>,
}

impl Core {
    /// Writes everything staged, and syncs if anybody asked for it. The newest number that is
    /// staged when it is done.
    pub(crate) fn commit_group(&self) -> Result<u64, Failure> {
        let done = {
            let mut io = self.io.lock();
            let mut group = std::mem::take(&mut io.group);
            {
                let mut staging = self.staging.lock();
                if let Gate::Poisoned(_) = staging.gate {
                    return Ok(0);
                }
                staging.take(&mut group);
            }
            let synced = self.write_group(&mut io, &mut group)?;
            let done = Done {
                ticket: group.ticket,
                last_lsn: group.last_lsn,
                synced,
                sync_time: io.sync_time,
                place: DurablePlace { seq: io.seq, salt: io.salt, off: io.d, lsn: 0 },
                written: io.w,
                events: std::mem::take(&mut io.events),
            };
            group.clear();
            io.group = group;
            done
        };
        let staged = self.publish(&done);
        if !done.events.is_empty() {
            self.tell(done.events);
        }
        Ok(staged)
    }

    fn write_group(&self, io: &mut Io, group: &mut Group) -> Result<bool, Failure> {
        if io.clean && !group.parts.is_empty() && !planted("clean_flag_kept") {
            // From here on the log is not clean, and that must be known first.
            self.marks.lock().write(|m| m.clean = false)?;
            io.clean = false;
        }
        tally(&self.counters.records, group.records);
        tally(&self.counters.payload_bytes, group.payload);
        let Group { buf, slots, parts, main_low, batches, .. } = group;
        for (i, part) in parts.iter().enumerate() {
            let last = parts.get(i + 1).map_or(slots.len(), |next| next.frames);
            if part.is_roll {
                self.roll(io, part, slots[part.frames].first_lsn, buf, *main_low)?;
            }
            let frames = &slots[part.frames..last];
            self.write_part(io, part, frames, buf)?;
        }
        if !parts.is_empty() {
            self.counters.group(*batches);
        }
        if planted("ack_before_sync") {
            return Ok(true);
        }
        let dirty = io.d < io.w;
        if group.sync && dirty {
            self.sync(io)?;
        }
        if group.mark && !planted("mark_forgotten") {
            let low = group.main_low;
            self.marks.lock().write(|m| m.main_low = m.main_low.max(low))?;
        }
        Ok(io.d == io.w)
    }

    /// Makes the segment durable up to W. A failure is final: the state of the page cache after
    /// a failed sync is unknown, a second sync may lie (H17).
    fn sync(&self, io: &mut Io) -> Result<(), Failure> {
        let Some(file) = &io.file else { return Ok(()) };
        if self.config.sync {
            tally(&self.counters.syncs, 1);
            let watch = Stopwatch::start(&self.config.driver);
            // H26: a new length is only surely durable with a full sync.
            let mut outcome = if io.grows { file.sync_all() } else { file.sync_data() };
            io.sync_time = watch.elapsed();
            self.timed(&self.counters.sync_us, io.sync_time);
            #[cfg(feature = "metrics")]
            crate::metrics::sync(io.sync_time);
            if io.sync_time >= self.config.slow_sync_after {
                tally(&self.counters.slow_syncs, 1);
                let elapsed_us = io.sync_time.as_micros();
                tracing::warn!(elapsed_us, segment = io.seq, "slow sync");
                io.events.push(Event::SlowSync { elapsed: io.sync_time });
            }
            if outcome.is_err() && planted("retry_failed_sync") {
                outcome = file.sync_data();
            }
            outcome.map_err(|e| failure(FailedOp::Sync, io, e))?;
        }
        io.d = io.w;
        Ok(())
    }

    /// Moves on to a prepared segment; the old one is durable before the first frame of the new
    /// one can be (H22).
    fn roll(
        &self,
        io: &mut Io,
        part: &Part,
        first_lsn: u64,
        buf: &mut [u8],
        main_low: u64,
    ) -> Result<(), Failure> {
        if io.d < io.w && !planted("no_sync_at_roll") {
            self.sync(io)?;
        }
        let link = Link {
            prev_seq: io.seq,
            prev_salt: io.salt,
            prev_end: io.w,
            prev_chain: io.chain,
            prev_last_lsn: first_lsn - 1,
            main_low,
        };
        let at = part.start + FRAME_HEADER;
        let link = link.encode();
        buf[at..at + link.len()].copy_from_slice(&link);
        let begun = self.segments.lock().begin(part.seq, first_lsn);
        let Some((segment, file)) = begun else {
            let gone = io::Error::other("a prepared segment is missing from the set");
            return Err(failure(FailedOp::Write, io, gone));
        };
        let Segment { seq, salt, ref path, grows, .. } = *segment;
        tracing::debug!(segment = seq, lsn = first_lsn, "write-ahead log rolled");
        io.events.push(Event::Rolled { segment: seq, lsn: Lsn::new(first_lsn) });
        (io.seq, io.salt, io.file, io.grows) = (seq, salt, Some(file), grows);
        io.path.clone_from(path);
        (io.w, io.d, io.chain) = (HEADER_BYTES, HEADER_BYTES, 0);
        Ok(())
    }

    fn write_part(
        &self,
        io: &mut Io,
        part: &Part,
        slots: &[Slot],
        buf: &mut [u8],
    ) -> Result<(), Failure> {
        debug_assert_eq!((part.seq, part.offset), (io.seq, io.w), "placed as planned");
        // H23: what is durable as this group is written; the next group proves this one.
        let claim = if planted("durable_off_written") { u32::MAX } else { io.d };
        let place = |start: usize| Place {
            salt: io.salt,
            seq: io.seq,
            offset: part.offset + off(start - part.start),
        };
        let mut chain = io.chain;
        let mut end = part.start;
        for slot in slots {
            let from = slot.start + FRAME_HEADER;
            end = from + pad8(slot.len);
            let header = FrameHeader {
                kind: slot.kind,
                records: slot.records,
                stored_len: off(slot.len),
                durable_off: claim.min(place(slot.start).offset),
                first_lsn: slot.first_lsn,
                lsns: slot.lsns,
                payload_crc: crc::of(&buf[from..end]),
                chain: if slot.kind == FrameKind::Link { 0 } else { chain },
            };
            let (bytes, crc) = header.encode(place(slot.start));
            buf[slot.start..from].copy_from_slice(&bytes);
            chain = crc;
        }
        let next = slots.last().map_or(0, |s| s.first_lsn + u64::from(s.lsns));
        let at_end = place(end);
        let (bytes, _) = FrameHeader::end(claim.min(at_end.offset), next, chain).encode(at_end);
        buf[end..end + FRAME_HEADER].copy_from_slice(&bytes);
        let Some(file) = &io.file else { return Ok(()) };
        // H28: one buffer, not a list of parts.
        let until = if planted("no_end_frame") { end } else { end + FRAME_HEADER };
        let whole = &buf[part.start..until];
        let watch = Stopwatch::start(&self.config.driver);
        write_full(file.as_ref(), whole, part.offset.into())
            .map_err(|e| failure(FailedOp::Write, io, e))?;
        self.timed(&self.counters.write_us, watch.elapsed());
        #[cfg(feature = "metrics")]
        crate::metrics::write(watch.elapsed());
        (io.w, io.chain) = (at_end.offset, chain);
        self.index(io, part, slots);
        tally(&self.counters.bytes_written, whole.len() as u64);
        tally(&self.counters.frames, slots.len() as u64 + 1);
        Ok(())
    }

    fn timed(&self, classes: &[AtomicU64; 24], elapsed: Duration) {
        if !self.config.driver.is_manual() {
            Counters::time(classes, elapsed);
        }
    }

    /// Lets readers find the frames; the bounds published later still hide them.
    fn index(&self, io: &Io, part: &Part, slots: &[Slot]) {
        let mut segments = self.segments.lock();
        for slot in slots.iter().filter(|s| s.kind == FrameKind::Data) {
            let offset = part.offset + off(slot.start - part.start);
            segments.note_frame(part.seq, slot.first_lsn, offset, false);
        }
        segments.set_end(part.seq, io.w);
    }

    /// Tells what has been reached; only one leader at a time gets here. The newest number that
    /// is staged.
    fn publish(&self, done: &Done) -> u64 {
        let staged = {
            let mut staging = self.staging.lock();
            staging.inflight = 0;
            staging.next_lsn - 1
        };
        let mut progress = self.progress.lock();
        progress.sync_time = done.sync_time;
        progress.written_ticket = progress.written_ticket.max(done.ticket);
        progress.written_lsn = progress.written_lsn.max(done.last_lsn);
        let mut mark = None;
        if planted("mark_claims_write") && done.written != 0 {
            let lsn = done.last_lsn;
            progress.place = DurablePlace { off: done.written, lsn, ..done.place };
            mark = Some(true);
        }
        if done.synced {
            let rolled = progress.place.seq != done.place.seq;
            progress.durable_ticket = progress.durable_ticket.max(done.ticket);
            progress.durable_lsn = progress.durable_lsn.max(done.last_lsn);
            let place = DurablePlace { lsn: progress.durable_lsn, ..done.place };
            if place != progress.place && place.seq != 0 {
                progress.place = place;
                mark = Some(rolled);
            }
        }
        drop(progress);
        if let Some(rolled) = mark {
            self.ask_for_mark(rolled);
        }
        staged
    }

    /// One wake-up of the maintenance thread for each idle mark, not one for each group.
    fn ask_for_mark(&self, rolled: bool) {
        let mut chores = self.chores.lock();
        let idle = !self.config.mark_idle.is_zero();
        let new = rolled || (idle && !chores.mark_idle);
        chores.mark_now |= rolled;
        chores.reclaim |= rolled;
        chores.mark_idle |= idle;
        drop(chores);
        if new {
            self.call_maintenance();
        }
    }
}

fn failure(op: FailedOp, io: &Io, source: io::Error) -> Failure {
    Failure::new(op, io.path.clone(), io.w.into(), source)
}
