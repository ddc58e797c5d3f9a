//! Giving back the oldest segments, once nothing live stands in them and that fact is durable.

use std::sync::Arc;

use crate::core::Core;
use crate::error::{FailedOp, Failure};
use crate::marks::set_place;
use crate::segments::{Role, Segment};
use crate::staging::Gate;
use crate::stats::add;
use crate::waiters::Goal;

impl Core {
    /// Deletes the oldest segments as far as they are free.
    pub(crate) fn reclaim(&self) -> Result<(), Failure> {
        if !self.oldest_is_free() {
            return Ok(());
        }
        // What freed the segment must be durable before the segment goes (H45, H50).
        let ticket = {
            let mut staging = self.staging.lock();
            staging.want_sync();
            staging.ticket
        };
        if self.wait(Goal::Durable(ticket)).is_err() {
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
        self.marks.lock().write_both(|m| {
            m.oldest = oldest;
            m.main_low = m.main_low.max(low);
        })?;
        for segment in &dead {
            let removed = self.vfs.remove(&segment.path);
            removed.map_err(|e| Failure::new(FailedOp::Rename, segment.path.clone(), 0, e))?;
            tracing::debug!(segment = segment.seq, "segment deleted");
        }
        let synced = self.vfs.sync_dir(&self.dir);
        synced.map_err(|e| Failure::new(FailedOp::SyncDir, self.dir.clone(), 0, e))?;
        add(&self.counters.unlinked, dead.len() as u64);
        // There may be room for another segment now.
        self.chore(|c| c.prepare = true);
        Ok(())
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
        unused && !pinned && seq < durable
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
