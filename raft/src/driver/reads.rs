//! Reads that wait: for confirmation by the leader, then for application here. All reads of a turn
//! share one question to the core.

use super::shard::Shard;
use crate::core::{ReadDone, Role};
use crate::error::ReadError;
use crate::machine::StateMachine;
use crate::sync::Lock;
use crate::{LogIndex, ReadId};
use quorate_clocks::Monotonic;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// How a read may be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadKind {
    /// By a round of heartbeats.
    Round,
    /// By a leader's lease, if there is one.
    Lease,
}

/// A read may be served: everything up to the index is applied here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed {
    pub(super) index: LogIndex,
    /// By the lease of this node.
    pub(super) by_lease: bool,
}

/// Someone who wants to know which index to wait for.
pub(super) struct ReadWaiter {
    answer: oneshot::Sender<Result<Confirmed, ReadError>>,
    deadline: Monotonic,
    /// When the question arrived.
    since: Monotonic,
    kind: ReadKind,
    by_lease: bool,
}

impl ReadWaiter {
    pub(super) const fn new(
        answer: oneshot::Sender<Result<Confirmed, ReadError>>,
        deadline: Monotonic,
        kind: ReadKind,
    ) -> Self {
        Self { answer, deadline, since: Monotonic::ZERO, kind, by_lease: false }
    }

    fn finish(self, result: Result<LogIndex, ReadError>) {
        let by_lease = self.by_lease;
        // A reader that went away does not want to know.
        let _ = self.answer.send(result.map(|index| Confirmed { index, by_lease }));
    }
}

/// When a read of this node was last confirmed, and up to where: what bounded staleness is served
/// from. A read that began at `begun` saw everything acknowledged before, so a state at or behind
/// its index is no older than that moment. (No unconfirmed leader is believed. // H47)
#[derive(Default)]
pub(super) struct Freshness {
    newest: Lock<(Monotonic, LogIndex)>,
}

impl Freshness {
    pub(super) fn confirmed(&self, begun: Monotonic, index: LogIndex) {
        let mut newest = self.newest.lock();
        if begun > newest.0 {
            *newest = (begun, index);
        }
    }

    pub(super) fn covers(&self, since: Monotonic, applied: LogIndex) -> bool {
        let (begun, index) = *self.newest.lock();
        if crate::plant::planted("fresh_without_a_quorum") {
            return true;
        }
        begun > Monotonic::ZERO && begun >= since && applied >= index
    }
}

/// The reads of a node, by what they wait for.
#[derive(Default)]
pub(super) struct Reads {
    /// For a leader to ask.
    parked: Vec<ReadWaiter>,
    /// For the core's answer.
    asked: BTreeMap<ReadId, Vec<ReadWaiter>>,
    /// For application.
    confirmed: BTreeMap<LogIndex, Vec<ReadWaiter>>,
    last_id: u64,
}

impl Reads {
    pub(super) fn len(&self) -> usize {
        let asked: usize = self.asked.values().map(Vec::len).sum();
        let confirmed: usize = self.confirmed.values().map(Vec::len).sum();
        self.parked.len() + asked + confirmed
    }

    pub(super) fn fail_all(&mut self) {
        let parked = core::mem::take(&mut self.parked);
        let asked = core::mem::take(&mut self.asked).into_values().flatten();
        let confirmed = core::mem::take(&mut self.confirmed).into_values().flatten();
        parked.into_iter().chain(asked).chain(confirmed).for_each(|w| {
            w.finish(Err(ReadError::Stopped));
        });
    }

    pub(super) fn expire(&mut self, now: Monotonic) {
        for waiter in self.parked.extract_if(.., |w| w.deadline <= now) {
            waiter.finish(Err(ReadError::NoLeader));
        }
        for waiters in self.asked.values_mut().chain(self.confirmed.values_mut()) {
            for waiter in waiters.extract_if(.., |w| w.deadline <= now) {
                waiter.finish(Err(ReadError::NoLeader));
            }
        }
    }
}

impl<M: StateMachine> Shard<M> {
    pub(super) fn take_read(&mut self, now: Monotonic, mut waiter: ReadWaiter) {
        waiter.since = now;
        if self.reads.len() >= self.config.reads_pending_max {
            waiter.finish(Err(ReadError::Busy));
        } else {
            self.reads.parked.push(waiter);
        }
    }

    /// Asks the core for everyone who is parked, if there is a leader to confirm it: one question
    /// for all of a kind.
    pub(super) fn flush_reads(&mut self, now: Monotonic) {
        for kind in [ReadKind::Lease, ReadKind::Round] {
            let waiters: Vec<_> = self.reads.parked.extract_if(.., |w| w.kind == kind).collect();
            self.ask_core(now, kind, waiters);
        }
    }

    fn ask_core(&mut self, now: Monotonic, kind: ReadKind, mut waiters: Vec<ReadWaiter>) {
        let knows_leader = self.raft.role() == Role::Leader || self.raft.leader().is_some();
        if waiters.is_empty() || !knows_leader {
            self.reads.parked.append(&mut waiters);
            return;
        }
        self.reads.last_id += 1;
        let id = ReadId::new(self.read_id_base.wrapping_add(self.reads.last_id));
        let asked = match kind {
            ReadKind::Round => self.raft.read(now, id),
            ReadKind::Lease => self.raft.read_by_lease(now, id),
        };
        match asked {
            Ok(()) => drop(self.reads.asked.insert(id, waiters)),
            Err(ReadError::NoLeader) => self.reads.parked.append(&mut waiters),
            Err(refusal) => waiters.into_iter().for_each(|w| w.finish(Err(refusal.clone()))),
        }
    }

    pub(super) fn read_done(&mut self, done: &ReadDone) {
        let Some(mut waiters) = self.reads.asked.remove(&done.id) else { return };
        waiters.iter_mut().for_each(|w| w.by_lease = done.by_lease);
        match &done.result {
            Ok(index) => self.reads.confirmed.entry(*index).or_default().append(&mut waiters),
            // Asked again once a leader is known, until their deadlines.
            Err(error) if error.is_retryable() => self.reads.parked.append(&mut waiters),
            Err(error) => waiters.into_iter().for_each(|w| w.finish(Err(error.clone()))),
        }
    }

    /// Serves whoever waited for no more than what is applied now.
    pub(super) fn release_reads(&mut self, now: Monotonic) {
        let applied = self.machine.applied();
        while let Some(entry) = self.reads.confirmed.first_entry() {
            if *entry.key() > applied {
                break;
            }
            let (index, waiters) = entry.remove_entry();
            self.counts.reads += waiters.len() as u64;
            self.timing.read(now, waiters.iter().map(|w| w.since));
            waiters.into_iter().for_each(|w| w.finish(Ok(index)));
        }
    }
}
