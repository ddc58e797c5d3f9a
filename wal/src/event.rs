//! News about a log for whoever operates it: a bounded queue, read without a callback.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::core::{Core, wake};
use crate::error::Failure;
use crate::lsn::Lsn;
use crate::report::Damage;
use crate::stats::add;
use crate::wal::Lagging;

/// The most events kept until somebody reads them.
const EVENTS_MAX: usize = 1024;

/// Something that happened to a log.
///
/// # Examples
/// ```
/// fn is_urgent(event: &quorate_wal::Event) -> bool {
///     matches!(event, quorate_wal::Event::Poisoned(_) | quorate_wal::Event::NoSpace)
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A sync took at least `slow_sync_after`.
    SlowSync {
        /// How long it took.
        elapsed: Duration,
    },
    /// The log goes on in another segment.
    Rolled {
        /// Its number.
        segment: u64,
        /// The first record in it.
        lsn: Lsn,
    },
    /// A write or a sync failed: the log has stopped.
    Poisoned(Arc<Failure>),
    /// The disk, or `log_bytes_max`, is full: no segment could be prepared.
    NoSpace,
    /// A segment could be prepared again.
    SpaceBack,
    /// A read failed its checksum.
    Damage(Box<Damage>),
    /// The oldest segment stays because of this stream; told once for each segment.
    Lagging(Lagging),
}

/// The queue, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    queue: VecDeque<Event>,
    wakers: Vec<Waker>,
    ended: bool,
}

/// Reads the events of a log; all readers of one log share one queue of 1,024, and what does not
/// fit is dropped and counted in [`Stats::events_dropped`](crate::Stats::events_dropped).
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Config, Event, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// wal.append_blocking(b"the first record of the first segment")?;
/// let event = wal.events().try_next().expect("the log rolled into it");
/// assert!(matches!(event, Event::Rolled { segment: 1, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Events {
    core: Arc<Core>,
}

impl Events {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core) }
    }

    /// The oldest event that nobody has read, if there is one now.
    pub fn try_next(&mut self) -> Option<Event> {
        self.core.events.lock().queue.pop_front()
    }

    /// The next event; `None` when the log was closed or has stopped, and all are read.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut events = self.core.events.lock();
        if let Some(event) = events.queue.pop_front() {
            return Poll::Ready(Some(event));
        }
        if events.ended {
            return Poll::Ready(None);
        }
        if !events.wakers.iter().any(|known| known.will_wake(cx.waker())) {
            events.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for the next event; `None` when the log was closed or has stopped, and all are read.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl Core {
    /// Queues events; called with no lock held but that of maintenance.
    pub(crate) fn tell(&self, news: impl IntoIterator<Item = Event>) {
        let mut dropped = 0;
        let mut wakers = Vec::new();
        {
            let mut events = self.events.lock();
            for event in news {
                if events.queue.len() < EVENTS_MAX {
                    events.queue.push_back(event);
                    wakers = std::mem::take(&mut events.wakers);
                } else {
                    dropped += 1;
                }
            }
        }
        if dropped > 0 {
            add(&self.counters.events_dropped, dropped);
        }
        wake(wakers);
    }

    /// There will be no more events.
    pub(crate) fn end_events(&self) {
        let wakers = {
            let mut events = self.events.lock();
            events.ended = true;
            std::mem::take(&mut events.wakers)
        };
        wake(wakers);
    }
}
