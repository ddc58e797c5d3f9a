//! Leadership on its way to another node: asked for, or because the own disk stands still. (5.10)

use super::shard::Shard;
use crate::core::Role;
use crate::error::TransferError;
use crate::machine::StateMachine;
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;
use tokio::sync::oneshot;

pub(super) type TransferAnswer = oneshot::Sender<Result<NodeId, TransferError>>;

/// A transfer that somebody waits for.
pub(super) struct Transferring {
    to: NodeId,
    /// The core gives up an election timeout after it began; the news of success takes its time.
    deadline: Monotonic,
    answer: TransferAnswer,
}

impl Transferring {
    pub(super) const fn deadline(&self) -> Monotonic {
        self.deadline
    }
}

impl<M: StateMachine> Shard<M> {
    pub(super) fn begin_transfer(
        &mut self,
        now: Monotonic,
        to: Option<NodeId>,
        answer: TransferAnswer,
    ) {
        match self.raft.transfer(now, to) {
            // It has it already: only a transfer under way was called off.
            Ok(to) if to == self.raft.id() => drop(answer.send(Ok(to))),
            Ok(to) => {
                let deadline = now.saturating_add(self.config.election_timeout * 2);
                self.transfers.push(Transferring { to, deadline, answer });
            }
            Err(refusal) => drop(answer.send(Err(refusal))),
        }
    }

    /// Tells who waits whether leadership has arrived, or stays.
    pub(super) fn settle_transfers(&mut self, now: Monotonic) {
        if self.transfers.is_empty() {
            return;
        }
        let leader = self.raft.leader();
        let given_up = self.raft.role() == Role::Leader && self.raft.transferee().is_none();
        for transfer in core::mem::take(&mut self.transfers) {
            let arrived = leader == Some(transfer.to);
            if arrived {
                let _ = transfer.answer.send(Ok(transfer.to));
            } else if given_up || transfer.deadline <= now {
                let _ = transfer.answer.send(Err(TransferError::TimedOut));
            } else {
                self.transfers.push(transfer);
            }
        }
    }

    /// When the oldest write will have stood still for too long; none if there is none to watch.
    pub(super) fn stalls_at(&self) -> Option<Monotonic> {
        let leads = self.raft.role() == Role::Leader;
        let watched = leads && !self.stalled && !self.store.is_full();
        let oldest = self.unsynced.get(self.synced).filter(|_| watched)?;
        Some(oldest.since().saturating_add(self.config.disk_stall))
    }

    /// A leader whose disk stands still cannot apply what the others commit: it hands over, or
    /// lets the others elect somebody else. Its heartbeats wait for no disk. // H38
    pub(super) fn watch_disk(&mut self, now: Monotonic) {
        if self.unsynced.len() == self.synced {
            self.stalled = false;
        }
        // A full disk waits for space, which the others may lack as well: reads go on meanwhile.
        if self.store.is_full() {
            return;
        }
        // Whoever was asked did not take over: let the others elect somebody.
        if self.stalled && self.raft.transferee().is_none() {
            self.raft.step_down(now);
        }
        if self.stalls_at().is_none_or(|at| at > now) {
            return;
        }
        self.stalled = true;
        self.counts.disk_stalls += 1;
        tracing::warn!(node = %self.raft.id(), "disk stalled, handing leadership over");
        if self.raft.transfer(now, None).is_err() {
            self.raft.step_down(now);
        }
    }
}
