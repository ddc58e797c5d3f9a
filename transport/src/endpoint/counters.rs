//! Counters of an endpoint and their snapshot.

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
});

impl Counters {
    pub(super) fn snapshot(&self, mux: MuxStats, calls_inflight: u64) -> EndpointStats {
        EndpointStats {
            calls_ok: self.calls_ok.value(),
            calls_not_sent: self.calls_not_sent.value(),
            calls_rejected: self.calls_rejected.value(),
            calls_maybe: self.calls_maybe.value(),
            calls_cancelled: self.calls_cancelled.value(),
            calls_inflight,
            late_frames: mux.late_frames,
            inbound_calls: mux.inbound_calls,
            inbound_expired: self.inbound_expired.value(),
            inbound_overloaded: self.inbound_overloaded.value() + mux.inbound_overloaded,
            inbound_cancelled: mux.inbound_cancelled,
            unknown_channel: self.unknown_channel.value(),
            unsupported_frames: mux.unsupported_frames,
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
pub(super) fn add(sum: &mut MuxStats, more: MuxStats) {
    sum.late_frames += more.late_frames;
    sum.inbound_calls += more.inbound_calls;
    sum.inbound_overloaded += more.inbound_overloaded;
    sum.inbound_cancelled += more.inbound_cancelled;
    sum.unsupported_frames += more.unsupported_frames;
    sum.messages_unsent += more.messages_unsent;
    sum.control_unsent += more.control_unsent;
    sum.stall_resets += more.stall_resets;
    sum.downs += more.downs;
}
