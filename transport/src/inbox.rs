//! The bounded queue between the transport's threads and one component.

use crate::sync::{Mutex, MutexGuard};
use crate::{ChannelId, ChannelStats, InboundCall, Lane, LinkEvent, Peer};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

/// Link events kept per lane of a peer.
const LINKS_MAX: usize = 2;

#[derive(Debug)]
pub(crate) enum Item {
    Message { from: Peer, lane: Lane, body: Bytes },
    Call { call: Arc<InboundCall>, body: Bytes },
    Link(LinkEvent),
}

impl Item {
    /// What it counts against `inbox_messages_max` and `inbox_bytes_max`.
    fn cost(&self) -> (usize, usize) {
        match self {
            Self::Message { body, .. } | Self::Call { body, .. } => (1, body.len()),
            Self::Link(_) => (0, 0),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) channel: ChannelId,
    pub(crate) links: bool,
    messages_max: usize,
    bytes_max: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    messages: usize,
    bytes: usize,
    waker: Option<Waker>,
    closed: bool,
    stats: ChannelStats,
}

/// What became of a pushed item.
pub(crate) enum Pushed {
    Taken(Option<Waker>),
    Full(Item),
    Closed(Item),
}

impl Inbox {
    pub(crate) fn new(channel: ChannelId, links: bool, messages: u32, bytes: u32) -> Self {
        Self {
            channel,
            links,
            messages_max: usize::try_from(messages).unwrap_or(usize::MAX),
            bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX),
            queue: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits: a component that does not read delays only its own channel. // H28
    pub(crate) fn push(&self, item: Item) -> Pushed {
        let mut queue = self.lock();
        if queue.closed {
            return Pushed::Closed(item);
        }
        let (messages, bytes) = item.cost();
        let crowded = queue.messages + messages > self.messages_max
            || queue.bytes.saturating_add(bytes) > self.bytes_max;
        if crowded && queue.messages > 0 && messages > 0 {
            match item {
                Item::Call { .. } => queue.stats.overloaded += 1,
                Item::Message { .. } | Item::Link(_) => queue.stats.dropped += 1,
            }
            return Pushed::Full(item); // H27
        }
        if let Item::Link(event) = &item {
            coalesce(&mut queue.items, event);
        }
        queue.messages += messages;
        queue.bytes += bytes;
        queue.items.push_back(item);
        let depth = u64::try_from(queue.messages).unwrap_or(u64::MAX);
        queue.stats.depth_max = queue.stats.depth_max.max(depth);
        Pushed::Taken(queue.waker.take())
    }

    pub(crate) fn pop(&self) -> Option<Item> {
        let mut queue = self.lock();
        let item = queue.items.pop_front()?;
        let (messages, bytes) = item.cost();
        queue.messages -= messages;
        queue.bytes -= bytes;
        Some(item)
    }

    /// `Ready(None)` once closed.
    pub(crate) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<Item>> {
        if let Some(item) = self.pop() {
            return Poll::Ready(Some(item));
        }
        let mut queue = self.lock();
        if !queue.items.is_empty() {
            drop(queue);
            return Poll::Ready(self.pop());
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        if !queue.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Removes a call that is still queued.
    pub(crate) fn remove(&self, call: &Arc<InboundCall>) {
        let mut queue = self.lock();
        let found = queue.items.iter().rposition(
            |item| matches!(item, Item::Call { call: other, .. } if Arc::ptr_eq(call, other)),
        );
        let Some(item) = found.and_then(|at| queue.items.remove(at)) else { return };
        let (messages, bytes) = item.cost();
        queue.messages -= messages;
        queue.bytes -= bytes;
    }

    /// Takes nothing more; what is queued comes back, and the waker.
    pub(crate) fn close(&self) -> (VecDeque<Item>, Option<Waker>) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.messages = 0;
        queue.bytes = 0;
        (std::mem::take(&mut queue.items), queue.waker.take())
    }

    pub(crate) fn stats(&self) -> ChannelStats {
        let queue = self.lock();
        let mut stats = queue.stats;
        stats.depth = u64::try_from(queue.messages).unwrap_or(u64::MAX);
        stats.bytes = u64::try_from(queue.bytes).unwrap_or(u64::MAX);
        stats
    }
}

/// At most two events per lane wait: the oldest, which says what ended, and the newest, which says
/// what is now.
fn coalesce(items: &mut VecDeque<Item>, event: &LinkEvent) {
    let key = |e: &LinkEvent| (e.node(), e.lane());
    let same = |item: &Item| matches!(item, Item::Link(e) if key(e) == key(event));
    if event.node().is_some()
        && items.iter().filter(|item| same(item)).count() >= LINKS_MAX
        && let Some(at) = items.iter().rposition(same)
    {
        items.remove(at);
    }
}
