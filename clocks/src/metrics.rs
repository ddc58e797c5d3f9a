//! Gauges and counters for the `metrics` facade.

use crate::{Clock, Hlc, HorizonHlc, Interval};

impl<C: Clock> Hlc<C> {
    /// Publishes `quorate_clocks_hlc_lead_us` and `quorate_clocks_skew_rejected_total`; call it as
    /// often as metrics are collected.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn record_metrics(&self) {
        metrics::gauge!("quorate_clocks_hlc_lead_us").set(self.lead().as_micros() as f64);
        metrics::counter!("quorate_clocks_skew_rejected_total")
            .absolute(self.stats().rejected_ahead);
    }
}

impl<C: Clock> HorizonHlc<C> {
    /// As [`Hlc::record_metrics`].
    pub fn record_metrics(&self) {
        self.hlc().record_metrics();
    }
}

impl Interval {
    /// Publishes `quorate_clocks_interval_width_us`.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn record_metrics(&self) {
        metrics::gauge!("quorate_clocks_interval_width_us").set(self.width().as_micros() as f64);
    }
}
