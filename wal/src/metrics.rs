//! Publishing to the `metrics` facade (feature `metrics`).

use std::time::Duration;

use crate::wal::Wal;

impl Wal {
    /// Publishes gauges and counters of this log; call it as often as metrics are collected.
    /// `quorate_wal_sync_us` and `quorate_wal_write_us` are recorded as they happen.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn record_metrics(&self) {
        let (stats, marks) = (self.stats(), self.marks());
        metrics::gauge!("quorate_wal_durable_lsn").set(marks.durable.as_u64() as f64);
        metrics::gauge!("quorate_wal_staged_bytes").set(stats.staged_bytes as f64);
        metrics::gauge!("quorate_wal_segments").set(stats.segments as f64);
        metrics::gauge!("quorate_wal_segments_pinned").set(stats.segments_pinned as f64);
        metrics::gauge!("quorate_wal_streams").set(stats.streams as f64);
        metrics::counter!("quorate_wal_records_total").absolute(stats.records);
        metrics::counter!("quorate_wal_payload_bytes_total").absolute(stats.payload_bytes);
        metrics::counter!("quorate_wal_written_bytes_total").absolute(stats.bytes_written);
        metrics::counter!("quorate_wal_syncs_total").absolute(stats.syncs);
        metrics::counter!("quorate_wal_groups_total").absolute(stats.groups);
        metrics::counter!("quorate_wal_busy_total").absolute(stats.busy);
        metrics::counter!("quorate_wal_no_space_total").absolute(stats.no_space);
        metrics::counter!("quorate_wal_damage_total").absolute(stats.verify_failures);
    }
}

/// One sync of a segment.
pub(crate) fn sync(elapsed: Duration) {
    metrics::histogram!("quorate_wal_sync_us").record(elapsed.as_secs_f64() * 1e6);
}

/// One write of a group.
pub(crate) fn write(elapsed: Duration) {
    metrics::histogram!("quorate_wal_write_us").record(elapsed.as_secs_f64() * 1e6);
}
