//! Calls of the peer that are queued or being handled here.

use super::Prefix;
use crate::{ChannelId, Frame, Lane, NodeId, Peer, SessionId};
use quorate_clocks::Monotonic;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// A call that came in, for as long as it is not answered.
///
/// # Examples
/// ```
/// fn show(call: &quorate_transport::InboundCall) -> String {
///     format!("call {} from node {}", call.id(), call.from().node)
/// }
/// # let _ = show;
/// ```
#[derive(Debug)]
pub struct InboundCall {
    id: u64,
    channel: ChannelId,
    lane: Lane,
    from: Peer,
    session: SessionId,
    arrived: Monotonic,
    deadline: Monotonic,
    /// Its name for the table of idempotent calls, if it is one.
    prefix: Option<Prefix>,
    revoked: Mutex<Revoked>,
}

#[derive(Debug, Default)]
struct Revoked {
    yes: bool,
    waker: Option<Waker>,
}

impl InboundCall {
    pub(super) fn new(
        frame: &Frame,
        from: Peer,
        lane: Lane,
        session: SessionId,
        now: Monotonic,
        prefix: Option<Prefix>,
    ) -> Self {
        Self {
            id: frame.id,
            channel: frame.channel,
            lane,
            from,
            session,
            arrived: now,
            // The caller's remaining time counts from arrival, by this node's clock. // H7
            deadline: now.saturating_add(Duration::from_millis(u64::from(frame.aux.max(1)))),
            prefix,
            revoked: Mutex::default(),
        }
    }

    /// The caller's name of it.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The component it is for.
    #[must_use]
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The lane it came on and its answer goes on.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// Who calls.
    #[must_use]
    pub const fn from(&self) -> Peer {
        self.from
    }

    /// The session it came in.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// When it came.
    #[must_use]
    pub const fn arrived(&self) -> Monotonic {
        self.arrived
    }

    /// When the caller gives up, by this node's clock.
    #[must_use]
    pub const fn deadline(&self) -> Monotonic {
        self.deadline
    }

    pub(crate) const fn prefix(&self) -> Option<Prefix> {
        self.prefix
    }

    pub(crate) const fn node(&self) -> NodeId {
        self.from.node
    }

    /// Whether the caller gave up or its session ended.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).yes
    }

    pub(super) fn revoke(&self, wake: impl FnMut(Waker)) {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.yes = true;
        revoked.waker.take().into_iter().for_each(wake);
    }

    /// Keeps the waker unless revoked, which it returns.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        if !revoked.yes {
            revoked.waker = Some(waker.clone());
        }
        revoked.yes
    }
}

#[derive(Debug)]
pub(super) struct Inbound {
    max: usize,
    calls: BTreeMap<u64, Arc<InboundCall>>,
}

pub(super) enum Inserted {
    Yes(Arc<InboundCall>),
    Full,
    Taken,
}

impl Inbound {
    pub(super) fn new(max: u32) -> Self {
        Self { max: usize::try_from(max).unwrap_or(usize::MAX), calls: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn insert(&mut self, call: InboundCall) -> Inserted {
        if self.calls.contains_key(&call.id) {
            return Inserted::Taken;
        }
        if self.calls.len() >= self.max {
            return Inserted::Full;
        }
        let call = Arc::new(call);
        self.calls.insert(call.id, call.clone());
        Inserted::Yes(call)
    }

    /// Forgets this very call; `None` if it was revoked (and its id perhaps used again).
    pub(super) fn remove(&mut self, call: &InboundCall) -> Option<Arc<InboundCall>> {
        let found = self.calls.get(&call.id)?;
        if !std::ptr::eq(&raw const **found, call) {
            return None;
        }
        self.calls.remove(&call.id)
    }

    /// Takes back a call that was removed and is not answered after all. If it was cancelled or
    /// lost its session in between, its answer is a late frame, which its caller ignores. // H10
    pub(super) fn restore(&mut self, call: Arc<InboundCall>) {
        self.calls.entry(call.id).or_insert(call);
    }

    pub(super) fn cancel(&mut self, id: u64, lane: Lane) -> Option<Arc<InboundCall>> {
        if self.calls.get(&id)?.lane != lane {
            return None;
        }
        self.calls.remove(&id)
    }

    /// All calls that came on a lane.
    pub(super) fn take_lane(&mut self, lane: Lane) -> Vec<Arc<InboundCall>> {
        let mut taken = Vec::new();
        self.calls.retain(|_, call| {
            let goes = call.lane == lane;
            if goes {
                taken.push(call.clone());
            }
            !goes
        });
        taken
    }
}
