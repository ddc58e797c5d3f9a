//! Back-pressure of the machine: what is committed and not applied has a limit. A leader over it
//! refuses proposals; a follower over it stops acknowledging appends, so that its leader's window
//! closes. Both go on by themselves once enough is applied. (5.9)

use super::{Raft, Role};
use crate::LogIndex;
use crate::message::Body;
use quorate_transport::NodeId;

/// The limit, in batches of `apply_bytes_max`.
const BATCHES_MAX: u64 = 4;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backlog {
    /// An acknowledgement that this term's leader waits for was held back.
    withheld: bool,
    /// Times that this began.
    pauses: u64,
}

impl Backlog {
    pub(super) const fn pauses(&self) -> u64 {
        self.pauses
    }

    pub(super) const fn withholds(&self) -> bool {
        self.withheld
    }

    /// Another term, or another leader: nobody waits for what was held back.
    pub(super) const fn forget(&mut self) {
        self.withheld = false;
    }
}

impl Raft {
    /// Whether the machine is further behind the commit index than it may be. Entries that are not
    /// committed do not count: to wait with those for the machine could be to wait for ever.
    pub(super) fn machine_lags(&self) -> bool {
        let max = self.config.apply_bytes_max.saturating_mul(BATCHES_MAX);
        let applying = self.out.applying_bytes;
        applying > max || self.log.waits_for_machine(max - applying)
    }

    /// Tells the leader that this log holds its entries up to `index`, or keeps it back while the
    /// machine lags. Nothing is lost by that: the entries are here, and written.
    pub(super) fn acknowledge(&mut self, leader: NodeId, index: LogIndex) {
        if !self.machine_lags() {
            self.send(leader, Body::Accepted { index });
        } else if !self.backlog.withheld {
            self.backlog.withheld = true;
            self.backlog.pauses += 1;
        }
    }

    /// Something was applied: acknowledges what was held back, if that is enough.
    pub(super) fn resume_acknowledging(&mut self) {
        if !self.backlog.withheld || self.machine_lags() {
            return;
        }
        self.backlog.forget();
        // What this leader was seen to agree with; anything committed is in its log as well.
        let index = self.verified.max(self.log.commit);
        if let (Role::Follower, Some(leader)) = (self.role, self.leader) {
            self.send(leader, Body::Accepted { index });
        }
    }
}
