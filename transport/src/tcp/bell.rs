//! [`Bell`]: wakes the one task that writes a connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Remembers one ring until somebody asks.
#[derive(Debug, Default)]
pub(super) struct Bell(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rung: bool,
    waker: Option<Waker>,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ring(&self) {
        let mut inner = self.lock();
        inner.rung = true;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once per ring, however often it was rung since.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.rung) {
            return Poll::Ready(());
        }
        inner.listen(cx);
        Poll::Pending
    }

    /// Wakes this task at the next ring, without answering to earlier ones.
    #[cfg(feature = "tls")]
    pub(super) fn listen(&self, cx: &Context<'_>) {
        self.lock().listen(cx);
    }
}

impl Inner {
    fn listen(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}
