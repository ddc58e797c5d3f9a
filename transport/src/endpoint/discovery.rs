//! Questions to [`Transport::discover`](crate::Transport::discover) and their answers.

use super::DialError;
use super::core::Core;
use crate::{Address, DialId, DownReason, Peer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// One question; its answer may come before its id is known here.
#[derive(Debug, Default)]
struct Dial {
    found: Option<Result<Peer, DownReason>>,
    waker: Option<Waker>,
    /// Nobody waits any more: the answer takes the entry away.
    forgotten: bool,
}

/// All open questions of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Dials(Mutex<BTreeMap<DialId, Dial>>);

impl Dials {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<DialId, Dial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answered(&self, dial: DialId, found: Result<Peer, DownReason>) {
        let mut dials = self.lock();
        let entry = dials.entry(dial).or_default();
        if entry.forgotten {
            dials.remove(&dial);
            return;
        }
        entry.found = Some(found);
        let waker = entry.waker.take();
        drop(dials);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The endpoint is closed: whoever waits looks again.
    pub(super) fn wake_all(&self) {
        let wakers: Vec<_> =
            self.lock().values_mut().filter_map(|dial| dial.waker.take()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Waits for the answer to one question.
pub(super) struct Discovery {
    core: Arc<Core>,
    dial: DialId,
}

impl Discovery {
    pub(super) fn ask(core: &Arc<Core>, address: &Address) -> Result<Self, DialError> {
        if core.is_closed() {
            return Err(DialError::Closed);
        }
        let dial = core.transport().discover(address).map_err(DialError::NotMade)?;
        Ok(Self { core: core.clone(), dial })
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Peer, DialError>> {
        let mut dials = self.core.dials().lock();
        let entry = dials.entry(self.dial).or_default();
        match entry.found {
            Some(found) => Poll::Ready(found.map_err(DialError::Failed)),
            None if self.core.is_closed() => Poll::Ready(Err(DialError::Closed)),
            None => {
                entry.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        let mut dials = self.core.dials().lock();
        let entry = dials.entry(self.dial).or_default();
        if entry.found.is_some() {
            dials.remove(&self.dial);
        } else {
            entry.forgotten = true;
        }
    }
}
