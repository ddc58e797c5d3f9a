//! A replica that lost entries it may have acknowledged (5.11). Damage is never taken for absence:
//! a vote of such a replica could elect a leader that lacks what it helped to commit. Alagappan et
//! al. 2018.

use super::{Boot, Event, Raft};
use crate::LogIndex;
use crate::message::Body;
use quorate_transport::NodeId;

/// Entries up to here may have been acknowledged by earlier lives and are not in the log.
pub(super) fn lost_of(boot: &Boot) -> LogIndex {
    if crate::plant::planted("damage_taken_for_absence") {
        return LogIndex::ZERO;
    }
    // H35: a log that ends before its durable commit index lost its end.
    let short = boot.hard.commit > boot.last.index;
    let shorter = if short { boot.hard.commit } else { LogIndex::ZERO };
    // What an interrupted repair had brought was acknowledged too, and is given up with the rest.
    let repaired = if boot.hard.lost > LogIndex::ZERO { boot.last.index } else { LogIndex::ZERO };
    boot.hard.lost.max(shorter).max(repaired)
}

impl Raft {
    /// Entries up to here may have been acknowledged by this replica and are lost. Until its log
    /// reaches past them again, it neither votes nor campaigns. None if nothing is lost.
    #[must_use]
    pub fn lost(&self) -> Option<LogIndex> {
        (self.lost > LogIndex::ZERO).then_some(self.lost)
    }

    /// A leader sent something that presumes more than this log has: it is told what is left.
    pub(super) fn admit_loss(&mut self, leader: NodeId) {
        let have = self.log.last().index.min(self.log.durable);
        self.send(leader, Body::SnapshotRequest { have });
    }

    /// Called when entries became durable: what a leader of the present term has sent replaces what
    /// is lost once it reaches as far. Every leader of this term or a later one holds all that was
    /// committed, for it was elected without the vote of this replica.
    pub(super) fn end_recovery(&mut self) {
        let is_past = self.log.durable >= self.lost && self.leader.is_some();
        if self.lost > LogIndex::ZERO && is_past {
            self.lost = LogIndex::ZERO;
            self.out.events.push(Event::Recovered);
        }
    }
}
