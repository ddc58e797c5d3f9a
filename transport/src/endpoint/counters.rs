//! Counters of an endpoint and their snapshot.

use crate::mux::DedupStats;
use crate::stats::counters;
use crate::{EndpointStats, MuxStats};

counters!(Counters {
    calls_ok,
    calls_not_sent,
    calls_rejected,
    calls_maybe,
    calls_cancelled,
    inbound_expired,
    inbound_overloaded,
    unknown_channel,
    inbox_dropped,
    control_unsent,
    peers_overflow,
    unsent_at_shutdown,
    calls_inflight_max,
    streams_out,
    streams_overloaded,
    datagrams_in,
    datagrams_out,
});

impl Counters {
    pub(super) fn snapshot(
        &self,
        mux: &MuxStats,
        dedup: DedupStats,
        calls_inflight: u64,
    ) -> EndpointStats {
        EndpointStats {
            calls_ok: self.calls_ok.value(),
            calls_not_sent: self.calls_not_sent.value(),
            calls_rejected: self.calls_rejected.value(),
            calls_maybe: self.calls_maybe.value(),
            calls_cancelled: self.calls_cancelled.value(),
            calls_inflight,
            calls_inflight_max: self.calls_inflight_max.value(),
            late_frames: mux.late_frames,
            inbound_calls: mux.inbound_calls,
            inbound_expired: self.inbound_expired.value(),
            inbound_overloaded: self.inbound_overloaded.value() + mux.inbound_overloaded,
            inbound_cancelled: mux.inbound_cancelled,
            unknown_channel: self.unknown_channel.value(),
            malformed_calls: mux.malformed_calls,
            dedup_hits: dedup.hits,
            dedup_forgotten: dedup.forgotten,
            dedup_restarted: dedup.restarted,
            dedup_overloaded: dedup.overloaded,
            dedup_sessions: dedup.sessions,
            dedup_evicted: dedup.evicted,
            dedup_reply_bytes: dedup.reply_bytes,
            streams_in: mux.inbound_streams,
            streams_out: self.streams_out.value(),
            streams_overloaded: self.streams_overloaded.value(),
            stream_bytes_in: mux.stream_bytes_in,
            stream_bytes_out: mux.stream_bytes_out,
            datagrams_in: self.datagrams_in.value(),
            datagrams_out: self.datagrams_out.value(),
            rtt_us: mux.rtt_us,
            inbox_dropped: self.inbox_dropped.value(),
            messages_unsent: mux.messages_unsent,
            control_unsent: self.control_unsent.value() + mux.control_unsent,
            peers_overflow: self.peers_overflow.value(),
            stall_resets: mux.stall_resets,
            peers_down: mux.downs,
        }
    }
}

/// Sums up counters of several peers.
pub(super) fn add(sum: &mut MuxStats, more: &MuxStats) {
    sum.late_frames += more.late_frames;
    sum.inbound_calls += more.inbound_calls;
    sum.inbound_overloaded += more.inbound_overloaded;
    sum.inbound_cancelled += more.inbound_cancelled;
    sum.malformed_calls += more.malformed_calls;
    sum.inbound_streams += more.inbound_streams;
    sum.stream_bytes_in += more.stream_bytes_in;
    sum.stream_bytes_out += more.stream_bytes_out;
    sum.rtt_us.iter_mut().zip(more.rtt_us).for_each(|(sum, more)| *sum += more);
    sum.messages_unsent += more.messages_unsent;
    sum.control_unsent += more.control_unsent;
    sum.stall_resets += more.stall_resets;
    sum.downs += more.downs;
}
