//! What the core wants done: [`Output`], and how it is drained (R19, R20).

use super::{Raft, Role};
use crate::error::{Invariant, ReadError};
use crate::log_view::{Slice, take_bytes};
use crate::message::{Envelope, SnapshotMeta};
use crate::{Block, LogId, LogIndex, ReadId, Term};
use core::ops::RangeInclusive;
use core::time::Duration;
use quorate_transport::NodeId;
use std::collections::VecDeque;

/// What must survive a crash besides the log.
///
/// # Examples
/// ```
/// use quorate_raft::HardState;
/// assert_eq!(HardState::default().vote, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HardState {
    /// The newest term seen.
    pub term: Term,
    /// Whom this node voted for in it.
    pub vote: Option<NodeId>,
    /// The commit index. May lag after a crash; it is only a head start.
    pub commit: LogIndex,
    /// The longest time for which this node may have promised not to vote ([`lease`]); zero
    /// if it never did. A restart must not forget it.
    ///
    /// [`lease`]: crate::ConfigDraft::lease
    pub promise: Duration,
    /// Entries up to here may have been acknowledged and are lost: until a leader has brought the
    /// log past them, this node does not vote. Zero: nothing is lost. // H36
    pub lost: LogIndex,
}

impl HardState {
    /// These values, no promise, and nothing lost.
    #[must_use]
    pub const fn new(term: Term, vote: Option<NodeId>, commit: LogIndex) -> Self {
        Self { term, vote, commit, promise: Duration::ZERO, lost: LogIndex::ZERO }
    }
}

/// What callers may want to know of the present and need not be kept.
///
/// # Examples
/// ```
/// use quorate_raft::{Role, SoftState};
/// assert_eq!(SoftState::default().role, Role::Follower);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SoftState {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// What this node does.
    pub role: Role,
}

/// Something to write. Handed to the store in the order of drains.
///
/// # Examples
/// ```
/// use quorate_raft::{Append, AppendRequest};
///
/// fn request(append: &Append) -> AppendRequest<'_> {
///     let sync = append.sync || append.install.is_some();
///     AppendRequest::new(append.hard, &append.blocks, append.install.as_deref(), sync)
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Append {
    /// Term, vote, commit, if they changed. Durable no later than `blocks`. // H37
    pub hard: Option<HardState>,
    /// Whether this must be durable; without, it may stay in memory (a commit index that moved).
    pub sync: bool,
    /// To be written; a first index at or below the log's last replaces from there.
    pub blocks: Vec<Block>,
    /// Replaces log and state before `blocks`: the driver has the content already.
    pub install: Option<Box<SnapshotMeta>>,
    /// May leave only after this and everything before it is durable; may be addressed to this node
    /// itself, then hand it to [`Raft::handle_message`]. // H11
    pub gated: Vec<Envelope>,
    /// For [`Raft::appended`], after the gated messages were released.
    pub token: Option<AppendToken>,
}

/// Says which write became durable.
///
/// # Examples
/// ```
/// use quorate_clocks::Monotonic;
/// use quorate_raft::{AppendToken, Raft};
///
/// fn written(raft: &mut Raft, now: Monotonic, token: Option<AppendToken>) {
///     if let Some(token) = token {
///         raft.appended(now, token);
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the core waits for it"]
pub struct AppendToken {
    pub(super) term: Term,
    pub(super) last: LogId,
    pub(super) snapshot: Option<LogIndex>,
    pub(super) promise: Duration,
}

impl AppendToken {
    /// The core's term when the write was handed out.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// The last entry that is durable with this write, or zero if the write held no entries that
    /// matter.
    #[must_use]
    pub const fn last(&self) -> LogId {
        self.last
    }
}

/// Committed entries to be applied, in order.
///
/// # Examples
/// ```
/// use quorate_raft::{Apply, Batch, Replies, StateMachine};
///
/// fn feed<M: StateMachine>(machine: &mut M, apply: &Apply) -> Replies {
///     let entries: Vec<_> = apply.entries().collect();
///     let mut replies = Replies::default();
///     machine.apply(Batch::new(&entries), &mut replies);
///     replies
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Apply {
    /// Blocks that hold the range; the first and the last may hold entries outside of it.
    pub blocks: Vec<Block>,
    /// The entries to apply.
    pub range: RangeInclusive<LogIndex>,
    /// For [`Raft::applied`].
    pub token: ApplyToken,
}

impl Apply {
    /// The entries to apply.
    pub fn entries(&self) -> impl Iterator<Item = crate::Entry<'_>> {
        let range = &self.range;
        self.blocks.iter().flat_map(Block::iter).filter(move |e| range.contains(&e.id.index))
    }
}

/// Says which entries were applied.
///
/// # Examples
/// ```
/// use quorate_clocks::Monotonic;
/// use quorate_raft::{ApplyToken, Raft};
///
/// fn applied(raft: &mut Raft, now: Monotonic, token: ApplyToken) {
///     raft.applied(now, token); // the core may hand out more now
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the core waits for it"]
pub struct ApplyToken {
    pub(super) to: LogIndex,
    pub(super) bytes: u64,
    /// What the entries count that this leader proposed.
    pub(super) charge: u64,
}

/// Which load a result belongs to.
///
/// # Examples
/// ```
/// # use quorate_raft::LoadId;
/// fn by_number(id: LoadId) -> u64 { id.value() }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoadId(pub(super) u64);

impl LoadId {
    /// Its number, unique within a replica's life.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// Blocks wanted from the store; answer with [`Raft::loaded`].
///
/// # Examples
/// ```
/// # use quorate_raft::Load;
/// fn describe(load: &Load) -> String {
///     format!("up to {} bytes from {}", load.bytes_max, load.from)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Load {
    /// Names the request.
    pub id: LoadId,
    /// The first index wanted; the first block may begin before it.
    pub from: LogIndex,
    /// Stop before exceeding this, but return at least one block.
    pub bytes_max: u64,
}

/// The answer to a read: serve it once the index is applied.
///
/// # Examples
/// ```
/// # use quorate_raft::ReadDone;
/// fn ready(done: &ReadDone, applied: quorate_raft::LogIndex) -> bool {
///     done.result.as_ref().is_ok_and(|index| *index <= applied)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadDone {
    /// The caller's id.
    pub id: ReadId,
    /// The index to wait for.
    pub result: Result<LogIndex, ReadError>,
    /// Answered by this leader's lease. Whoever wants to be sure that it still led when the state
    /// was read asks [`Raft::lease_valid`] again then.
    pub by_lease: bool,
}

/// Something worth telling the operator.
///
/// # Examples
/// ```
/// use quorate_raft::{Event, LogIndex};
/// let e = Event::SnapshotInstalling { index: LogIndex::new(7) };
/// assert!(matches!(e, Event::SnapshotInstalling { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The replica stopped for good: the log is kept as evidence.
    Stopped(Invariant),
    /// Entries that this node may have acknowledged are lost: it does not vote before a leader has
    /// brought its log past them.
    Recovering {
        /// Up to where.
        lost: LogIndex,
    },
    /// What was lost is there again: this node votes.
    Recovered,
    /// A snapshot replaces the local log.
    SnapshotInstalling {
        /// Up to where.
        index: LogIndex,
    },
}

/// Everything the core wants done since the last drain. Reused: draining overwrites.
///
/// # How to drive it
/// In this order: send `send`, hand `append` to the store, hand `apply` to the machine, answer
/// `reads`, start `load`. Nothing here waits for anything but what `append` says of its own
/// messages.
///
/// # Examples
/// ```
/// use quorate_raft::{Envelope, Output, Raft};
///
/// fn outgoing(raft: &mut Raft, out: &mut Output) -> Vec<Envelope> {
///     raft.drain(out);
///     out.send.drain(..).collect() // the rest of `out` is to be carried out likewise
/// }
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Output {
    /// Leader or role, if they changed.
    pub soft: Option<SoftState>,
    /// To be written.
    pub append: Option<Append>,
    /// To be applied.
    pub apply: Option<Apply>,
    /// May leave at once: a leader replicates before its own disk has written (thesis §10.2.1).
    pub send: Vec<Envelope>,
    /// Reads that were answered.
    pub reads: Vec<ReadDone>,
    /// Blocks wanted from the store.
    pub load: Vec<Load>,
    /// A member needs a snapshot and there is none that is new enough.
    pub snapshot_wanted: bool,
    /// For the operator.
    pub events: Vec<Event>,
}

/// What has piled up since the last drain.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    pub(super) send: Vec<Envelope>,
    pub(super) gated: Vec<Envelope>,
    pub(super) reads: Vec<ReadDone>,
    pub(super) loads: Vec<Load>,
    pub(super) events: Vec<Event>,
    pub(super) snapshot_wanted: bool,
    pub(super) applying_bytes: u64,
    pub(super) apply_load: Option<u64>,
    pub(super) apply_loaded: VecDeque<Block>,
    loads_made: u64,
    hard: HardState,
    soft: SoftState,
}

impl Pending {
    pub(super) const fn remember(&mut self, hard: HardState, soft: SoftState) {
        self.hard = hard;
        self.soft = soft;
    }

    pub(super) const fn next_load_id(&mut self) -> u64 {
        self.loads_made += 1;
        self.loads_made
    }

    pub(super) fn drop_apply_load(&mut self) {
        self.apply_load = None;
        self.apply_loaded.clear();
    }
}

impl Raft {
    /// Whether a drain would give anything.
    #[must_use]
    pub fn has_output(&self) -> bool {
        let out = &self.out;
        let messages = !out.send.is_empty() || !out.gated.is_empty();
        let answers = !out.reads.is_empty() || !out.loads.is_empty() || !out.events.is_empty();
        if self.stopped.is_some() {
            return !out.events.is_empty() || !out.reads.is_empty();
        }
        let snapshot = self.log.pending_snapshot.is_some() && !self.log.snapshot_handed;
        messages
            || answers
            || snapshot
            || out.snapshot_wanted
            || self.log.handed < self.log.last().index
            || self.changed_hard_state().is_some()
            || self.soft_state() != out.soft
            || self.can_apply()
    }

    /// Moves everything that is wanted into `out`, which is overwritten but keeps its buffers.
    pub fn drain(&mut self, out: &mut Output) {
        out.send.clear();
        out.reads.clear();
        out.load.clear();
        out.events.clear();
        out.append = None;
        out.apply = None;
        out.soft = None;
        out.events.append(&mut self.out.events);
        out.reads.append(&mut self.out.reads);
        if self.stopped.is_some() {
            // A replica that met the impossible says nothing more to anyone.
            self.out.send.clear();
            self.out.gated.clear();
            return;
        }
        if self.soft_state() != self.out.soft {
            out.soft = Some(self.soft_state());
            self.out.soft = self.soft_state();
        }
        out.apply = self.drain_apply();
        out.append = self.drain_append();
        out.send.append(&mut self.out.send);
        out.load.append(&mut self.out.loads);
        out.snapshot_wanted = core::mem::take(&mut self.out.snapshot_wanted);
        self.log.evict(self.config.log_cache_bytes);
    }

    fn changed_hard_state(&self) -> Option<HardState> {
        let hard = self.hard_state();
        (hard != self.out.hard && hard != HardState::default()).then_some(hard)
    }

    fn drain_append(&mut self) -> Option<Append> {
        let hard = self.changed_hard_state();
        let blocks = self.log.unhanded();
        let install = match &self.log.pending_snapshot {
            Some(meta) if !self.log.snapshot_handed => Some(Box::new(meta.clone())),
            _ => None,
        };
        let gated = core::mem::take(&mut self.out.gated);
        if hard.is_none() && blocks.is_empty() && install.is_none() && gated.is_empty() {
            return None;
        }
        let before = self.out.hard;
        let voted = hard
            .is_some_and(|h| (h.term, h.vote, h.lost) != (before.term, before.vote, before.lost));
        let promised = hard.is_some_and(|h| h.promise > before.promise);
        let sync = voted || promised || !blocks.is_empty();
        self.out.hard = hard.unwrap_or(before);
        self.log.handed = self.log.last().index;
        self.log.snapshot_handed = self.log.pending_snapshot.is_some();
        let token = self.append_token(install.as_deref());
        Some(Append { hard, sync, blocks, install, gated, token })
    }

    /// R20.
    fn append_token(&self, install: Option<&SnapshotMeta>) -> Option<AppendToken> {
        let undurable = self.log.durable < self.log.last().index;
        let promise = self.lease.unwritten();
        if !undurable && install.is_none() && promise.is_zero() {
            return None;
        }
        let last = if undurable { self.log.last() } else { LogId::ZERO };
        let snapshot = install.map(|meta| meta.last.index);
        Some(AppendToken { term: self.term, last, snapshot, promise })
    }

    fn apply_limit(&self) -> LogIndex {
        if self.config.apply_before_durable {
            self.log.commit
        } else {
            self.log.commit.min(self.log.durable)
        }
    }

    fn can_apply(&self) -> bool {
        let room = self.out.applying_bytes < self.config.apply_bytes_max;
        let loading = self.out.apply_load.is_some();
        let pending = self.log.pending_snapshot.is_some();
        room && !loading && !pending && self.log.applying < self.apply_limit()
    }

    fn drain_apply(&mut self) -> Option<Apply> {
        if !self.can_apply() {
            return None;
        }
        let (from, limit) = (self.log.applying.next(), self.apply_limit());
        let room = self.config.apply_bytes_max - self.out.applying_bytes;
        let mut blocks = match self.log.covering(from, room) {
            Slice::Blocks(blocks) => blocks,
            Slice::Empty => return None,
            Slice::Stored => match self.loaded_for_apply(from, room) {
                Some(blocks) => blocks,
                None => {
                    self.request_load(None, from);
                    return None;
                }
            },
        };
        blocks.truncate(blocks.partition_point(|b| b.first() <= limit));
        let to = blocks.last()?.last().index.min(limit);
        self.log.applying = to;
        let bytes = blocks.iter().map(|b| b.as_bytes().len() as u64).sum();
        // Those of leaders before were never counted here.
        let own = blocks.iter().filter(|b| b.term() == self.term);
        let charge = own.map(|b| b.charge_within(from, to)).sum();
        self.out.applying_bytes += bytes;
        Some(Apply { blocks, range: from..=to, token: ApplyToken { to, bytes, charge } })
    }

    /// Blocks that were loaded for application, if they hold `from` and are still this log's.
    fn loaded_for_apply(&mut self, from: LogIndex, room: u64) -> Option<Vec<Block>> {
        while self.out.apply_loaded.front().is_some_and(|b| b.last().index < from) {
            self.out.apply_loaded.pop_front();
        }
        let first = self.out.apply_loaded.front()?;
        if first.first() > from || !self.log.contains(first.last()) {
            self.out.apply_loaded.clear();
            return None;
        }
        let log = &self.log;
        let ours = self.out.apply_loaded.iter().take_while(|b| log.contains(b.last()));
        Some(take_bytes(ours, room))
    }
}
