//! The sending side of one stream.

use super::super::{MuxEffect, MuxOutput};
use crate::{ChannelId, StreamError};
use std::task::{Poll, Waker};

#[derive(Debug)]
pub(super) struct Outgoing {
    channel: ChannelId,
    /// The receiver's window; 0 while it is not known.
    window: u64,
    /// Bytes that may be sent now.
    credit: u64,
    /// Whether `StreamEnd` may be with the receiver.
    ended: bool,
    outcome: Option<Result<(), StreamError>>,
    /// Whether the outcome is the other side's word, or was told to it.
    told: bool,
    waker: Option<Waker>,
}

impl Outgoing {
    pub(super) const fn new(channel: ChannelId, window: u64) -> Self {
        let (credit, ended, outcome) = (window, false, None);
        Self { channel, window, credit, ended, outcome, told: false, waker: None }
    }

    pub(super) const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Whether both sides know how it ended. One that failed here because a session ended may be
    /// open at the other side, which saw that end earlier or later.
    pub(super) const fn is_told(&self) -> bool {
        self.told
    }

    pub(super) const fn is_live(&self) -> bool {
        self.outcome.is_none()
    }

    fn wake(&mut self, out: &mut MuxOutput) {
        if let Some(waker) = self.waker.take() {
            out.push(MuxEffect::Wake { waker });
        }
    }

    fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    pub(super) fn begin(&mut self, window: u64, out: &mut MuxOutput) {
        if self.window == 0 {
            self.window = window;
            self.credit = window;
            self.wake(out);
        }
    }

    pub(super) fn poll_credit(&mut self, waker: &Waker) -> Poll<Result<u64, StreamError>> {
        match self.outcome {
            Some(Err(error)) => return Poll::Ready(Err(error)),
            Some(Ok(())) => return Poll::Ready(Err(StreamError::Flow)),
            None if self.credit > 0 => return Poll::Ready(Ok(self.credit)),
            None => {}
        }
        self.register(waker);
        Poll::Pending
    }

    pub(super) fn spend(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.credit, "more sent than was granted");
        self.credit = self.credit.saturating_sub(bytes);
    }

    pub(super) const fn end(&mut self, yes: bool) {
        self.ended = yes;
    }

    pub(super) fn poll_done(&mut self, waker: &Waker) -> Poll<Result<(), StreamError>> {
        if let Some(outcome) = self.outcome {
            return Poll::Ready(outcome);
        }
        self.register(waker);
        Poll::Pending
    }

    /// False if more was granted than the window: the stream fails then.
    pub(super) fn grant(&mut self, bytes: u64, out: &mut MuxOutput) -> bool {
        if self.outcome.is_some() {
            return true; // on its way while the stream ended
        }
        let credit = self.credit.saturating_add(bytes);
        if bytes == 0 || credit > self.window {
            self.told = true; // by the reset that follows
            self.fail(StreamError::Flow, out);
            return false;
        }
        self.credit = credit;
        self.wake(out);
        true
    }

    /// The receiver accepted. False if it had nothing to accept yet.
    pub(super) fn done(&mut self, out: &mut MuxOutput) -> bool {
        if !self.ended || self.outcome.is_some() {
            return false;
        }
        self.outcome = Some(Ok(()));
        self.told = true;
        self.wake(out);
        true
    }

    /// The first verdict stays.
    pub(super) fn fail(&mut self, error: StreamError, out: &mut MuxOutput) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        self.outcome = Some(Err(error));
        self.wake(out);
        true
    }

    /// The other side's word.
    pub(super) fn reset(&mut self, error: StreamError, out: &mut MuxOutput) -> bool {
        let first = self.fail(error, out);
        self.told = true;
        first
    }

    pub(super) fn session_ended(&mut self, out: &mut MuxOutput) {
        let maybe = self.ended;
        let error = if maybe { StreamError::MaybeReceived } else { StreamError::Disconnected };
        self.fail(error, out);
    }
}
