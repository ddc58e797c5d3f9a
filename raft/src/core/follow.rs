//! Following: appends, heartbeats, commit notices (R10, 5.2). Paper §5.3.

use super::Raft;
use crate::error::StepError;
use crate::message::Body;
use crate::{Block, LogId, LogIndex};
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;

impl Raft {
    /// R10.
    pub(super) fn handle_append(
        &mut self,
        from: NodeId,
        prev: LogId,
        commit: LogIndex,
        blocks: Vec<Block>,
    ) -> Result<(), StepError> {
        check_chain(prev, &blocks, self)?;
        if self.needs_snapshot() {
            self.send(from, Body::SnapshotRequest { have: self.log.commit });
            return Ok(());
        }
        if prev.index < self.log.commit {
            // Agrees up to the commit index at least: say so, whatever the message holds.
            self.acknowledge(from, self.log.commit);
            return Ok(());
        }
        if !self.log.contains(prev) && self.lost > LogIndex::ZERO {
            self.admit_loss(from);
            return Ok(());
        }
        if !self.log.contains(prev) {
            let known = prev.index.min(self.log.last().index);
            let hint = self.log.conflict_hint(known, prev.term);
            self.send(from, Body::Rejected { index: prev.index, hint });
            return Ok(());
        }
        let matched = blocks.last().map_or(prev.index, |b| b.last().index);
        if let Err(broken) = self.log.merge(blocks) {
            self.stop(broken);
            return Err(StepError::Stopped);
        }
        self.verified = self.verified.max(matched);
        self.commit_to(commit.min(matched));
        self.acknowledge(from, matched);
        Ok(())
    }

    /// R12 at the receiver.
    pub(super) fn handle_heartbeat(
        &mut self,
        from: NodeId,
        commit: LogIndex,
        read: u64,
        stamp: Monotonic,
    ) {
        // A leader names no more than this log was seen to hold; a shorter log lost entries, and
        // must not commit what it does not have.
        self.commit_to(commit.min(self.log.last().index));
        if commit > self.log.last().index && self.lost().is_some() {
            self.admit_loss(from);
        }
        let promise = self.promise_to_leader(stamp);
        self.send(from, Body::HeartbeatResp { read, stamp, promise });
    }

    /// Commits what the notice allows and this leader has verified here: without the second bound a
    /// diverging tail would be committed. // H46
    pub(super) fn handle_commit_notice(&mut self, from: NodeId, index: LogIndex) {
        if self.leader == Some(from) && from != self.id {
            self.election_start = self.now;
            let verified = if crate::plant::planted("commit_notice_unverified") {
                self.log.last().index
            } else {
                self.verified
            };
            self.commit_to(index.min(verified));
        }
    }
}

/// The blocks follow `prev` and each other, and belong to this group.
fn check_chain(prev: LogId, blocks: &[Block], raft: &Raft) -> Result<(), StepError> {
    let mut before = prev;
    for block in blocks {
        if block.group() != raft.group {
            return Err(StepError::WrongGroup { expected: raft.group, found: block.group() });
        }
        if block.prev() != before {
            return Err(StepError::Malformed { what: "blocks are not contiguous" });
        }
        if block.term() < before.term {
            return Err(StepError::Malformed { what: "terms fall along the blocks" });
        }
        if block.term() > raft.term {
            return Err(StepError::Malformed { what: "block of a later term than its message" });
        }
        before = block.last();
    }
    Ok(())
}
