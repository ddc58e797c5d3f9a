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
use crate::prepare::{PrepareError, begin_file, give_number, unmade};
use crate::segments::{Role, Segment};
use crate::staging::Gate;
use crate::stats::add;
use crate::table::Table;
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
        let Some((upto, ticket)) = self.free_up_to() else {
            self.tell_lagging();
            return Ok(());
        };
        if !planted("reclaim_without_durable_link") && self.wait(Goal::Durable(ticket)).is_err() {
            return Ok(());
        }
        let mut dead: Vec<Arc<Segment>> = Vec::new();
        while self.oldest_is_free(upto) {
            let removed = self.segments.lock().remove_oldest();
            let Some(segment) = removed else { break };
            self.staging.lock().table.forget_segment(segment.seq);
            dead.push(segment);
        }
        if dead.is_empty() {
            return Ok(());
        }
        let oldest = self.segments.lock().oldest().map_or(1, |(seq, ..)| seq);
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
        // The directory is not synced for what was deleted: MANIFEST says that these files are
        // leftovers, and the next open deletes those that come back.
        // There may be room for another segment now.
        self.chore(|c| c.prepare = true);
        Ok(())
    }

    /// Nothing below `oldest` belongs to the log any more.
    fn forget_below(&self, oldest: u64, low: u64) -> Result<(), Failure> {
        let place = self.progress.lock().place;
        self.marks.lock().write_both(|m| {
            // What is kept must be proven by itself: the segments that led to it go.
            if !planted("place_not_carried") {
                set_place(m, place);
            }
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
    ///
    /// The new header is written under the old name: MANIFEST says that files below `oldest` are
    /// leftovers, so until the one rename nobody looks at it.
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
        let path = segment.path.clone();
        let begun = vfs.open(&path, OpenMode::Write).and_then(|file| {
            // H34: only a whole file; a short one would have to be allocated at an append.
            if file.len()? != u64::from(bytes) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            begin_file(file.as_ref(), header)?;
            // Its length is on the medium already.
            file.sync_data()?;
            Ok(file)
        });
        let prepared = match begun {
            Ok(file) => give_number(vfs, &self.dir, path, header, file),
            Err(e) => Err(unmade(vfs, path, e)),
        };
        match prepared {
            Ok(prepared) => {
                tracing::debug!(segment = segment.seq, now = header.seq, "segment recycled");
                self.adopt(prepared, false)?;
                add(&self.counters.recycled, 1);
                Ok(true)
            }
            // The file is gone.
            Err(PrepareError::NoSpace) => {
                add(&self.counters.unlinked, 1);
                Ok(true)
            }
            Err(PrepareError::Failed(failure)) => Err(failure),
        }
    }

    /// The newest segment that can go now together with all before it, and the ticket whose
    /// sync makes what freed them durable: both under one lock, so that what is staged during
    /// that sync frees nothing yet (H45).
    fn free_up_to(&self) -> Option<(u64, u64)> {
        let mut staging = self.staging.lock();
        if !matches!(staging.gate, Gate::Open) {
            return None;
        }
        let last = {
            let segments = self.segments.lock();
            let durable = self.progress.lock().place.seq;
            let table = &staging.table;
            let free = segments.states().take_while(|state| is_free(table, state, durable));
            free.last()?.0
        };
        staging.want_sync();
        Some((last, staging.ticket))
    }

    /// Whether the oldest segment is one of these, and free still.
    fn oldest_is_free(&self, upto: u64) -> bool {
        let staging = self.staging.lock();
        if !matches!(staging.gate, Gate::Open) {
            return false;
        }
        let segments = self.segments.lock();
        let durable = self.progress.lock().place.seq;
        let within = |seq| seq <= upto || planted("freed_after_ticket");
        segments
            .oldest()
            .is_some_and(|state| within(state.0) && is_free(&staging.table, &state, durable))
    }

    /// Writes the durable position, so that damage behind it cannot pass for a torn tail.
    pub(crate) fn mark(&self) -> Result<(), Failure> {
        let low = {
            let staging = self.staging.lock();
            if matches!(staging.gate, Gate::Poisoned(_) | Gate::Damaged | Gate::Accepting) {
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

/// Whether a segment holds nothing that anybody needs. What is durable is judged by the segment
/// of the last sync: a later segment's Link must be on the medium.
fn is_free(table: &Table, &(seq, role, pinned): &(u64, Role, bool), durable: u64) -> bool {
    let unused = match role {
        Role::Prepared => false,
        Role::Member => !table.needs(seq),
        Role::Discarded => true,
    };
    let linked = seq < durable || planted("reclaim_without_durable_link");
    let free = !pinned || planted("recycle_with_reader");
    unused && free && linked
}
