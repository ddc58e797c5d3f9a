//! What comes out of a [`PeerMux`](crate::PeerMux), and its counters.

use super::StreamId;
use crate::{ChannelId, Frame, InboundCall, Lane, Peer};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

/// Something the driver has to do, outside of any lock.
///
/// # Examples
/// See [`PeerMux`](crate::PeerMux).
/// ```
/// use quorate_transport::{Lane, MuxEffect};
/// let effect = MuxEffect::Reset { lane: Lane::Data };
/// assert!(matches!(effect, MuxEffect::Reset { lane: Lane::Data }));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum MuxEffect {
    /// Give this frame to the transport.
    Send {
        /// On this lane.
        lane: Lane,
        /// The frame.
        frame: Frame,
    },
    /// A message for a component.
    Message {
        /// From whom.
        from: Peer,
        /// On which lane.
        lane: Lane,
        /// For which component.
        channel: ChannelId,
        /// The payload.
        body: Bytes,
    },
    /// A call for a component.
    Call {
        /// What the answer needs.
        call: Arc<InboundCall>,
        /// The payload.
        body: Bytes,
    },
    /// A stream for a component.
    Stream {
        /// From whom.
        from: Peer,
        /// For which component.
        channel: ChannelId,
        /// Its name.
        id: StreamId,
        /// What its sender said first.
        head: Bytes,
    },
    /// The caller gave up on this call, or its session ended: it need not be executed any more.
    Revoked {
        /// Which.
        call: Arc<InboundCall>,
    },
    /// The session of an idempotent call ended: it goes on, as its caller will ask again, but
    /// nobody waits for the answer to this very try.
    Orphaned {
        /// Which.
        call: Arc<InboundCall>,
    },
    /// Wake this task.
    Wake {
        /// Its waker.
        waker: Waker,
    },
    /// Reset a lane of the peer.
    Reset {
        /// Which.
        lane: Lane,
    },
}

/// Effects in order, filled by
/// [`PeerMux::drain`](crate::PeerMux::drain) and reused by its owner.
///
/// # Cost
/// One effect at a time (the usual case) allocates nothing.
///
/// # Examples
/// ```
/// assert!(quorate_transport::MuxOutput::default().pop().is_none());
/// ```
#[derive(Debug, Default)]
pub struct MuxOutput {
    first: Option<MuxEffect>,
    rest: VecDeque<MuxEffect>,
}

impl MuxOutput {
    pub(super) fn push(&mut self, effect: MuxEffect) {
        if self.first.is_none() && self.rest.is_empty() {
            self.first = Some(effect);
        } else {
            self.rest.push_back(effect);
        }
    }

    /// Moves all of `more` behind what is here; both keep their room.
    pub(super) fn append(&mut self, more: &mut Self) {
        if let Some(first) = more.first.take() {
            self.push(first);
        }
        if !more.rest.is_empty() {
            self.rest.append(&mut more.rest);
        }
    }

    /// The next effect, if it is a message or a plain call for this channel.
    pub(crate) fn pop_plain(&mut self, channel: ChannelId) -> Option<MuxEffect> {
        let wanted = match self.first.as_ref().or_else(|| self.rest.front())? {
            MuxEffect::Message { channel: found, .. } => *found == channel,
            MuxEffect::Call { call, .. } => call.channel() == channel && call.prefix().is_none(),
            _ => false,
        };
        if wanted { self.pop() } else { None }
    }

    /// The next effect.
    #[must_use]
    pub fn pop(&mut self) -> Option<MuxEffect> {
        self.first.take().or_else(|| self.rest.pop_front())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }
}

/// Counters of one peer's mux.
///
/// # Examples
/// ```
/// assert_eq!(quorate_transport::MuxStats::default().late_frames, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MuxStats {
    /// Replies, rejects, cancels and stream frames for ids that are not there.
    pub late_frames: u64,
    /// Calls that came in.
    pub inbound_calls: u64,
    /// Of them refused because the table was full.
    pub inbound_overloaded: u64,
    /// Of them revoked by the caller or by the end of its session.
    pub inbound_cancelled: u64,
    /// Idempotent calls without a whole prefix.
    pub malformed_calls: u64,
    /// Streams that came in, refused ones too.
    pub inbound_streams: u64,
    /// Bytes of streams that were sent.
    pub stream_bytes_out: u64,
    /// Bytes of streams that came in.
    pub stream_bytes_in: u64,
    /// Round-trip times by powers of two of a microsecond: `[i]` counts those below 2^i µs and not
    /// below 2^(i-1); the last one all longer ones.
    pub rtt_us: [u64; 24],
    /// One-way messages that were accepted by the transport and never sent.
    pub messages_unsent: u64,
    /// Answers, cancels and pings that were accepted by the transport and never sent.
    pub control_unsent: u64,
    /// Lanes reset because they were wedged.
    pub stall_resets: u64,
    /// Times the peer was declared `Down`.
    pub downs: u64,
}
