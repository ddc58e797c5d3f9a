//! Carrying out what the core wants: send, write, apply, load; and what follows when it is done.

use super::mailbox::Report;
use super::shard::Shard;
use crate::core::{Append, AppendToken, Event, Output, Role};
use crate::machine::StateMachine;
use crate::message::{Body, Envelope};
use crate::store::{AppendRequest, Completion, SnapshotFile};
use crate::sync::lock;
use crate::{SnapshotMeta, wire};
use quorate_clocks::Monotonic;
use quorate_transport::{Body as Payload, Lane};
use std::io;

/// Messages that wait together for a disk.
const WAITING_MESSAGES_MAX: usize = 64;

/// What a write releases when it is durable.
pub(super) struct Unsynced {
    /// When it was handed over.
    since: Monotonic,
    gated: Vec<Envelope>,
    token: Option<AppendToken>,
    /// It writes nothing: it only waits for what was written before it.
    only_waits: bool,
    /// It is durable when it is done.
    syncs: bool,
    /// The snapshot to restore from, opened when it was taken in: newer ones may replace it
    /// meanwhile.
    install: Option<(SnapshotMeta, Box<dyn SnapshotFile>)>,
}

impl Unsynced {
    pub(super) const fn since(&self) -> Monotonic {
        self.since
    }
}

impl<M: StateMachine> Shard<M> {
    /// Drains the core until it wants nothing more.
    pub(super) fn carry_out(&mut self, now: Monotonic) {
        while self.raft.has_output() && self.stopped.is_none() {
            let mut out = core::mem::take(&mut self.out);
            self.raft.drain(&mut out);
            self.lease.publish(&self.raft);
            self.carry_out_one(now, &mut out);
            self.out = out;
        }
    }

    fn carry_out_one(&mut self, now: Monotonic, out: &mut Output) {
        if let Some(soft) = out.soft {
            self.count_role(soft.role);
            self.proposals.retry_at = Monotonic::ZERO;
            let node = self.raft.id();
            tracing::debug!(%node, role = ?soft.role, leader = ?soft.leader, "role");
        }
        // On the wire before the local write is queued: the leader's disk works beside the
        // followers'.
        for envelope in out.send.drain(..) {
            self.transmit(envelope);
        }
        if let Some(append) = out.append.take() {
            self.write(now, append);
        }
        if let Some(apply) = out.apply.take() {
            // Bounded by `apply_bytes_max`: the core hands out no more before it is applied.
            if self.batches.send(apply).is_err() {
                self.stop("the apply task ended");
            }
        }
        for done in out.reads.drain(..) {
            self.read_done(&done);
        }
        for load in out.load.drain(..) {
            self.counts.loads += 1;
            let (mailbox, id) = (self.mailbox.clone(), load.id);
            let done = Completion::new(move |result| mailbox.push(Report::Loaded(id, result)));
            self.store.load(self.group, load.from, load.bytes_max, done);
        }
        if out.snapshot_wanted {
            self.make_snapshot();
        }
        for event in out.events.drain(..) {
            self.tell_operator(&event);
        }
        self.flush_proposals(now);
    }

    fn count_role(&mut self, role: Role) {
        let before = core::mem::replace(&mut self.counts.role, role);
        let (asks, asked) = (is_candidate(role), is_candidate(before));
        self.counts.elections_started += u64::from(asks && !asked);
        self.counts.elections_won += u64::from(role == Role::Leader);
        self.counts.step_downs += u64::from(before == Role::Leader && role != Role::Leader);
    }

    fn tell_operator(&mut self, event: &Event) {
        let node = self.raft.id();
        match event {
            Event::Stopped(invariant) => self.stop(&invariant.to_string()),
            Event::Recovering { lost } => tracing::warn!(%node, %lost, "recovering lost entries"),
            Event::Recovered => tracing::warn!(%node, "lost entries are there again"),
            Event::SnapshotInstalling { index } => tracing::debug!(%node, %index, "snapshot"),
        }
    }

    fn transmit(&mut self, envelope: Envelope) {
        let Envelope { to, message } = envelope;
        if let Body::Snapshot(meta) = message.body {
            self.send_snapshot(to, message.term, *meta);
            return;
        }
        let Some(pieces) = wire::encode(&message, self.store_id.fold()) else { return };
        match self.sender.send(to, lane(&message.body), Payload::parts(pieces)) {
            Ok(()) => self.counts.messages_out += 1,
            Err(_) => {
                self.counts.messages_unsent += 1;
                self.raft.unreachable(to);
            }
        }
    }

    fn write(&mut self, now: Monotonic, append: Append) {
        let only_waits =
            append.hard.is_none() && append.blocks.is_empty() && append.install.is_none();
        if only_waits && self.wait_with_last(&append) {
            return;
        }
        for block in &append.blocks {
            let bytes = block.as_bytes().len() as u64;
            self.since_snapshot += bytes;
            self.sizes.appended(block.last().index, bytes);
        }
        let mailbox = self.mailbox.clone();
        let done = Completion::new(move |result| mailbox.push(Report::Stored(result)));
        let syncs = append.sync || append.install.is_some();
        let request =
            AppendRequest::new(append.hard, &append.blocks, append.install.as_deref(), syncs);
        self.store.append(self.group, request, done);
        let Append { gated, token, install, .. } = append;
        let install = match install.map(|meta| self.open_snapshot(*meta)).transpose() {
            Ok(install) => install,
            Err(error) => {
                self.stop(&format!("snapshot: {error}"));
                None
            }
        };
        self.unsynced.push_back(Unsynced { since: now, gated, token, only_waits, syncs, install });
    }

    /// Messages that wait for nothing new wait with those that already do: on a disk that stands
    /// still there would be one more write for each heartbeat.
    fn wait_with_last(&mut self, append: &Append) -> bool {
        let waiting = self.unsynced.len() > self.synced;
        let Some(last) = self.unsynced.back_mut().filter(|last| waiting && last.only_waits) else {
            return false;
        };
        last.gated.extend(append.gated.iter().cloned());
        // The oldest are the stalest; a message may be lost at any time.
        let surplus = last.gated.len().saturating_sub(WAITING_MESSAGES_MAX);
        last.gated.drain(..surplus);
        last.token = append.token.or(last.token);
        true
    }

    fn open_snapshot(
        &self,
        meta: SnapshotMeta,
    ) -> io::Result<(SnapshotMeta, Box<dyn SnapshotFile>)> {
        let file = lock(&self.snapshots).open(&meta)?;
        Ok((meta, file))
    }

    /// The oldest write is durable.
    pub(super) fn stored(&mut self, now: Monotonic) {
        if let Some(write) = self.unsynced.get(self.synced).filter(|w| w.syncs && !w.only_waits) {
            self.timing.written(now, write.since);
        }
        self.synced += 1;
        self.release(now);
    }

    /// Releases what durable writes held back, in order; a restore in between holds up the rest.
    fn release(&mut self, now: Monotonic) {
        while self.synced > 0 && !self.restoring {
            let Some(first) = self.unsynced.front_mut() else { return };
            if let Some((meta, file)) = first.install.take() {
                self.begin_restore(meta, file);
                return;
            }
            self.synced -= 1;
            let Some(done) = self.unsynced.pop_front() else { return };
            for envelope in done.gated {
                if envelope.to == self.raft.id() {
                    // Its own vote or acknowledgement; refused only by a replica that has stopped.
                    let _ = self.raft.handle_message(now, envelope.to, envelope.message);
                } else {
                    self.transmit(envelope);
                }
            }
            if let Some(token) = done.token {
                self.raft.appended(now, token);
            }
        }
    }

    /// The machine is at the snapshot.
    pub(super) fn restored(&mut self, now: Monotonic, meta: &SnapshotMeta) {
        self.restoring = false;
        self.since_snapshot = 0;
        self.forget_up_to(now, meta.last.index);
        self.release(now);
    }
}

const fn is_candidate(role: Role) -> bool {
    matches!(role, Role::PreCandidate | Role::Candidate)
}

/// Votes and heartbeats must not stand behind entries. (6)
const fn lane(body: &Body) -> Lane {
    match body {
        Body::PreVote(_)
        | Body::Vote(_)
        | Body::PreVoteResp { .. }
        | Body::VoteResp { .. }
        | Body::Heartbeat { .. }
        | Body::HeartbeatResp { .. }
        | Body::TimeoutNow => Lane::Control,
        _ => Lane::Data,
    }
}
