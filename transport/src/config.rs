//! Limits and times with presets, checked all at once.

#[cfg(feature = "tokio")]
mod tcp;

#[cfg(feature = "tokio")]
pub use tcp::{AcceptPolicy, DatagramMode, TcpConfig, TcpConfigBuilder};

use std::fmt;
use std::time::Duration;

/// Every violation of a configuration, not just the first.
///
/// # Examples
/// ```
/// use quorate_transport::EndpointConfig;
/// use std::time::Duration;
///
/// let error = EndpointConfig::lan()
///     .ping_interval(Duration::ZERO)
///     .inbox_messages_max(0)
///     .build()
///     .unwrap_err();
/// assert_eq!(error.violations().len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    violations: Vec<String>,
}

impl ConfigError {
    /// One sentence per violation: name, value, allowed range.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Never: the same values fail again.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.violations.join("; "))
    }
}

impl std::error::Error for ConfigError {}

/// Collects violations.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<String>);

impl Checks {
    pub(crate) fn range<T: PartialOrd + fmt::Debug + Copy>(
        &mut self,
        name: &str,
        v: T,
        min: T,
        max: T,
    ) {
        if v < min || v > max {
            self.0.push(format!("{name} is {v:?}, allowed are {min:?} to {max:?}"));
        }
    }

    pub(crate) fn ordered<T: PartialOrd + fmt::Debug + Copy>(
        &mut self,
        small: (&str, T),
        big: (&str, T),
    ) {
        if small.1 >= big.1 {
            self.0.push(format!("{} is {:?}, must exceed {} {:?}", big.0, big.1, small.0, small.1));
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn demand(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.0.push(otherwise.into());
        }
    }

    pub(crate) fn done<T>(self, config: T) -> Result<T, ConfigError> {
        let violations = self.0;
        if violations.is_empty() { Ok(config) } else { Err(ConfigError { violations }) }
    }
}

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Limits and times of an [`Endpoint`](crate::Endpoint).
///
/// # Examples
/// ```
/// use quorate_transport::EndpointConfig;
/// use std::time::Duration;
///
/// let config = EndpointConfig::lan().deadline_max(Duration::from_secs(30)).build()?;
/// assert_ne!(config, EndpointConfig::default()); // which is `lan()`
/// # Ok::<(), quorate_transport::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    pub(crate) ping_interval: Duration,
    pub(crate) suspect_after: Duration,
    pub(crate) down_after: Duration,
    pub(crate) stall_max: Duration,
    pub(crate) calls_inflight_max: u32,
    pub(crate) peer_calls_inflight_max: u32,
    pub(crate) deadline_max: Duration,
    pub(crate) inbox_messages_max: u32,
    pub(crate) inbox_bytes_max: u32,
    pub(crate) peer_streams_max: u32,
    pub(crate) dedup_sessions_max: u32,
    pub(crate) dedup_window: u32,
    pub(crate) dedup_reply_bytes_max: u32,
    /// What the transport announces; not for users to set here.
    pub(crate) stream_window_bytes: u32,
}

impl EndpointConfig {
    /// One machine: pings every 100 ms.
    pub const fn local() -> EndpointConfigBuilder {
        EndpointConfigBuilder::with_ping(Duration::from_millis(100))
    }

    /// One site: pings every 500 ms.
    pub const fn lan() -> EndpointConfigBuilder {
        EndpointConfigBuilder::with_ping(Duration::from_millis(500))
    }

    /// Several sites: pings every 2 s.
    pub const fn wan() -> EndpointConfigBuilder {
        EndpointConfigBuilder::with_ping(Duration::from_secs(2))
    }

    pub(crate) const fn with_stream_window(mut self, bytes: u32) -> Self {
        self.stream_window_bytes = bytes;
        self
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self::lan().config
    }
}

/// Makes an [`EndpointConfig`].
///
/// # Examples
/// ```
/// use quorate_transport::EndpointConfig;
/// let config = EndpointConfig::wan().inbox_messages_max(100).build()?;
/// # Ok::<(), quorate_transport::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct EndpointConfigBuilder {
    config: EndpointConfig,
}

impl EndpointConfigBuilder {
    const fn with_ping(ping: Duration) -> Self {
        let config = EndpointConfig {
            ping_interval: ping,
            suspect_after: ping.saturating_mul(3),
            down_after: ping.saturating_mul(6),
            stall_max: ping.saturating_mul(10),
            calls_inflight_max: 65_536,
            peer_calls_inflight_max: 16_384,
            deadline_max: Duration::from_secs(300),
            inbox_messages_max: 4_096,
            inbox_bytes_max: 16 << 20,
            peer_streams_max: 16,
            dedup_sessions_max: 4_096,
            dedup_window: 256,
            dedup_reply_bytes_max: 16 << 20,
            stream_window_bytes: 1 << 20,
        };
        Self { config }
    }

    /// How often a watched or busy lane that is silent is pinged. Default 100 ms / 500 ms / 2 s ·
    /// 10 ms to 60 s · too small → load · too large → late detection.
    pub const fn ping_interval(mut self, d: Duration) -> Self {
        self.config.ping_interval = d;
        self
    }

    /// Silence after which a peer is `Suspect`. Default 3 × ping interval · above it · too small →
    /// false alarms · too large → late detection.
    pub const fn suspect_after(mut self, d: Duration) -> Self {
        self.config.suspect_after = d;
        self
    }

    /// Silence after which a peer is `Down` and its lanes are reset. Default 6 × ping interval ·
    /// above `suspect_after` · too small → false alarms · too large → late detection.
    pub const fn down_after(mut self, d: Duration) -> Self {
        self.config.down_after = d;
        self
    }

    /// Age of an unanswered ping after which a lane that moves no byte is reset. Default 10 × ping
    /// interval · above `down_after` · too small → resets under load · too large → a wedged lane
    /// stays.
    pub const fn stall_max(mut self, d: Duration) -> Self {
        self.config.stall_max = d;
        self
    }

    /// Own calls waiting for an answer, all peers together. Default 65,536 · 1 to 2³¹ · too small →
    /// early `Full` · too large → memory.
    pub const fn calls_inflight_max(mut self, n: u32) -> Self {
        self.config.calls_inflight_max = n;
        self
    }

    /// Calls in flight per peer, each direction. Default 16,384 · 1 to 2³¹ · too small → early
    /// `Full` and `Overloaded` · too large → memory.
    pub const fn peer_calls_inflight_max(mut self, n: u32) -> Self {
        self.config.peer_calls_inflight_max = n;
        self
    }

    /// Longest deadline of a call; longer ones are cut. Default 5 min · 1 ms to 24 h · too small →
    /// slow calls end early · too large → slots are held long.
    pub const fn deadline_max(mut self, d: Duration) -> Self {
        self.config.deadline_max = d;
        self
    }

    /// Messages and calls waiting per channel. Default 4,096 · 1 to 2²⁰ · too small → drops under
    /// bursts · too large → memory, latency.
    pub const fn inbox_messages_max(mut self, n: u32) -> Self {
        self.config.inbox_messages_max = n;
        self
    }

    /// Bytes waiting per channel; an empty inbox takes any frame. Default 16 MiB · 4 KiB to 1 GiB ·
    /// too small → drops under bursts · too large → memory, latency.
    pub const fn inbox_bytes_max(mut self, n: u32) -> Self {
        self.config.inbox_bytes_max = n;
        self
    }

    /// Streams open per peer and direction. Default 16 · 1 to 1,024 · too small → early `Full` and
    /// `Overloaded` · too large → memory: each may hold a window.
    pub const fn peer_streams_max(mut self, n: u32) -> Self {
        self.config.peer_streams_max = n;
        self
    }

    /// Sessions of idempotent callers remembered; one idle for over a minute makes room. Default
    /// 4,096 · 1 to 2²⁰ · too small → `Overloaded` · too large → memory.
    pub const fn dedup_sessions_max(mut self, n: u32) -> Self {
        self.config.dedup_sessions_max = n;
        self
    }

    /// Latest calls remembered per session. Default 256 · 1 to 65,536 · too small → retries read
    /// `Forgotten` · too large → memory.
    pub const fn dedup_window(mut self, n: u32) -> Self {
        self.config.dedup_window = n;
        self
    }

    /// Bytes of answers kept, all sessions together, oldest dropped first. Default 16 MiB · 0 to
    /// 1 GiB · too small → retries read `Forgotten` · too large → memory.
    pub const fn dedup_reply_bytes_max(mut self, n: u32) -> Self {
        self.config.dedup_reply_bytes_max = n;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] with all violations.
    pub fn build(self) -> Result<EndpointConfig, ConfigError> {
        let c = self.config;
        let mut checks = Checks::default();
        checks.range("ping_interval", c.ping_interval, 10 * MS, MINUTE);
        let ping = ("ping_interval", c.ping_interval);
        let suspect = ("suspect_after", c.suspect_after);
        let down = ("down_after", c.down_after);
        checks.ordered(ping, suspect);
        checks.ordered(suspect, down);
        checks.ordered(down, ("stall_max", c.stall_max));
        checks.range("calls_inflight_max", c.calls_inflight_max, 1, 1 << 31);
        checks.range("peer_calls_inflight_max", c.peer_calls_inflight_max, 1, 1 << 31);
        checks.range("deadline_max", c.deadline_max, MS, DAY);
        checks.range("inbox_messages_max", c.inbox_messages_max, 1, 1 << 20);
        checks.range("inbox_bytes_max", c.inbox_bytes_max, 4 << 10, 1 << 30);
        checks.range("peer_streams_max", c.peer_streams_max, 1, 1_024);
        checks.range("dedup_sessions_max", c.dedup_sessions_max, 1, 1 << 20);
        checks.range("dedup_window", c.dedup_window, 1, 65_536);
        checks.range("dedup_reply_bytes_max", c.dedup_reply_bytes_max, 0, 1 << 30);
        checks.done(c)
    }
}
