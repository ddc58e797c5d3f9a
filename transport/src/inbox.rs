//! The bounded queue between the transport's threads and one component.

use crate::sync::{Mutex, MutexGuard};
use crate::{ChannelId, ChannelStats, InboundCall, Lane, LinkEvent, MuxEffect, Peer, StreamId};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

/// Link events kept per lane of a peer.
const LINKS_MAX: usize = 2;

#[derive(Debug)]
pub(crate) enum Item {
    Message { from: Peer, lane: Lane, body: Bytes },
    Datagram { from: Peer, body: Bytes },
    Call { call: Arc<InboundCall>, body: Bytes },
    Stream { from: Peer, id: StreamId, head: Bytes },
    Link(LinkEvent),
}

impl Item {
    /// A message or call as it waits for its component.
    pub(crate) fn plain(effect: MuxEffect) -> Option<Self> {
        match effect {
            MuxEffect::Message { from, lane, body, .. } => Some(Self::Message { from, lane, body }),
            MuxEffect::Call { call, body } => Some(Self::Call { call, body }),
            _ => None,
        }
    }

    /// What it counts against `inbox_messages_max` and `inbox_bytes_max`.
    fn cost(&self) -> (usize, usize) {
        match self {
            Self::Message { body, .. } | Self::Datagram { body, .. } | Self::Call { body, .. } => {
                (1, body.len())
            }
            Self::Stream { head, .. } => (1, head.len()),
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

/// What became of pushed items.
pub(crate) enum Pushed {
    /// Taken, but for those given back because there was no room.
    Taken(Option<Waker>),
    /// All were given back: the channel is closed.
    Closed,
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
    pub(crate) fn push_all(
        &self,
        items: &mut dyn Iterator<Item = Item>,
        refused: &mut Vec<Item>,
    ) -> Pushed {
        while crate::mutant::on("inbox_full_waits") && self.lock().messages >= self.messages_max {
            std::thread::yield_now();
        }
        let mut queue = self.lock();
        if queue.closed {
            refused.extend(items);
            return Pushed::Closed;
        }
        for item in items {
            refused.extend(self.push(&mut queue, item));
        }
        let depth = u64::try_from(queue.messages).unwrap_or(u64::MAX);
        queue.stats.depth_max = queue.stats.depth_max.max(depth);
        Pushed::Taken(queue.waker.take())
    }

    /// The item itself if there is no room for it.
    fn push(&self, queue: &mut Queue, item: Item) -> Option<Item> {
        let (messages, bytes) = item.cost();
        let crowded = queue.messages + messages > self.messages_max
            || queue.bytes.saturating_add(bytes) > self.bytes_max;
        if crowded && queue.messages > 0 && messages > 0 {
            match item {
                Item::Call { .. } | Item::Stream { .. } => queue.stats.overloaded += 1,
                Item::Message { .. } | Item::Datagram { .. } | Item::Link(_) => {
                    queue.stats.dropped += 1;
                }
            }
            return Some(item); // H27
        }
        if let Item::Link(event) = &item {
            coalesce(&mut queue.items, event);
        }
        queue.messages += messages;
        queue.bytes += bytes;
        queue.stats.received += u64::try_from(messages).unwrap_or(0);
        queue.items.push_back(item);
        None
    }

    pub(crate) fn pop(&self) -> Option<Item> {
        self.lock().pop()
    }

    /// `Ready(None)` once closed.
    pub(crate) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<Item>> {
        let mut queue = self.lock();
        if let Some(item) = queue.pop() {
            return Poll::Ready(Some(item));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        if !queue.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Removes a call that is still queued. Whether it was.
    pub(crate) fn remove(&self, call: &Arc<InboundCall>) -> bool {
        let mut queue = self.lock();
        let found = queue.items.iter().rposition(
            |item| matches!(item, Item::Call { call: other, .. } if Arc::ptr_eq(call, other)),
        );
        let Some(item) = found.and_then(|at| queue.items.remove(at)) else { return false };
        let (messages, bytes) = item.cost();
        queue.messages -= messages;
        queue.bytes -= bytes;
        true
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

impl Queue {
    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        let (messages, bytes) = item.cost();
        self.messages -= messages;
        self.bytes -= bytes;
        Some(item)
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
