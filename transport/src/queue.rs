//! [`LaneQueue`]: the bounded queue of one lane, with a share per channel.

use crate::{ChannelId, Frame, SendError};
use std::collections::VecDeque;

/// Frames of the endpoint's own (pings, cancels; they have no body) beyond the limits.
const RESERVE: usize = 64;
/// Bytes of a frame without a body.
const HEADER: usize = 32;

/// Frames accepted and not yet given to the kernel. What the writer holds in its hands still
/// counts, until [`settle`](Self::settle). // H27
#[derive(Debug)]
pub(crate) struct LaneQueue {
    frames: VecDeque<Frame>,
    /// Frames and bytes here and in the writer's hands.
    count: usize,
    bytes: usize,
    shares: Vec<(ChannelId, usize)>,
    bytes_max: usize,
    frames_max: usize,
    share_max: usize,
}

impl LaneQueue {
    pub(crate) fn new(bytes_max: usize, frames_max: usize, share_percent: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            count: 0,
            bytes: 0,
            shares: Vec::new(),
            bytes_max,
            frames_max,
            share_max: bytes_max / 100 * share_percent,
        }
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits and nothing is in the writer's hands.
    pub(crate) const fn is_settled(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Half of what one channel may hold: a channel that alone filled its share must not be told
    /// that the lane has room.
    pub(crate) const fn is_below_half(&self) -> bool {
        self.bytes <= self.share_max / 2 && self.count <= self.frames_max / 2
    }

    fn share(&mut self, channel: ChannelId) -> &mut usize {
        if let Some(at) = self.shares.iter().position(|(c, _)| *c == channel) {
            return &mut self.shares[at].1;
        }
        self.shares.retain(|(_, bytes)| *bytes > 0);
        self.shares.push((channel, 0));
        let last = self.shares.len() - 1;
        &mut self.shares[last].1
    }

    /// An empty queue takes any legal frame; else the lane's limits and the channel's share hold.
    pub(crate) fn admit(&mut self, frame: &Frame) -> Result<(), SendError> {
        let bytes = frame.wire_len();
        if self.count == 0 {
            return Ok(());
        }
        // A flood of messages must not keep the pings out that prove the peer alive.
        let endpoint = frame.channel == ChannelId::ENDPOINT;
        let (more_frames, more_bytes) = if endpoint { (RESERVE, RESERVE * HEADER) } else { (0, 0) };
        let over = self.count >= self.frames_max + more_frames
            || self.bytes.saturating_add(bytes) > self.bytes_max + more_bytes;
        let share_max = self.share_max;
        let share = *self.share(frame.channel);
        let crowds = share > 0 && share.saturating_add(bytes) > share_max;
        if over || crowds && !endpoint {
            return Err(SendError::Full);
        }
        Ok(())
    }

    /// Counts a frame that goes past the queue, into the writer's hands.
    pub(crate) fn count(&mut self, frame: &Frame) {
        let bytes = frame.wire_len();
        self.count += 1;
        self.bytes += bytes;
        *self.share(frame.channel) += bytes;
    }

    /// Appends an admitted frame.
    pub(crate) fn push(&mut self, frame: Frame) {
        self.count(&frame);
        self.frames.push_back(frame);
    }

    /// Moves everything into the writer's (empty) hands; it still counts.
    pub(crate) fn take(&mut self, hands: &mut VecDeque<Frame>) {
        if hands.is_empty() {
            std::mem::swap(&mut self.frames, hands);
        } else {
            hands.append(&mut self.frames);
        }
    }

    /// A frame left the writer's hands.
    pub(crate) fn settle(&mut self, channel: ChannelId, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
        *self.share(channel) -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(channel: u16, bytes: usize) -> Frame {
        Frame::message(ChannelId::new(channel), vec![0; bytes - 32])
    }

    #[test]
    fn an_empty_queue_takes_any_frame() {
        let mut queue = LaneQueue::new(1_000, 10, 50);
        let huge = frame(1, 5_000);
        assert_eq!(queue.admit(&huge), Ok(()));
        queue.push(huge);
        assert_eq!(queue.admit(&frame(2, 32)), Err(SendError::Full));
    }

    #[test]
    fn a_channel_keeps_to_its_share() {
        let mut queue = LaneQueue::new(1_000, 10, 50);
        queue.push(frame(1, 400));
        assert_eq!(queue.admit(&frame(1, 101)), Err(SendError::Full));
        assert_eq!(queue.admit(&frame(1, 100)), Ok(()));
        assert_eq!(queue.admit(&frame(2, 600)), Ok(()), "nothing of its own waits");
        assert_eq!(queue.admit(&frame(2, 601)), Err(SendError::Full));
    }

    #[test]
    fn a_full_queue_has_room_for_a_few_pings() {
        let mut queue = LaneQueue::new(1_000, 3, 100);
        (0..3).for_each(|_| queue.push(frame(1, 100)));
        assert_eq!(queue.admit(&frame(1, 32)), Err(SendError::Full));
        for _ in 0..RESERVE {
            assert_eq!(queue.admit(&frame(0, 32)), Ok(()));
            queue.push(frame(0, 32));
        }
        assert_eq!(queue.admit(&frame(0, 32)), Err(SendError::Full));
    }

    #[test]
    fn what_the_writer_holds_still_counts() {
        let mut queue = LaneQueue::new(1_000, 2, 100);
        let mut hands = VecDeque::new();
        queue.push(frame(1, 100));
        queue.push(frame(1, 100));
        queue.take(&mut hands);
        assert!(queue.is_empty() && !queue.is_settled());
        assert_eq!(queue.admit(&frame(1, 32)), Err(SendError::Full));
        hands.iter().for_each(|f| queue.settle(f.channel, f.wire_len()));
        assert!(queue.is_settled() && queue.bytes() == 0);
    }
}
