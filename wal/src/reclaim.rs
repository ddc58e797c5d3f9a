//! Giving back the oldest segments, once nothing live stands in them and that fact is durable.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::Prealloc;
use crate::core::Core;
use crate::error::{FailedOp, Failure};
use crate::event::Event;
use crate::marks::set_place;
use crate::plant::planted;
use crate::prepare::{PrepareError, begin_file, give_number, tmp_path, unmade};
use crate::segments::{Role, Segment};
use crate::staging::Gate;
use crate::stats::add;
use crate::vfs::OpenMode;
use crate::waiters::Goal;
use crate::wal::Lagging;

impl Core {
    /// Deletes the oldest segments as far as they are free.
    pub(crate) fn reclaim(&self) -> Result<(), Failure> {
        if self.carry()? {
            // Then look again: there may be more to carry, or nothing to wait for.
            self.chore(|c| c.reclaim = true);
        }
        let few = self.carry_bytes_max(self.config.segment_bytes);
        let left = self.staging.lock().leave_for_reserve(few);
        if let Some(ticket) = left {
            add(&self.counters.rolls, 1);
            if self.wait(Goal::Durable(ticket)).is_err() {
                return Ok(());
            }
            self.chore(|c| c.reclaim = true);
        }
        if !self.oldest_is_free() {
            self.tell_lagging();
            return Ok(());
        }
        // What freed the segment must be durable before the segment goes (H45, H50).
        let ticket = {
            let mut staging = self.staging.lock();
            staging.want_sync();
            staging.ticket
        };
        if !planted("reclaim_without_durable_link") && self.wait(Goal::Durable(ticket)).is_err() {
            return Ok(());
        }
        let mut dead: Vec<Arc<Segment>> = Vec::new();
        while self.oldest_is_free() {
            let removed = self.segments.lock().remove_oldest();
            let Some(segment) = removed else { break };
            self.staging.lock().table.forget_segment(segment.seq);
            dead.push(segment);
        }
        let Some(oldest) = dead.last().map(|s| s.seq + 1) else { return Ok(()) };
        let low = self.staging.lock().table.main_low;
        let early = planted("unlink_before_manifest");
        if !early {
            self.forget_below(oldest, low)?;
        }
        for segment in &dead {
            self.give_back(segment)?;
        }
        if early {
            self.forget_below(oldest, low)?;
        }
        self.sync_names()?;
        // There may be room for another segment now.
        self.chore(|c| c.prepare = true);
        Ok(())
    }

    /// Nothing below `oldest` belongs to the log any more.
    fn forget_below(&self, oldest: u64, low: u64) -> Result<(), Failure> {
        self.marks.lock().write_both(|m| {
            m.oldest = oldest;
            m.main_low = m.main_low.max(low);
        })
    }

    /// Says once for each segment which stream keeps it most, if only streams do (H48).
    fn tell_lagging(&self) {
        let worst = {
            let staging = self.staging.lock();
            let segments = self.segments.lock();
            let Some((seq, Role::Member, _)) = segments.oldest() else { return };
            let durable = self.progress.lock().place.seq;
            if seq >= durable || staging.table.main_needs(seq) {
                return;
            }
            if self.lagging_told.fetch_max(seq, Ordering::Relaxed) >= seq {
                return;
            }
            let holders = staging.table.holders(seq).into_iter();
            let worst = holders.max_by_key(|(_, bytes)| *bytes);
            worst.map(|(stream, bytes)| Lagging { segment: seq, stream, bytes })
        };
        self.tell(worst.map(Event::Lagging));
    }

    /// A file nobody needs becomes the reserve or the next segment, or goes.
    fn give_back(&self, segment: &Segment) -> Result<(), Failure> {
        let mut preparing = self.preparing.lock();
        // In a log of the smallest segments either would fit: room for appends comes first.
        let urgent = self.staging.lock().plan.spares() == 0;
        if (urgent && self.recycle(segment)?)
            || self.refill_reserve(&mut preparing, segment)?
            || self.recycle(segment)?
        {
            add(&self.counters.recycled, 1);
            return Ok(());
        }
        drop(preparing);
        let removed = self.vfs.remove(&segment.path);
        removed.map_err(|e| Failure::new(FailedOp::Rename, segment.path.clone(), 0, e))?;
        tracing::debug!(segment = segment.seq, "segment deleted");
        add(&self.counters.unlinked, 1);
        Ok(())
    }

    /// Gives the file a new life under the next number, if a prepared segment is of use: its
    /// blocks are allocated and written already. One more than configured is kept, since rolls
    /// and truncations take turns. What is left in it of the former life does not verify (H5).
    fn recycle(&self, segment: &Segment) -> Result<bool, Failure> {
        let wanted = {
            let staging = self.staging.lock();
            matches!(staging.gate, Gate::Open)
                && staging.plan.spares() <= self.config.spare_segments
        };
        let bytes = self.config.segment_bytes;
        let fits = segment.bytes == bytes
            && !segment.grows
            && self.config.prealloc != Prealloc::Grow
            && self.segments.lock().bytes().saturating_add(bytes.into())
                <= self.config.log_bytes_max;
        if !(wanted && fits) {
            return Ok(false);
        }
        let vfs = self.vfs.as_ref();
        let header = self.next_header(bytes)?;
        let tmp = tmp_path(&self.dir, header.seq);
        let moved = vfs.rename(&segment.path, &tmp);
        moved.map_err(|e| Failure::new(FailedOp::Rename, segment.path.clone(), 0, e))?;
        let begun = vfs.open(&tmp, OpenMode::Write).and_then(|file| {
            // H34: only a whole file; a short one would have to be allocated at an append.
            if file.len()? != u64::from(bytes) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            begin_file(file.as_ref(), header).map(|()| file)
        });
        let prepared = match begun {
            Ok(file) => give_number(vfs, &self.dir, header, file),
            Err(e) => Err(unmade(vfs, tmp, e)),
        };
        match prepared {
            Ok(prepared) => {
                tracing::debug!(segment = segment.seq, now = header.seq, "segment recycled");
                self.adopt(prepared, false)?;
                Ok(true)
            }
            // The file is gone.
            Err(PrepareError::NoSpace) => Ok(true),
            Err(PrepareError::Failed(failure)) => Err(failure),
        }
    }

    /// Whether the oldest segment holds nothing that anybody needs. What is durable is judged
    /// by the place of the last sync: a later segment's Link must be on the medium.
    fn oldest_is_free(&self) -> bool {
        let staging = self.staging.lock();
        if !matches!(staging.gate, Gate::Open) {
            return false;
        }
        let segments = self.segments.lock();
        let Some((seq, role, pinned)) = segments.oldest() else { return false };
        let durable = self.progress.lock().place.seq;
        let unused = match role {
            Role::Prepared => false,
            Role::Member => !staging.table.needs(seq),
            Role::Discarded => true,
        };
        let linked = seq < durable || planted("reclaim_without_durable_link");
        let free = !pinned || planted("recycle_with_reader");
        unused && free && linked
    }

    /// Writes the durable position, so that damage behind it cannot pass for a torn tail.
    pub(crate) fn mark(&self) -> Result<(), Failure> {
        let low = {
            let staging = self.staging.lock();
            if matches!(staging.gate, Gate::Poisoned(_) | Gate::Damaged) {
                return Ok(());
            }
            staging.table.main_low
        };
        let place = self.progress.lock().place;
        let mut marks = self.marks.lock();
        let known = marks.now();
        let same = known.durable_seq == place.seq && known.durable_off == place.off;
        if place.seq == 0 || (same && known.main_low >= low) {
            return Ok(());
        }
        marks.write(|m| {
            set_place(m, place);
            m.main_low = m.main_low.max(low);
        })
    }
}
