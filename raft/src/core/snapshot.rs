//! Snapshots: sending the state instead of a compacted log, and taking one in (R13). Thesis §5.

use super::{Event, Raft};
use crate::LogIndex;
use crate::message::{Body, SnapshotMeta};
use crate::progress::ProgressState;
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;

impl Raft {
    /// R13 at the leader. True if a snapshot was sent.
    pub(super) fn send_snapshot(&mut self, i: usize) -> bool {
        if !self.peers[i].active {
            return false; // a silent member would only waste the transfer
        }
        let Some(meta) = self.snapshot.clone() else {
            self.out.snapshot_wanted = true;
            return false;
        };
        let too_old = meta.last.index < self.log.start().index;
        let unknown_there = !meta.membership.contains(self.peers[i].id);
        if too_old || unknown_there {
            // The log does not reach back to it, or the receiver would refuse it.
            self.out.snapshot_wanted = true;
            return false;
        }
        self.peers[i].become_snapshot(meta.last.index);
        let to = self.peers[i].id;
        self.send(to, Body::Snapshot(Box::new(meta)));
        true
    }

    /// Whether only a snapshot brings this replica on: a node that was added to a group knows the
    /// changes that follow in the log, but not the membership they change.
    pub(super) fn needs_snapshot(&self) -> bool {
        self.membership.is_empty() && self.config.blank_needs_snapshot
    }

    /// A member holds no more than `have`, whatever it acknowledged before: it lost a part of its
    /// log, or it is new. With nothing at all it needs a snapshot, else it is fed on from there.
    pub(super) fn handle_snapshot_request(&mut self, from: NodeId, have: LogIndex) {
        let Some(i) = self.leading_peer(from) else { return };
        let p = &mut self.peers[i];
        p.active = true;
        if p.state == ProgressState::Snapshot {
            return; // under way
        }
        p.matched = p.matched.min(have);
        p.become_probe();
        let sent =
            if have == LogIndex::ZERO { self.send_snapshot(i) } else { self.send_append(i, true) };
        if !sent {
            // There is no snapshot yet. It asks again when it is sent to again.
            self.peers[i].paused = true;
        }
    }

    /// R13 at the receiver.
    pub(super) fn handle_snapshot(&mut self, from: NodeId, meta: SnapshotMeta) {
        let concerns_me = meta.membership.contains(self.id);
        let is_old =
            meta.last.index <= self.log.commit && !crate::plant::planted("snapshot_goes_back");
        if is_old || !concerns_me {
            self.send(from, Body::Accepted { index: self.log.commit }); // H9: never backwards
            return;
        }
        if self.log.contains(meta.last) {
            // The log has it all: keep what follows. // H9
            self.commit_to(meta.last.index);
            self.send(from, Body::Accepted { index: meta.last.index });
            return;
        }
        let index = meta.last.index;
        self.adopt_membership(meta.membership.clone());
        self.log.restore(meta);
        self.out.drop_apply_load();
        self.out.events.push(Event::SnapshotInstalling { index });
        self.send(from, Body::Accepted { index });
    }

    /// A snapshot of the local state exists now; it replaces an older one.
    pub fn snapshot_created(&mut self, meta: SnapshotMeta) {
        if self.snapshot.as_ref().is_none_or(|s| s.last.index <= meta.last.index) {
            self.snapshot = Some(meta);
        }
    }

    /// The transfer to `to` ended.
    pub fn snapshot_sent(&mut self, now: Monotonic, to: NodeId, ok: bool) {
        if self.observe(now).is_err() {
            return;
        }
        let Some(i) = self.leading_peer(to) else { return };
        let p = &mut self.peers[i];
        if p.state != ProgressState::Snapshot {
            return;
        }
        if !ok {
            p.pending_snapshot = LogIndex::ZERO;
        }
        p.become_probe();
        // Wait for the acknowledgement, or the next heartbeat's answer, before sending more.
        p.paused = true;
    }

    /// The store dropped the log up to `to`.
    pub fn compacted(&mut self, to: LogIndex) {
        self.log.compact(to.min(self.log.applied));
        self.forget_memberships(self.log.start().index);
    }

    /// Up to where the log may be compacted when everything up to `wanted` is in a snapshot. What
    /// an active follower still reads from the log is kept if followers are to be spared: one that
    /// does not move on must not hold everyone's log for ever. // H8
    #[must_use]
    pub fn compactable(&self, wanted: LogIndex, spare_followers: bool) -> LogIndex {
        let needed = self
            .others()
            .filter(|i| self.is_following(*i))
            .map(|i| self.peers[i].matched)
            .min()
            .unwrap_or(wanted);
        let leads = self.role == super::Role::Leader;
        let limit = if leads && spare_followers { needed } else { wanted };
        let newest = self.snapshot.as_ref().map_or(LogIndex::ZERO, |s| s.last.index);
        wanted.min(limit).min(newest).min(self.log.applied)
    }
}
