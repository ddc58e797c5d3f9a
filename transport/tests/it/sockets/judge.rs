//! What nodes on sockets are told, judged as it comes in.

use crate::support::counts;
use quorate_transport::*;
use std::collections::{BTreeMap, BTreeSet};

/// One life of a node.
pub type Life = (NodeId, Incarnation);

pub fn life(identity: Identity) -> Life {
    (identity.node, identity.incarnation)
}

#[derive(Default)]
pub struct Judge {
    /// Sessions that are up, by who is told, of whom, and lane.
    open: BTreeMap<(Life, NodeId, Lane), (SessionId, Incarnation)>,
    newest: BTreeMap<(Life, NodeId), Incarnation>,
    /// Last message, by receiver, sender and lane.
    messages: BTreeMap<(Life, Life, Lane), u64>,
    delivered: BTreeSet<u64>,
    unsent: BTreeSet<u64>,
    calls: BTreeMap<u64, Call>,
    violations: Vec<String>,
    pub counts: Counts,
}

#[derive(Default)]
struct Call {
    idempotent: bool,
    executed: u32,
}

counts!(Counts:
    messages,
    unsent,
    answered,
    rejected,
    not_sent,
    maybe,
    resets,
    restarts,
    zombies,
    removals,
    panics,
    holds,
    down_restarted,
    down_replaced,
    down_reset,
    down_closed,
    down_io,
);

impl Judge {
    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(what());
        }
    }

    /// The node forgets what it knew of the peer's lives.
    pub fn forgets(&mut self, me: Life, peer: NodeId) {
        self.newest.remove(&(me, peer));
    }

    pub fn up(&mut self, me: Life, peer: Peer, lane: Lane, session: SessionId) {
        let of_peer = |(to, of, _): &(Life, NodeId, Lane)| *to == me && *of == peer.node;
        let older = self
            .open
            .iter()
            .find(|(key, (_, life))| of_peer(key) && (*life < peer.incarnation || key.2 == lane));
        let older = older.map(|(key, session)| (*key, *session));
        self.expect(older.is_none(), || {
            format!("{me:?}: {peer:?} {lane} up before down: {older:?}")
        });
        self.not_older(me, peer);
        self.open.insert((me, peer.node, lane), (session, peer.incarnation));
    }

    pub fn down(&mut self, me: Life, of: NodeId, lane: Lane, session: SessionId, why: DownReason) {
        let was = self.open.remove(&(me, of, lane)).map(|(session, _)| session);
        self.expect(was == Some(session), || format!("{me:?}: {of} {lane} down, {was:?} was up"));
        let counts = &mut self.counts;
        match why {
            DownReason::Restarted => counts.down_restarted += 1,
            DownReason::Replaced => counts.down_replaced += 1,
            DownReason::Reset => counts.down_reset += 1,
            DownReason::Closed => counts.down_closed += 1,
            DownReason::Io(_) => counts.down_io += 1,
            _ => {}
        }
    }

    /// G9.
    fn not_older(&mut self, me: Life, peer: Peer) {
        let newest = self.newest.entry((me, peer.node)).or_insert(peer.incarnation);
        let known = *newest;
        *newest = known.max(peer.incarnation);
        self.expect(peer.incarnation >= known, || format!("{me:?}: {peer:?} after {known}"));
    }

    pub fn frame(&mut self, me: Life, from: Peer, lane: Lane, session: SessionId) {
        let up = self.open.get(&(me, from.node, lane)).copied();
        let own = Some((session, from.incarnation));
        self.expect(up == own, || {
            format!("{me:?}: a frame of {from:?} {lane} {session:?}, {up:?}")
        });
        self.not_older(me, from);
    }

    /// G1, G2: once, in order, and not if it came back.
    pub fn message(&mut self, me: Life, from: Peer, lane: Lane, id: u64) {
        self.counts.messages += 1;
        let key = (me, (from.node, from.incarnation), lane);
        let last = self.messages.insert(key, id).unwrap_or(0);
        self.expect(last < id, || format!("{key:?}: {id} after {last}"));
        let fresh = self.delivered.insert(id) && !self.unsent.contains(&id);
        self.expect(fresh, || format!("{key:?}: {id} twice, or though it came back"));
    }

    pub fn came_back(&mut self, id: u64) {
        self.counts.unsent += 1;
        let fresh = self.unsent.insert(id) && !self.delivered.contains(&id);
        self.expect(fresh, || format!("{id} came back twice, or though it was delivered"));
    }

    pub fn call_begins(&mut self, id: u64, idempotent: bool) {
        self.calls.insert(id, Call { idempotent, executed: 0 });
    }

    pub fn executes(&mut self, id: u64) {
        let call = self.calls.entry(id).or_default();
        call.executed += 1;
        let (times, idempotent) = (call.executed, call.idempotent);
        self.expect(times == 1, || format!("call {id} ({idempotent}) executed {times} times"));
    }

    /// G5.
    pub fn call_ends(&mut self, id: u64, outcome: &Result<(), CallError>) {
        let executed = self.calls.get(&id).map_or(0, |call| call.executed);
        let (counter, agrees) = match outcome {
            Ok(()) => (&mut self.counts.answered, executed == 1),
            Err(CallError::NotSent(_)) => (&mut self.counts.not_sent, executed == 0),
            Err(CallError::Rejected(_)) => (&mut self.counts.rejected, executed == 0),
            Err(_) => (&mut self.counts.maybe, true),
        };
        *counter += 1;
        self.expect(agrees, || format!("call {id}: {outcome:?}, executed {executed} times"));
    }

    /// The node is gone: nothing of it may be up.
    pub fn gone(&mut self, me: Life) {
        let left: Vec<_> = self.open.keys().filter(|key| key.0 == me).copied().collect();
        self.expect(left.is_empty(), || format!("never down: {left:?}"));
    }

    pub fn verdict(&self) {
        assert!(self.violations.is_empty(), "{:#?}", self.violations);
    }
}
