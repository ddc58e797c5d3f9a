//! Publishing to the `metrics` facade (feature `metrics`).

use crate::{Endpoint, EndpointStats, Lane, NodeId, TransportStats};
use metrics::{counter, gauge};

impl Endpoint {
    /// Publishes counters and gauges of this endpoint and of its transport; call it as often as
    /// metrics are collected. Per peer: [`record_peer_metrics`](Self::record_peer_metrics).
    pub fn record_metrics(&self) {
        record_endpoint(&self.stats());
        record_transport(&self.transport_stats());
    }

    /// Publishes the gauges of one peer, labelled `peer` and `lane`.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn record_peer_metrics(&self, node: NodeId) {
        let health = self.health(node);
        let peer = node.to_string();
        let rtt = health.rtt.map_or(0.0, |rtt| rtt.as_secs_f64() * 1e6);
        gauge!("quorate_transport_rtt_us", "peer" => peer.clone()).set(rtt);
        let reachable = f64::from(u8::from(health.state.is_reachable()));
        gauge!("quorate_transport_reachable", "peer" => peer.clone()).set(reachable);
        for lane in Lane::ALL {
            let status = self.lane(node, lane);
            let labels = [("peer", peer.clone()), ("lane", lane.to_string())];
            gauge!("quorate_transport_queued_bytes", &labels).set(status.queued_bytes as f64);
            counter!("quorate_transport_written_bytes_total", &labels)
                .absolute(status.written_bytes);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn record_endpoint(stats: &EndpointStats) {
    gauge!("quorate_transport_calls_inflight").set(stats.calls_inflight as f64);
    gauge!("quorate_transport_dedup_sessions").set(stats.dedup_sessions as f64);
    gauge!("quorate_transport_dedup_reply_bytes").set(stats.dedup_reply_bytes as f64);
    let outcomes = [
        ("ok", stats.calls_ok),
        ("not_sent", stats.calls_not_sent),
        ("rejected", stats.calls_rejected),
        ("maybe_executed", stats.calls_maybe),
        ("cancelled", stats.calls_cancelled),
    ];
    for (outcome, count) in outcomes {
        counter!("quorate_transport_calls_total", "outcome" => outcome).absolute(count);
    }
    let refused = [
        ("expired", stats.inbound_expired),
        ("overloaded", stats.inbound_overloaded),
        ("cancelled", stats.inbound_cancelled),
        ("no_handler", stats.unknown_channel),
    ];
    for (reason, count) in refused {
        counter!("quorate_transport_inbound_refused_total", "reason" => reason).absolute(count);
    }
    counter!("quorate_transport_inbound_calls_total").absolute(stats.inbound_calls);
    counter!("quorate_transport_inbox_dropped_total").absolute(stats.inbox_dropped);
    counter!("quorate_transport_late_frames_total").absolute(stats.late_frames);
    counter!("quorate_transport_dedup_hits_total").absolute(stats.dedup_hits);
    counter!("quorate_transport_dedup_forgotten_total").absolute(stats.dedup_forgotten);
    counter!("quorate_transport_dedup_overloaded_total").absolute(stats.dedup_overloaded);
    counter!("quorate_transport_stream_in_bytes_total").absolute(stats.stream_bytes_in);
    counter!("quorate_transport_stream_out_bytes_total").absolute(stats.stream_bytes_out);
    counter!("quorate_transport_stall_resets_total").absolute(stats.stall_resets);
    counter!("quorate_transport_peers_down_total").absolute(stats.peers_down);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn record_transport(stats: &TransportStats) {
    gauge!("quorate_transport_sessions").set(stats.sessions_open as f64);
    gauge!("quorate_transport_handshakes_pending").set(stats.handshakes_pending as f64);
    counter!("quorate_transport_in_frames_total").absolute(stats.frames_in);
    counter!("quorate_transport_out_frames_total").absolute(stats.frames_out);
    counter!("quorate_transport_in_bytes_total").absolute(stats.bytes_in);
    counter!("quorate_transport_out_bytes_total").absolute(stats.bytes_out);
    counter!("quorate_transport_writes_total").absolute(stats.writes);
    counter!("quorate_transport_full_total").absolute(stats.full);
    counter!("quorate_transport_unsent_total").absolute(stats.unsent);
    counter!("quorate_transport_dials_total").absolute(stats.dials);
    counter!("quorate_transport_dials_failed_total").absolute(stats.dials_failed);
    counter!("quorate_transport_accept_errors_total").absolute(stats.accept_errors);
    counter!("quorate_transport_refused_total").absolute(stats.refused.iter().sum());
    let broken = [
        ("head_crc", stats.head_crc_errors),
        ("body_crc", stats.body_crc_errors),
        ("oversized", stats.oversized_frames),
        ("protocol", stats.protocol_errors),
    ];
    for (reason, count) in broken {
        counter!("quorate_transport_bad_frames_total", "reason" => reason).absolute(count);
    }
}
