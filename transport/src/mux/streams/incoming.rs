//! The receiving side of one stream.

use super::super::{MuxEffect, MuxOutput};
use super::{RESET_CHECKSUM, RESET_FLOW, RESET_TRUNCATED};
use crate::stream::CHUNK_MAX;
use crate::{ChannelId, StreamError};
use bytes::Bytes;
use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// Chunks below this are joined: a sender of tiny chunks must not cost a list of tiny buffers.
const JOIN_BELOW: usize = 4 * 1024;
/// Where joining begins a new piece.
const JOINED_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Incoming {
    channel: ChannelId,
    chunks: VecDeque<Bytes>,
    /// Tiny chunks after the last of `chunks`, joined.
    tail: Vec<u8>,
    /// Bytes the sender may still send.
    credit: u64,
    /// Bytes the component took that are not granted again yet.
    owed: u64,
    received: u64,
    crc: crc32fast::Hasher,
    state: State,
    /// Whether a failure is the other side's word, or was told to it.
    told: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    /// All bytes came and are the right ones. // H22
    Whole,
    Failed(StreamError),
}

impl Incoming {
    pub(super) fn new(channel: ChannelId, window: u64) -> Self {
        Self {
            channel,
            chunks: VecDeque::new(),
            tail: Vec::new(),
            credit: window,
            owed: 0,
            received: 0,
            crc: crate::crc::hasher(),
            state: State::Open,
            told: false,
            waker: None,
        }
    }

    pub(super) const fn channel(&self) -> ChannelId {
        self.channel
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether both sides know how it ended.
    pub(super) const fn is_told(&self) -> bool {
        self.told
    }

    fn wake(&mut self, out: &mut MuxOutput) {
        if let Some(waker) = self.waker.take() {
            out.push(MuxEffect::Wake { waker });
        }
    }

    /// The error: the code of a reset to answer with, or `None` if the stream is over already.
    pub(super) fn data(&mut self, chunk: Bytes, out: &mut MuxOutput) -> Result<(), Option<u32>> {
        if !self.is_live() {
            return Err(None);
        }
        let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if bytes == 0 || chunk.len() > CHUNK_MAX || bytes > self.credit {
            self.reset(StreamError::Flow, out);
            return Err(Some(RESET_FLOW));
        }
        self.credit -= bytes;
        self.received += bytes;
        self.crc.update(&chunk);
        if chunk.len() < JOIN_BELOW {
            if self.tail.len() + chunk.len() > JOINED_MAX {
                self.flush_tail();
            }
            self.tail.extend_from_slice(&chunk);
        } else {
            self.flush_tail();
            self.chunks.push_back(chunk);
        }
        self.wake(out);
        Ok(())
    }

    fn flush_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.tail).into());
        }
    }

    /// The sender says what it sent: total and CRC.
    pub(super) fn end(&mut self, body: &[u8], out: &mut MuxOutput) -> Result<(), Option<u32>> {
        if !self.is_live() {
            return Err(None);
        }
        let Some((total, crc)) = read_end(body) else {
            self.reset(StreamError::Flow, out);
            return Err(Some(RESET_FLOW));
        };
        if total != self.received {
            let (expected, received) = (Some(total), Some(self.received));
            self.reset(StreamError::Truncated { expected, received }, out);
            return Err(Some(RESET_TRUNCATED));
        }
        if crc != self.crc.clone().finalize() {
            self.reset(StreamError::Checksum, out);
            return Err(Some(RESET_CHECKSUM));
        }
        self.state = State::Whole;
        self.wake(out);
        Ok(())
    }

    /// A failure that the other side said, or is told by the reset that follows.
    pub(super) fn reset(&mut self, error: StreamError, out: &mut MuxOutput) -> bool {
        let first = self.fail(error, out);
        self.told |= first;
        first
    }

    /// The first verdict stays; what is buffered is dropped with a failure.
    fn fail(&mut self, error: StreamError, out: &mut MuxOutput) -> bool {
        if !self.is_live() {
            return false;
        }
        self.state = State::Failed(error);
        self.chunks = VecDeque::new();
        self.tail = Vec::new();
        self.wake(out);
        true
    }

    /// What is not whole never will be; what is whole stays.
    pub(super) fn session_ended(&mut self, out: &mut MuxOutput) {
        if self.is_live() {
            let (expected, received) = (None, Some(self.received));
            self.fail(StreamError::Truncated { expected, received }, out);
        }
    }

    pub(super) fn poll_chunk(&mut self, waker: &Waker) -> Poll<Result<Option<Bytes>, StreamError>> {
        if self.chunks.is_empty() {
            self.flush_tail();
        }
        if let Some(chunk) = self.chunks.pop_front() {
            self.owed += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            return Poll::Ready(Ok(Some(chunk)));
        }
        match self.state {
            State::Whole => Poll::Ready(Ok(None)),
            State::Failed(error) => Poll::Ready(Err(error)),
            State::Open => {
                if !self.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
                    self.waker = Some(waker.clone());
                }
                Poll::Pending
            }
        }
    }

    /// Credit to give back, once half a window is owed; nothing after the end.
    pub(super) fn take_grant(&mut self, half: u64) -> Option<u32> {
        if self.owed < half.max(1) || !self.is_live() {
            return None;
        }
        let grant = u32::try_from(self.owed).ok()?;
        self.owed = 0;
        self.credit += u64::from(grant);
        Some(grant)
    }

    /// Whether the component may accept it.
    pub(super) const fn verdict(&self) -> Result<(), StreamError> {
        match self.state {
            State::Whole => Ok(()),
            State::Failed(error) => Err(error),
            State::Open => Err(StreamError::Unfinished),
        }
    }
}

/// Total u64, crc u32, 0 u32.
fn read_end(body: &[u8]) -> Option<(u64, u32)> {
    let total = u64::from_le_bytes(body.get(..8)?.try_into().ok()?);
    let crc = u32::from_le_bytes(body.get(8..12)?.try_into().ok()?);
    (body.len() == 16).then_some((total, crc))
}
