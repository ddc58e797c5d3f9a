//! [`Shard`]: the task that owns the core. Each turn takes everything that waits (natural batching,
//! no timers), feeds it to the core, then carries out what the core wants. (5.9)

use super::Command;
use super::apply::Machine;
use super::calls::{self, Call, refusal};
use super::changes::Changes;
use super::founding::Founding;
use super::leases::LeasePublisher;
use super::mailbox::{Mailbox, Report};
use super::outcome::ShutdownError;
use super::proposals::Proposals;
use super::reads::Reads;
use super::replicated::{Asker, Question};
use super::shard_output::Unsynced;
use super::snapshot_receive::Receiving;
use super::snapshot_send::Sending;
use super::snapshots::{Making, SharedSnapshots, Sizes};
use super::transfers::Transferring;
use super::watch::NodeState;
use crate::core::{Apply, Output, Raft, Role};
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::message::{Body, Message};
use crate::stats::Stats;
use crate::store::LogStore;
use crate::{Config, GroupId, Membership, StoreId, wire};
use bytes::Bytes;
use core::future::poll_fn;
use core::task::{Context, Poll};
use quorate_clocks::{Monotonic, Timer};
use quorate_transport::{ChannelReceiver, ChannelSender, Inbound, NodeId, Responder, Runtime};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot, watch};

/// Most inputs of one turn, of each kind.
const TURN_MAX: usize = 1_024;
/// How often in a turn the answers of a store that answers at once are looked for.
const INLINE_MAX: usize = 4;
/// Turns after which the task lets others run even if more waits.
const TURNS_MAX: u32 = 8;

/// A shutdown under way.
pub(super) struct Closing {
    pub(super) deadline: Monotonic,
    pub(super) handing_over: bool,
    pub(super) answers: Vec<EndAnswer>,
}

/// Who waits for the end.
type EndAnswer = oneshot::Sender<Result<(), ShutdownError>>;

pub(super) struct Shard<M> {
    pub(super) raft: Raft,
    pub(super) group: GroupId,
    pub(super) store_id: StoreId,
    pub(super) config: Config,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) timer: Box<dyn Timer>,
    pub(super) sender: ChannelSender,
    pub(super) receiver: ChannelReceiver,
    pub(super) store: Box<dyn LogStore>,
    pub(super) snapshots: SharedSnapshots,
    pub(super) machine: Machine<M>,
    pub(super) batches: mpsc::UnboundedSender<Apply>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) mailbox: Mailbox,
    pub(super) state: watch::Sender<NodeState>,
    pub(super) stats: Arc<Mutex<Stats>>,
    pub(super) lease: LeasePublisher,
    pub(super) counts: Stats,

    pub(super) proposals: Proposals,
    pub(super) changes: Changes,
    pub(super) transfers: Vec<Transferring>,
    /// The disk stands still, and leadership was handed over for that.
    pub(super) stalled: bool,
    /// The group does not exist yet.
    pub(super) founding: Option<Founding>,
    /// As it was published last.
    pub(super) membership: Arc<Membership>,
    pub(super) reads: Reads,
    /// So that ids of an earlier life of this node are never mistaken for these.
    pub(super) read_id_base: u64,
    pub(super) questions: Vec<Question>,
    /// Writes handed to the store, oldest first.
    pub(super) unsynced: VecDeque<Unsynced>,
    /// Of those, how many are durable and wait behind a restore.
    pub(super) synced: usize,
    pub(super) restoring: bool,
    pub(super) making: Making,
    pub(super) sizes: Sizes,
    pub(super) since_snapshot: u64,
    pub(super) sending: Sending,
    pub(super) receiving: Option<Receiving>,
    pub(super) stopped: Option<Arc<str>>,
    pub(super) closing: Option<Closing>,
    pub(super) sweep_at: Monotonic,
    pub(super) inputs: Inputs,
    pub(super) out: Output,
}

/// What one turn works on.
#[derive(Default)]
pub(super) struct Inputs {
    inbound: Vec<Inbound>,
    commands: Vec<Command>,
    reports: Vec<Report>,
    /// Every handle was dropped, or the endpoint was shut down.
    abandoned: bool,
}

impl<M: StateMachine> Shard<M> {
    pub(super) async fn run(mut self) {
        let mut turns = 0;
        loop {
            poll_fn(|cx| self.poll_inputs(cx)).await;
            self.mailbox.disarm();
            let now = self.runtime.now();
            self.turn(now);
            if self.is_finished(now) {
                let (answers, result) = self.finish();
                // The log is closed before anyone is told: who waits may open it again.
                drop(self);
                for answer in answers {
                    let _ = answer.send(result.clone());
                }
                return;
            }
            turns += 1;
            if turns % TURNS_MAX == 0 {
                yield_once().await;
            }
        }
    }

    /// Collects what waits; ready if there is anything to do.
    fn poll_inputs(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let inputs = &mut self.inputs;
        let mut ready = self.mailbox.poll_take(cx, &mut inputs.reports).is_ready();
        while inputs.inbound.len() < TURN_MAX {
            match self.receiver.poll_recv(cx) {
                Poll::Ready(Some(inbound)) => inputs.inbound.push(inbound),
                Poll::Ready(None) => {
                    inputs.abandoned = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if !inputs.abandoned {
            match self.commands.poll_recv_many(cx, &mut inputs.commands, TURN_MAX) {
                Poll::Ready(0) => inputs.abandoned = true,
                Poll::Ready(_) => ready = true,
                Poll::Pending => {}
            }
        }
        let wakes_at = self.wakes_at();
        // Once it is closing, the end of the handles is no news.
        let newly_abandoned = self.inputs.abandoned && self.closing.is_none();
        ready |= !self.inputs.inbound.is_empty() || newly_abandoned;
        ready |= self.timer.poll_at(wakes_at, cx).is_ready();
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    fn wakes_at(&self) -> Monotonic {
        let core = self.raft.poll_timeout().unwrap_or(Monotonic::FAR_FUTURE);
        let waits = self.proposals.is_waiting()
            || self.changes.is_waiting()
            || self.reads.len() > 0
            || !self.questions.is_empty();
        let mut at = core;
        if waits {
            at = at.min(self.sweep_at);
        }
        if let Some(question) = self.questions.iter().map(Question::deadline).min() {
            at = at.min(question);
        }
        if let Some(founding) = &self.founding {
            at = at.min(founding.wakes_at());
        }
        let transfers = self.transfers.iter().map(Transferring::deadline).min();
        at = transfers.into_iter().chain(self.stalls_at()).fold(at, Monotonic::min);
        if let Some(closing) = &self.closing {
            at = at.min(closing.deadline);
        }
        at
    }

    fn turn(&mut self, now: Monotonic) {
        for report in core::mem::take(&mut self.inputs.reports) {
            self.handle_report(now, report);
        }
        for inbound in core::mem::take(&mut self.inputs.inbound) {
            self.handle_inbound(now, inbound);
        }
        for command in core::mem::take(&mut self.inputs.commands) {
            self.handle_command(now, command);
        }
        if self.stopped.is_some() {
            self.publish();
            return;
        }
        self.continue_founding(now);
        self.watch_disk(now);
        if self.raft.poll_timeout().is_some_and(|at| at <= now) {
            self.raft.handle_timeout(now);
        }
        if self.sweep_at <= now {
            self.sweep_at = now.saturating_add(self.config.heartbeat_interval);
            self.expire_proposals(now);
            self.expire_changes(now);
            self.reads.expire(now);
        }
        for _ in 0..INLINE_MAX {
            self.flush_changes(now);
            self.repeat_of_older_terms(now);
            self.flush_proposals(now);
            self.flush_reads(now);
            self.carry_out(now);
            if !self.take_stored(now) {
                break;
            }
        }
        self.release_reads();
        self.answer_questions(now);
        self.maybe_snapshot();
        self.machine.want_replies(self.proposals.wants_replies());
        debug_assert_eq!(self.raft.check_invariants(), Ok(()));
        self.publish();
        // After it: who asked finds what it asked for.
        self.settle_changes();
        self.settle_transfers(now);
    }

    /// What the store finished while this turn went on: an acknowledgement need not wait for a turn
    /// of its own. False if there was nothing.
    fn take_stored(&mut self, now: Monotonic) -> bool {
        let mut any = false;
        while self.stopped.is_none() && self.mailbox.take_stored() {
            self.stored(now);
            any = true;
        }
        any
    }

    fn handle_inbound(&mut self, now: Monotonic, inbound: Inbound) {
        if self.stopped.is_some() {
            return; // a responder that is dropped says "abandoned": the caller does not know
        }
        match inbound {
            Inbound::Message { from, body, .. } => self.handle_message(now, from.node, &body),
            Inbound::Call { from, body, reply } => self.handle_call(now, from.node, &body, reply),
            _ => {}
        }
    }

    fn handle_message(&mut self, now: Monotonic, from: NodeId, body: &Bytes) {
        if self.founding.is_some() {
            // Whoever is known to nobody must not be heard, and not vote. What is said now is said
            // again.
            self.counts.messages_refused += 1;
            return;
        }
        let handled = wire::decode(body, self.config.limits()).and_then(|(message, store)| {
            self.raft.check_store(from, store)?;
            self.raft.handle_message(now, from, message)
        });
        match handled {
            Ok(()) => self.counts.messages_in += 1,
            Err(error) => {
                self.counts.messages_refused += 1;
                tracing::debug!(node = %self.raft.id(), peer = %from, %error, "message refused");
            }
        }
    }

    fn handle_call(&mut self, now: Monotonic, from: NodeId, body: &Bytes, reply: Responder) {
        match calls::decode(self.group, body) {
            Some(Call::Forward { entries }) => self.serve_forward(now, &entries, reply),
            Some(Call::Change { expect, payload }) => {
                self.serve_change(now, expect, &payload, reply);
            }
            Some(Call::Roll { founders }) => self.serve_roll(from, &founders, reply),
            Some(Call::Chunk(chunk)) => self.serve_chunk(from, chunk, reply),
            Some(Call::Replicated { at, voters }) => {
                // Answer before the caller's deadline, so that the answer still counts.
                let deadline = reply.deadline().saturating_sub(self.config.heartbeat_interval);
                self.ask_replicated(now, at, voters, deadline, Asker::Remote(reply));
            }
            None => {
                self.counts.messages_refused += 1;
                reply.reject(refusal::MALFORMED, Bytes::new());
            }
        }
    }

    fn handle_command(&mut self, now: Monotonic, command: Command) {
        match command {
            Command::Propose(pending) => self.take_proposal(pending),
            Command::Read(waiter) => self.take_read(waiter),
            Command::Replicated { at, voters, deadline, answer } => {
                self.ask_replicated(now, at, voters, deadline, Asker::Local(answer));
            }
            Command::Transfer { to, answer } => {
                self.begin_transfer(now, to, answer);
            }
            Command::Change(asked) => self.take_change(asked),
            Command::DiskOf { node, answer } => self.ask_disk(node, answer),
            Command::Snapshot { answer } => self.ask_snapshot(answer),
            Command::Shutdown { answer } => self.begin_closing(now, Some(answer)),
        }
    }

    fn handle_report(&mut self, now: Monotonic, report: Report) {
        match report {
            Report::Stored(Ok(())) => self.stored(now),
            Report::Stored(Err(error)) => self.stop(&format!("log store: {error}")),
            Report::Loaded(id, result) => {
                match &result {
                    // Compacted meanwhile: the member gets a snapshot.
                    Ok(_) | Err(StoreError::Compacted { .. }) => self.raft.loaded(now, id, result),
                    // What cannot be read now will not be readable when asked again.
                    Err(error) => self.stop(&format!("log store: {error}")),
                }
            }
            Report::Rolled { founder, result } => self.rolled(founder, result),
            Report::Founded(result) => self.founded(now, result),
            Report::Applied { token, applied } => {
                for (index, change) in applied.changes {
                    self.activate(now, index, &change);
                }
                self.raft.applied(now, token);
                self.counts.sessions = applied.sessions;
                self.counts.session_repeats += applied.repeats.answered;
                self.counts.session_refusals += applied.repeats.refused;
                for (id, answer) in applied.answers {
                    self.resolve(now, id, answer);
                }
            }
            Report::MachineFailed(cause) => self.stop(&cause),
            Report::Restored(meta) => self.restored(now, &meta),
            Report::Forwarded { batch, result } => self.forwarded(now, batch, result),
            Report::ChangeAnswered { asked, result } => self.change_answered(now, asked, result),
            Report::SnapshotMade(made) => self.snapshot_made(made),
            Report::SnapshotSent { to, ok } => {
                self.sending.ended(to);
                self.counts.snapshots_sent += u64::from(ok);
                self.raft.snapshot_sent(now, to, ok);
            }
            Report::SnapshotPostponed { to } => self.raft.snapshot_sent(now, to, false),
            Report::SnapshotReceived { from, term, meta } => {
                self.receiving = None;
                self.counts.snapshots_received += 1;
                let message = Message::new(self.group, term, Body::Snapshot(meta));
                // From a leader that was deposed meanwhile it is refused, and asked for again.
                let _ = self.raft.handle_message(now, from, message);
            }
        }
    }

    /// The replica ends here and now; the process does not. Its log is left as it is.
    pub(super) fn stop(&mut self, cause: &str) {
        if self.stopped.is_none() {
            tracing::error!(node = %self.raft.id(), group = %self.group, cause, "replica stopped");
            self.stopped = Some(cause.into());
        }
    }

    // --- the end -------------------------------------------------------------------------------

    fn begin_closing(
        &mut self,
        now: Monotonic,
        answer: Option<oneshot::Sender<Result<(), ShutdownError>>>,
    ) {
        if self.closing.is_none() {
            let deadline = now.saturating_add(self.config.election_timeout);
            self.commands.close();
            // So that the group need not wait for an election timeout. Alone, there is nobody to
            // take over, and nothing to wait for.
            let leads = self.raft.role() == Role::Leader;
            let handing_over = leads && self.raft.transfer(now, None).is_ok();
            self.closing = Some(Closing { deadline, handing_over, answers: Vec::new() });
        }
        if let Some(closing) = &mut self.closing {
            closing.answers.extend(answer);
        }
    }

    /// Whether nothing is left to do, or to wait for.
    fn is_finished(&mut self, now: Monotonic) -> bool {
        if self.inputs.abandoned && self.closing.is_none() {
            self.begin_closing(now, None);
        }
        let Some(closing) = &self.closing else { return self.stopped.is_some() };
        let leads = self.raft.role() == Role::Leader;
        let handed_over = !(leads && closing.handing_over) || closing.deadline <= now;
        let flushed = self.unsynced.is_empty() || closing.deadline <= now;
        self.stopped.is_some() || (handed_over && flushed)
    }

    /// Ends everything that waits; who waits for the end itself, and what to tell them.
    fn finish(&mut self) -> (Vec<EndAnswer>, Result<(), ShutdownError>) {
        self.end_proposals();
        self.end_changes();
        self.reads.fail_all();
        self.questions.clear();
        self.commands.close();
        let mut late = Vec::new();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Propose(pending) => self.take_proposal(pending),
                Command::Shutdown { answer } => late.push(answer),
                _ => {} // a dropped answer says "stopped"
            }
        }
        self.end_proposals();
        if self.stopped.is_none() && self.closing.is_none() {
            self.stopped = Some("the endpoint was shut down".into());
        }
        self.publish();
        let result = match self.stopped.clone() {
            Some(cause) => Err(ShutdownError::Failed(cause)),
            None if self.unsynced.is_empty() => Ok(()),
            None => Err(ShutdownError::NotDurable { writes: self.unsynced.len() }),
        };
        let mut answers = self.closing.take().map(|c| c.answers).unwrap_or_default();
        answers.append(&mut late);
        (answers, result)
    }

    /// Tells watchers and statistics where things stand.
    pub(super) fn publish(&mut self) {
        if self.stopped.is_some() {
            self.lease.withdraw();
        } else {
            self.lease.publish(&self.raft);
        }
        let status = self.raft.progress();
        let applied = self.machine.applied();
        let members = self.raft.membership();
        if self.membership.index != members.index || self.membership.voters != members.voters {
            self.membership = Arc::new(members.clone());
        }
        let next = NodeState {
            membership: Arc::clone(&self.membership),
            role: if self.stopped.is_some() { Role::Follower } else { self.raft.role() },
            leader: self.raft.leader().filter(|_| self.stopped.is_none()),
            term: status.term,
            commit: status.commit,
            applied,
            lost: self.raft.lost(),
            stopped: self.stopped.clone(),
        };
        let tally = self.proposals.tally();
        let counts = Stats {
            role: self.raft.role(),
            leader: self.raft.leader(),
            term: status.term,
            first: status.first,
            last: status.last,
            commit: status.commit,
            applied,
            durable: status.durable,
            cached_bytes: status.cached_bytes,
            apply_paused: status.apply_paused,
            appends_pending: self.unsynced.len() as u64,
            proposals_applied: tally.applied,
            proposals_rejected: self.counts.proposals_rejected + tally.superseded,
            proposals_unknown: tally.unknown,
            ..self.counts
        };
        *crate::sync::lock(&self.stats) = counts;
        // After the statistics: who waits for a state finds them no older. The handles of the node
        // hold one receiver, which only ever looks.
        self.state.send_if_modified(|state| {
            let changed = *state != next;
            if changed {
                *state = next;
            }
            changed && self.state.receiver_count() > 1
        });
    }
}

/// Lets the executor run another task.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
