//! Counters and gauges as plain copyable snapshots.

use crate::transport::DownReason;

/// What a transport did since it began.
///
/// # Examples
/// ```
/// use quorate_transport::TransportStats;
/// assert_eq!(TransportStats::default().frames_out, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportStats {
    /// Frames delivered to the sink.
    pub frames_in: u64,
    /// Frames given to the kernel (or to the other node, in memory).
    pub frames_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Write calls; `frames_out / writes` is the batch factor.
    pub writes: u64,
    /// Frames written in the caller of `send`, without waking the writer.
    pub inline_writes: u64,
    /// Frames refused because a queue or a share was full.
    pub full: u64,
    /// Frames accepted and returned unsent.
    pub unsent: u64,
    /// Frames of unknown, ignorable kinds skipped.
    pub skipped: u64,
    /// Dials begun.
    pub dials: u64,
    /// Dials that failed for any reason.
    pub dials_failed: u64,
    /// Handshakes refused here, by status number.
    pub refused: [u64; 11],
    /// Handshakes refused by the other side, by status number.
    pub refused_by_peer: [u64; 11],
    /// Handshakes cut because too many were pending.
    pub handshakes_overflow: u64,
    /// Handshakes being made now.
    pub handshakes_pending: u64,
    /// Sessions that came up.
    pub sessions: u64,
    /// Sessions up now.
    pub sessions_open: u64,
    /// Sessions that ended, by [`down`](Self::down).
    pub ended: [u64; DownReason::COUNT],
    /// Errors of the accept loop.
    pub accept_errors: u64,
    /// Frames with a wrong header CRC.
    pub head_crc_errors: u64,
    /// Frames with a wrong body CRC.
    pub body_crc_errors: u64,
    /// Frames over the limit.
    pub oversized_frames: u64,
    /// Other violations of the format.
    pub protocol_errors: u64,
    /// Peers refused because the book was full.
    pub peers_overflow: u64,
    /// Connections refused because there were too many.
    pub connections_overflow: u64,
    /// Waiters of `poll_ready` refused because there were too many.
    pub waiters_overflow: u64,
}

impl TransportStats {
    /// How many sessions ended for `reason` (whatever its detail).
    #[must_use]
    pub const fn down(&self, reason: DownReason) -> u64 {
        self.ended[reason.index()]
    }
}

/// What an endpoint did since it began.
///
/// # Examples
/// ```
/// use quorate_transport::EndpointStats;
/// assert_eq!(EndpointStats::default().calls_ok, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Calls answered.
    pub calls_ok: u64,
    /// Calls that ended as `NotSent`.
    pub calls_not_sent: u64,
    /// Calls that ended as `Rejected`.
    pub calls_rejected: u64,
    /// Calls that ended as `MaybeExecuted`.
    pub calls_maybe: u64,
    /// Calls whose future was dropped.
    pub calls_cancelled: u64,
    /// Calls in flight now.
    pub calls_inflight: u64,
    /// Replies, rejects and cancels for calls that are not there (any more).
    pub late_frames: u64,
    /// Calls that came in.
    pub inbound_calls: u64,
    /// Of them rejected as `Expired`.
    pub inbound_expired: u64,
    /// Of them rejected as `Overloaded`.
    pub inbound_overloaded: u64,
    /// Of them cancelled by the caller or the end of its session.
    pub inbound_cancelled: u64,
    /// Messages and calls for a channel nobody opened.
    pub unknown_channel: u64,
    /// Frames of kinds that are not built yet, answered as unsupported.
    pub unsupported_frames: u64,
    /// Messages dropped because an inbox was full.
    pub inbox_dropped: u64,
    /// One-way messages that were accepted and never sent.
    pub messages_unsent: u64,
    /// Answers, cancels and pings that found no room or no session.
    pub control_unsent: u64,
    /// Peers not taken in because the table was full.
    pub peers_overflow: u64,
    /// Lanes reset because they were wedged.
    pub stall_resets: u64,
    /// Peers declared `Down`.
    pub peers_down: u64,
}

/// One channel, now.
///
/// # Examples
/// ```
/// use quorate_transport::ChannelStats;
/// assert_eq!(ChannelStats::default().dropped, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Messages and calls waiting.
    pub depth: u64,
    /// Most that ever waited.
    pub depth_max: u64,
    /// Bytes waiting.
    pub bytes: u64,
    /// Messages dropped because the inbox was full.
    pub dropped: u64,
    /// Calls answered `Overloaded` because the inbox was full.
    pub overloaded: u64,
}

/// Relaxed counters with one name per field of a snapshot.
macro_rules! counters {
    ($name:ident { $($field:ident),* $(,)? }) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $(pub(crate) $field: crate::stats::Counter,)*
        }
    };
}
pub(crate) use counters;

/// One relaxed counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(std::sync::atomic::AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
