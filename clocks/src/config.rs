//! [`HlcConfig`] and [`MonitorConfig`]: limits, checked once.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A checked configuration of a hybrid clock.
///
/// # Examples
/// ```
/// use quorate_clocks::HlcConfig;
/// use std::time::Duration;
/// let config = HlcConfig::lan().max_skew(Duration::from_millis(200)).build();
/// // The horizon window of the preset, 250 ms, would be more than half of that.
/// assert!(config.unwrap_err().to_string().contains("horizon_window"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HlcConfig {
    pub(crate) max_skew: Duration,
    pub(crate) horizon_window: Duration,
}

impl HlcConfig {
    /// One machine or one rack with a good time source: 50 ms, a window of 25 ms.
    pub const fn local() -> HlcConfigBuilder {
        HlcConfigBuilder::preset(50, 25)
    }

    /// One data centre, time by NTP: 500 ms, a window of 250 ms.
    pub const fn lan() -> HlcConfigBuilder {
        HlcConfigBuilder::preset(500, 250)
    }

    /// Several regions. The distance does not matter to clocks: as [`lan`](Self::lan).
    pub const fn wan() -> HlcConfigBuilder {
        Self::lan()
    }

    /// How far ahead of the local clock a remote stamp may be.
    #[must_use]
    pub const fn max_skew(&self) -> Duration {
        self.max_skew
    }

    /// How far ahead of need a horizon is made durable.
    #[must_use]
    pub const fn horizon_window(&self) -> Duration {
        self.horizon_window
    }

    pub(crate) const DEFAULT: Self =
        Self { max_skew: Duration::from_millis(500), horizon_window: Duration::from_millis(250) };
}

/// The values of [`lan`](Self::lan).
impl Default for HlcConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An [`HlcConfig`] in the making.
///
/// # Examples
/// ```
/// use quorate_clocks::HlcConfig;
/// use std::time::Duration;
/// let config = HlcConfig::local().horizon_window(Duration::from_millis(5)).build()?;
/// assert_eq!(config.max_skew(), Duration::from_millis(50));
/// # Ok::<(), quorate_clocks::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct HlcConfigBuilder {
    config: HlcConfig,
}

impl HlcConfigBuilder {
    const fn preset(max_skew_ms: u64, window_ms: u64) -> Self {
        let max_skew = Duration::from_millis(max_skew_ms);
        let horizon_window = Duration::from_millis(window_ms);
        Self { config: HlcConfig { max_skew, horizon_window } }
    }

    /// Default: 50 ms (`local`), 500 ms (`lan`, `wan`) · 1 ms to 1 h · too small → healthy peers
    /// are refused · too large → one bad clock drags all stamps ahead by that much
    pub const fn max_skew(mut self, d: Duration) -> Self {
        self.config.max_skew = d;
        self
    }

    /// Default: 25 ms (`local`), 250 ms (`lan`, `wan`) · 1 ms to half of `max_skew` · too small → a
    /// durable write every half window · too large → peers refuse a node that restarted at once for
    /// longer
    pub const fn horizon_window(mut self, d: Duration) -> Self {
        self.config.horizon_window = d;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] lists every violation.
    pub fn build(self) -> Result<HlcConfig, ConfigError> {
        let config = self.config;
        let mut bad = Vec::new();
        if !(MS..=HOUR).contains(&config.max_skew) {
            bad.push("max_skew: 1 ms to 1 h");
        }
        // A node that restarts at once begins at its old horizon: peers must not refuse that. //
        // H24
        if config.horizon_window < MS || config.horizon_window > config.max_skew / 2 {
            bad.push("horizon_window: 1 ms to max_skew / 2");
        }
        ConfigError::check(bad).map(|()| config)
    }
}

/// When a [`ClockMonitor`](crate::ClockMonitor) speaks.
///
/// # Examples
/// ```
/// use quorate_clocks::{HlcConfig, MonitorConfig};
/// use std::time::Duration;
/// let config = MonitorConfig::for_skew(HlcConfig::default().max_skew());
/// assert_eq!(config.forward_limit(), Duration::from_millis(250));
/// assert!(MonitorConfig::new(Duration::ZERO, Duration::ZERO).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorConfig {
    pub(crate) forward_limit: Duration,
    pub(crate) backward_limit: Duration,
}

impl MonitorConfig {
    /// Steps forward of `forward_limit` and more are reported, and steps back of more than
    /// `backward_limit`.
    ///
    /// Both: at least 1 ms · too small → noise · too large → a late warning
    ///
    /// # Errors
    /// [`ConfigError`] lists every violation.
    pub fn new(forward_limit: Duration, backward_limit: Duration) -> Result<Self, ConfigError> {
        let mut bad = Vec::new();
        if forward_limit < MS {
            bad.push("forward_limit: at least 1 ms");
        }
        if backward_limit < MS {
            bad.push("backward_limit: at least 1 ms");
        }
        ConfigError::check(bad).map(|()| Self { forward_limit, backward_limit })
    }

    /// The usual limits beside an [`HlcConfig::max_skew`]: half of it forward, a tenth of it back,
    /// at least 1 ms.
    #[must_use]
    pub fn for_skew(max_skew: Duration) -> Self {
        Self { forward_limit: (max_skew / 2).max(MS), backward_limit: (max_skew / 10).max(MS) }
    }

    /// Steps forward of this and more are reported.
    #[must_use]
    pub const fn forward_limit(&self) -> Duration {
        self.forward_limit
    }

    /// Steps back of more than this are reported.
    #[must_use]
    pub const fn backward_limit(&self) -> Duration {
        self.backward_limit
    }
}

/// Every violation of a configuration at once; nothing was built.
///
/// # Examples
/// ```
/// use quorate_clocks::HlcConfig;
/// use std::time::Duration;
/// let zero = Duration::ZERO;
/// let error = HlcConfig::lan().max_skew(zero).horizon_window(zero).build().unwrap_err();
/// assert_eq!(error.violations().len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    violations: Vec<&'static str>,
}

impl ConfigError {
    pub(crate) fn check(violations: Vec<&'static str>) -> Result<(), Self> {
        if violations.is_empty() { Ok(()) } else { Err(Self { violations }) }
    }

    /// Each violation: the setting and its range.
    #[must_use]
    pub fn violations(&self) -> &[&'static str] {
        &self.violations
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of range: ")?;
        for (n, violation) in self.violations.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl core::error::Error for ConfigError {}
