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
    /// TLS handshakes that failed, dialed or accepted: wrong, missing or expired certificates, or
    /// no TLS at all.
    pub tls_errors: u64,
    /// Datagrams delivered to the sink.
    pub datagrams_in: u64,
    /// Datagrams given to the kernel, to a Control lane, or to the other node in memory.
    pub datagrams_out: u64,
    /// Datagrams dropped because they were cut off, too long for what they say, or not of the
    /// format.
    pub datagrams_malformed: u64,
    /// Datagrams dropped because their CRC was wrong.
    pub datagrams_crc_errors: u64,
    /// Datagrams dropped because they were of another cluster.
    pub datagrams_cluster: u64,
    /// Datagrams dropped because they were for another node.
    pub datagrams_target: u64,
    /// Datagrams dropped because their body was over the limit.
    pub datagrams_oversized: u64,
    /// Datagrams dropped because a higher incarnation of their sender is known.
    pub datagrams_stale: u64,
    /// Datagrams dropped because only known peers are welcome.
    pub datagrams_refused: u64,
    /// Datagrams dropped here: no room, no answer for the host name yet, or an error of the socket.
    pub datagrams_unsent: u64,
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
    /// Most that ever were.
    pub calls_inflight_max: u64,
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
    /// Idempotent calls without a whole prefix, rejected.
    pub malformed_calls: u64,
    /// Idempotent calls that were not run again: answered from the table, or by the run going on.
    pub dedup_hits: u64,
    /// Idempotent calls that may have been run and whose answer is not known any more.
    pub dedup_forgotten: u64,
    /// Idempotent calls that another life of this node may have run.
    pub dedup_restarted: u64,
    /// Idempotent calls refused because all sessions were in use, or too many tries waited for the
    /// one that runs.
    pub dedup_overloaded: u64,
    /// Sessions of idempotent callers remembered now.
    pub dedup_sessions: u64,
    /// Sessions forgotten to make room.
    pub dedup_evicted: u64,
    /// Bytes of answers kept now.
    pub dedup_reply_bytes: u64,
    /// Streams that came in, refused ones too.
    pub streams_in: u64,
    /// Streams of this node that were opened.
    pub streams_out: u64,
    /// Of those that came in, refused because an inbox was full.
    pub streams_overloaded: u64,
    /// Bytes of streams that came in.
    pub stream_bytes_in: u64,
    /// Bytes of streams that were sent.
    pub stream_bytes_out: u64,
    /// Datagrams that came in.
    pub datagrams_in: u64,
    /// Datagrams given to the transport.
    pub datagrams_out: u64,
    /// Round-trip times by powers of two of a microsecond: `[i]` counts those below 2^i µs and not
    /// below 2^(i-1); the last one all longer ones.
    pub rtt_us: [u64; 24],
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
    /// Messages, datagrams, calls and streams that were put into the inbox.
    pub received: u64,
    /// Bytes waiting.
    pub bytes: u64,
    /// Messages and datagrams dropped because the inbox was full.
    pub dropped: u64,
    /// Calls and streams answered `Overloaded` because the inbox was full.
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

    /// At least `n` from here on.
    pub(crate) fn raise(&self, n: u64) {
        self.0.fetch_max(n, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
