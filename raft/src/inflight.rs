//! [`Inflights`]: the append messages on their way to one peer, bounded by count and bytes.

use crate::LogIndex;
use std::collections::VecDeque;

/// Last index and bytes of each append that was sent and not acknowledged, oldest first.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Inflights {
    sent: VecDeque<(LogIndex, u64)>,
    bytes: u64,
    messages_max: usize,
    bytes_max: u64,
}

impl Inflights {
    pub(crate) const fn new(messages_max: usize, bytes_max: u64) -> Self {
        Self { sent: VecDeque::new(), bytes: 0, messages_max, bytes_max }
    }

    /// At the message limit, or at or over the byte limit: one message may exceed the latter, so
    /// that an entry larger than the window still goes out, alone.
    pub(crate) fn is_full(&self) -> bool {
        self.sent.len() >= self.messages_max || self.bytes >= self.bytes_max
    }

    pub(crate) fn len(&self) -> usize {
        self.sent.len()
    }

    pub(crate) fn add(&mut self, last: LogIndex, bytes: u64) {
        debug_assert!(!self.is_full(), "nothing is sent to a peer whose window is full");
        self.sent.push_back((last, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Everything up to `index` arrived.
    pub(crate) fn free_to(&mut self, index: LogIndex) {
        while let Some((last, bytes)) = self.sent.front().copied() {
            if last > index {
                break;
            }
            self.bytes = self.bytes.saturating_sub(bytes);
            self.sent.pop_front();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.sent.clear();
        self.bytes = 0;
    }
}
