//! Lease reads (5.4): a leader that a quorum has promised not to vote serves reads without asking
//! it again. Thesis §6.4.1; Gray & Cheriton 1989.
//!
//! A voter that answers a heartbeat may state a *promise*: for so long, in true time and from when
//! the heartbeat arrived, it grants no vote of a newer term and asks for none. It keeps the promise
//! for [`Drift::stretch`] of it on its own clock; the leader counts on it for [`Drift::shrink`] of
//! it on its own clock, and from when it *sent* the heartbeat. Nobody needs to know how wrong the
//! other's clock is, nor what the other is configured to.
//!
//! Only an election that the leader itself asked for (`TimeoutNow`) may break a promise: from then
//! on that leader has no lease any more in its term.

use super::{Raft, Role};
use crate::error::ForgetError;
use crate::{Config, HardState, quorum};
use core::time::Duration;
use quorate_clocks::{Drift, Monotonic};
use quorate_transport::NodeId;

/// A clock shows whole nanoseconds: between two readings up to one more has passed than they differ
/// by, or one less. The leader counts one less, the voter keeps one more.
const READING: Duration = Duration::from_nanos(1);

/// What a replica promised as a voter, and whether it gave its lease away as a leader.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// How wrong the own clock may be. // H63
    drift: Drift,
    /// What this voter promises with each answered heartbeat; zero: nothing, leases are off.
    promise: Duration,
    /// The longest promise that is known to be on the own disk. // H29
    durable: Duration,
    /// No vote before this. A deadline of its own, which neither a new term nor the loss of the
    /// leader shortens. // H62
    promised_until: Monotonic,
    /// The longest promise of former lives, and until when it may bind. // H45
    former: Duration,
    former_until: Monotonic,
    /// This leader asked a member to take over in this term. Whenever that message arrives, it
    /// makes voters break their promises. // H27
    gave_away: bool,
}

impl Lease {
    /// After a start: whatever was promised before it, or would have been, is kept as if it had
    /// been promised just now. // H29 H45
    pub(super) fn after_start(
        config: &Config,
        drift: Drift,
        stored: Duration,
        now: Monotonic,
    ) -> Self {
        let drift =
            if crate::plant::planted("drift_of_a_crystal") { Drift::CRYSTAL } else { drift };
        let promise = if config.lease { whole_ms(config.election_timeout) } else { Duration::ZERO };
        let longest = stored.max(promise);
        let until = if longest.is_zero() { now } else { now.saturating_add(kept(drift, longest)) };
        let forgotten = crate::plant::planted("promise_forgotten_at_start");
        Self {
            drift,
            promise,
            durable: stored,
            promised_until: if forgotten { Monotonic::ZERO } else { until },
            former: stored,
            former_until: until,
            gave_away: false,
        }
    }

    /// How long an election timeout must be at least, so that it does not end within the promise
    /// that was given when it began.
    pub(super) fn kept_for(&self) -> Duration {
        if self.promise.is_zero() { Duration::ZERO } else { kept(self.drift, self.promise) }
    }

    /// What the disk has to know: no promise longer than this binds.
    pub(super) fn on_disk(&self, now: Monotonic) -> Duration {
        if now < self.former_until { self.promise.max(self.former) } else { self.promise }
    }

    /// The promise that is to be written before it is given.
    pub(super) fn unwritten(&self) -> Duration {
        if self.durable < self.promise { self.promise } else { Duration::ZERO }
    }

    /// A promise of this length is on the disk.
    pub(super) fn written(&mut self, promise: Duration) {
        self.durable = self.durable.max(promise);
    }

    /// A new term, in which this node has not led yet. What it promised goes on. // H62
    pub(super) fn enter_term(&mut self) {
        self.gave_away = false;
        if crate::plant::planted("promise_dropped_with_the_term") {
            self.promised_until = Monotonic::ZERO;
        }
    }

    /// Promises not to vote, from `now` on; returns for how long in true time, zero if not at all.
    fn give(&mut self, now: Monotonic) -> Duration {
        if self.durable < self.promise {
            return Duration::ZERO; // a crash would forget it // H29
        }
        let until = now.saturating_add(self.kept_for());
        self.promised_until = self.promised_until.max(until);
        self.promise
    }
}

/// How long a promise is kept, on a clock with this drift.
fn kept(drift: Drift, promise: Duration) -> Duration {
    drift.stretch(promise).saturating_add(READING)
}

/// What a message can state: never more than is kept.
fn whole_ms(d: Duration) -> Duration {
    Duration::from_millis(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

impl Raft {
    /// Whether this leader may serve reads at `now` without asking anyone: a quorum has promised
    /// to elect no other before.
    ///
    /// A read sees everything acknowledged before `now` if it is served from a state that holds
    /// [`commit`](Self::commit) as it is after this call. `now` must have been read from the clock
    /// after the read arrived.
    #[must_use]
    pub fn lease_valid(&self, now: Monotonic) -> bool {
        self.lease_until().is_some_and(|until| now <= until)
    }

    /// Until when, by its own clock, this leader may serve reads without asking anyone; none if it
    /// may not at all. The answer may have passed already.
    #[must_use]
    pub fn lease_until(&self) -> Option<Monotonic> {
        let given_away = self.lease.gave_away && !crate::plant::planted("lease_after_timeout_now");
        let may_serve = self.config.lease
            && self.stopped.is_none()
            && self.committed_in_own_term() // H25
            && self.transferee.is_none()
            && !given_away;
        if !may_serve {
            return None;
        }
        // Its own vote it gives to nobody while it leads.
        let find = self.peers_in_order();
        let expiry = |id: NodeId| match find(id) {
            _ if id == self.id => u64::MAX,
            Some(p) => p.promised_until.as_nanos(),
            None => 0,
        };
        let m = &self.membership;
        let until = quorum::committed(&m.voters, &m.outgoing, expiry)?;
        let early = self.config.lease_slack + READING;
        let until = Monotonic::from_nanos(until).saturating_sub(early);
        (until > Monotonic::ZERO).then_some(until)
    }

    /// The stamp of a heartbeat: zero asks for no promise.
    pub(super) const fn lease_stamp(&self) -> Monotonic {
        if self.config.lease { self.now } else { Monotonic::ZERO }
    }

    /// Promises the leader of a heartbeat that was stamped so not to vote for another; returns for
    /// how long.
    pub(super) fn promise_to_leader(&mut self, stamp: Monotonic) -> Duration {
        // Who does not vote at all promises nothing.
        let asked = stamp > Monotonic::ZERO && self.lost().is_none();
        if asked { self.lease.give(self.now) } else { Duration::ZERO }
    }

    /// A member promised not to vote, from when a heartbeat with this stamp reached it. It was sent
    /// no later than it arrived: counting from there is what makes it safe. // H28
    pub(super) fn count_promise(&mut self, i: usize, stamp: Monotonic, promise: Duration) {
        if stamp == Monotonic::ZERO || stamp > self.now {
            return; // leases are off, or no heartbeat was stamped so
        }
        let from = if crate::plant::planted("lease_from_receipt") { self.now } else { stamp };
        let until = from.saturating_add(self.lease.drift.shrink(promise));
        let p = &mut self.peers[i];
        p.promised_until = p.promised_until.max(until);
    }

    /// Until when this replica has promised to grant no vote and to ask for none.
    pub(super) fn promised_until(&self) -> Option<Monotonic> {
        (self.now < self.lease.promised_until).then_some(self.lease.promised_until)
    }

    /// The same for its own candidacy. // H44
    pub(super) fn must_not_campaign_until(&self) -> Option<Monotonic> {
        self.promised_until().filter(|_| !crate::plant::planted("candidacy_breaks_promise"))
    }

    /// `TimeoutNow` goes out: its receiver may be elected against all promises, however late it
    /// arrives. // H27
    pub(super) const fn give_lease_away(&mut self) {
        self.lease.gave_away = true;
    }

    /// Term, vote and commit index, and the longest promise that binds.
    pub(super) fn hard_state(&self) -> HardState {
        let promise = self.lease.on_disk(self.now);
        let (term, vote, lost) = (self.term, self.vote, self.lost);
        HardState { term, vote, commit: self.log.commit, promise, lost }
    }

    /// Forgets who leads, so that a vote may be granted at once.
    ///
    /// # Errors
    /// [`ForgetError`]: nothing was forgotten. // H62
    pub fn forget_leader(&mut self) -> Result<(), ForgetError> {
        if self.role == Role::Leader {
            return Err(ForgetError::Leading);
        }
        if self.config.lease_reads {
            return Err(ForgetError::Promise { until: Monotonic::FAR_FUTURE });
        }
        if let Some(until) = self.promised_until() {
            return Err(ForgetError::Promise { until });
        }
        self.leader.take().map(|_| ()).ok_or(ForgetError::NoLeader)
    }
}
