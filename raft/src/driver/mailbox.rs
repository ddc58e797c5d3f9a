//! [`Mailbox`]: where threads and tasks report to the task that owns the core.

use super::apply::Applied;
use super::changes::Asked;
use super::pending::Pending;
use crate::core::{ApplyToken, LoadId};
use crate::error::StoreError;
use crate::sync::Lock;
use crate::{Block, Membership, SnapshotMeta, Term};
use bytes::Bytes;
use core::task::{Context, Poll, Waker};
use quorate_transport::{CallError, NodeId};
use std::collections::VecDeque;
use std::sync::Arc;

/// Something that was started by the owner of the core has ended.
pub(super) enum Report {
    Stored(Result<(), StoreError>),
    Loaded(LoadId, Result<Vec<Block>, StoreError>),
    Applied {
        token: ApplyToken,
        applied: Applied,
    },
    /// The machine misbehaved: the replica must stop.
    MachineFailed(Arc<str>),
    Restored(SnapshotMeta),
    Forwarded {
        batch: Vec<Pending>,
        result: Result<Bytes, CallError>,
    },
    ChangeAnswered {
        asked: Asked,
        result: Result<Bytes, CallError>,
    },
    /// A founder answered the roll call, or did not.
    Rolled {
        founder: NodeId,
        result: Result<Bytes, CallError>,
    },
    /// The founders' disks are recorded.
    Founded(Result<Membership, StoreError>),
    SnapshotMade(Result<SnapshotMeta, Arc<str>>),
    SnapshotSent {
        to: NodeId,
        ok: bool,
    },
    /// As many as may be sent are on their way.
    SnapshotPostponed {
        to: NodeId,
    },
    SnapshotReceived {
        from: NodeId,
        term: Term,
        meta: SnapshotMeta,
    },
}

/// A queue from many to one. Its length is bounded by what the owner has started and what has a
/// limit of its own: appends, loads, applies, forwards, snapshots.
#[derive(Clone, Default)]
pub(super) struct Mailbox {
    shared: Arc<Lock<Queue>>,
}

#[derive(Default)]
struct Queue {
    reports: VecDeque<Report>,
    waker: Option<Waker>,
}

impl Mailbox {
    pub(super) fn push(&self, report: Report) {
        let mut queue = self.shared.lock();
        queue.reports.push_back(report);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whoever takes is awake, and looks again before it sleeps: no need to be woken.
    pub(super) fn disarm(&self) {
        let waker = self.shared.lock().waker.take();
        drop(waker);
    }

    /// Takes the first report if it is of a write that went well.
    pub(super) fn take_stored(&self) -> bool {
        let mut queue = self.shared.lock();
        let stored = matches!(queue.reports.front(), Some(Report::Stored(Ok(()))));
        if stored {
            queue.reports.pop_front();
        }
        stored
    }

    /// Moves everything into `out`; pending if there is nothing.
    pub(super) fn poll_take(&self, cx: &Context<'_>, out: &mut Vec<Report>) -> Poll<()> {
        let mut queue = self.shared.lock();
        if queue.reports.is_empty() {
            queue.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        out.extend(queue.reports.drain(..));
        Poll::Ready(())
    }
}
