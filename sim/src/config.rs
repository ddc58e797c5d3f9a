//! Settings of a world.

use crate::Order;
use quorate_transport::{EndpointConfig, Lane};
use std::fmt;
use std::time::Duration;

/// Every violation of a configuration, not just the first.
///
/// # Examples
/// ```
/// use quorate_sim::SimConfig;
/// use std::time::Duration;
///
/// let error = SimConfig::lan(1)
///     .event_cost(Duration::from_secs(2))
///     .checks_every(0)
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

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// What lanes do to their frames.
///
/// # Examples
/// ```
/// assert_ne!(quorate_sim::LaneModel::Session, quorate_sim::LaneModel::Lossy);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaneModel {
    /// As TCP does: within a session nothing is lost, doubled or reordered; it can end. // H1
    Session,
    /// As datagrams: for cores that claim to bear it.
    Lossy,
}

/// Settings of a world: seed, speeds, limits.
///
/// # Examples
/// ```
/// use quorate_sim::{Order, SimConfig};
/// let config = SimConfig::wan(7).order(Order::Fifo).build()?;
/// assert_eq!(config.seed(), 7);
/// # Ok::<(), quorate_sim::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimConfig {
    pub(crate) seed: u64,
    pub(crate) order: Order,
    pub(crate) event_cost: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) backoff: [Duration; 2],
    pub(crate) bandwidth_bits: u64,
    pub(crate) latency: [Duration; 2],
    pub(crate) lane_model: LaneModel,
    pub(crate) wire_check: bool,
    pub(crate) corrupt_undetected: bool,
    pub(crate) extreme_clocks: bool,
    pub(crate) queue_bytes_max: [u64; 3],
    pub(crate) queue_frames_max: usize,
    pub(crate) frame_bytes_max: u32,
    pub(crate) control_bytes_max: u32,
    pub(crate) datagram_bytes_max: u32,
    pub(crate) inbox_events_max: usize,
    pub(crate) heap_events_max: usize,
    pub(crate) trace: bool,
    pub(crate) trace_events_max: usize,
    pub(crate) checks_every: u32,
    pub(crate) disk: crate::DiskConfig,
    pub(crate) calls: EndpointConfig,
}

impl SimConfig {
    /// Nodes in one building: 50 µs to 5 ms from one to another.
    pub fn lan(seed: u64) -> SimConfigBuilder {
        SimConfigBuilder {
            config: Self {
                seed,
                order: Order::Random,
                event_cost: Duration::from_micros(1),
                session_timeout: Duration::from_secs(10),
                connect_timeout: Duration::from_secs(3),
                backoff: [Duration::from_millis(50), Duration::from_secs(1)],
                bandwidth_bits: 1_000_000_000,
                latency: [Duration::from_micros(50), Duration::from_millis(5)],
                lane_model: LaneModel::Session,
                wire_check: true,
                corrupt_undetected: false,
                extreme_clocks: false,
                queue_bytes_max: [256 << 10, 8 << 20, 4 << 20],
                queue_frames_max: 4_096,
                frame_bytes_max: 16 << 20,
                control_bytes_max: 64 << 10,
                datagram_bytes_max: 1_192,
                inbox_events_max: 1 << 20,
                heap_events_max: 16 << 20,
                trace: true,
                trace_events_max: 4_096,
                checks_every: 1,
                disk: crate::DiskConfig::default(),
                calls: EndpointConfig::default(),
            },
        }
    }

    /// Nodes all over the world: 5 to 150 ms from one to another.
    pub fn wan(seed: u64) -> SimConfigBuilder {
        Self::lan(seed).latency(Duration::from_millis(5), Duration::from_millis(150))
    }

    /// As [`lan`](Self::lan), with clocks that may be off by ten per cent and bodies that may be
    /// corrupted without a checksum that tells.
    pub fn chaos(seed: u64) -> SimConfigBuilder {
        Self::lan(seed).extreme_clocks(true).corrupt_undetected(true)
    }

    /// The seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn body_bytes_max(&self, lane: Lane) -> u32 {
        if lane == Lane::Control { self.control_bytes_max } else { self.frame_bytes_max }
    }
}

/// Makes a [`SimConfig`].
///
/// # Examples
/// ```
/// use quorate_sim::SimConfig;
/// let config = SimConfig::lan(1).bandwidth_bits(10_000_000).trace_events_max(100).build()?;
/// # Ok::<(), quorate_sim::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SimConfigBuilder {
    config: SimConfig,
}

impl SimConfigBuilder {
    /// Default: random · order of what happens at the same time · `Fifo` hides races.
    pub const fn order(mut self, order: Order) -> Self {
        self.config.order = order;
        self
    }

    /// Default: 1 µs · how long a node is busy with one event · 0–1 s · too small → timers tie
    /// more · too large → nodes cannot keep up and the world ends with `overload`.
    pub const fn event_cost(mut self, d: Duration) -> Self {
        self.config.event_cost = d;
        self
    }

    /// Default: 10 s · how long a session bears silence · 10 ms–10 min · too small → sessions flap
    /// · too large → half-open sessions last.
    pub const fn session_timeout(mut self, d: Duration) -> Self {
        self.config.session_timeout = d;
        self
    }

    /// Default: 3 s · how long a dial waits for an answer · 10 ms–60 s · too small → slow peers
    /// are never reached · too large → frames wait long before they come back.
    pub const fn connect_timeout(mut self, d: Duration) -> Self {
        self.config.connect_timeout = d;
        self
    }

    /// Default: 50 ms, 1 s · the first and the longest wait after a failed dial · 1 ms–5 min ·
    /// too small → hammering · too large → late recovery.
    pub const fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.config.backoff = [min, max];
        self
    }

    /// Default: 1 Gbit/s · speed of each lane in each direction · 1 kbit/s–1 Tbit/s · too small →
    /// queues fill · too large → size costs nothing.
    pub const fn bandwidth_bits(mut self, per_second: u64) -> Self {
        self.config.bandwidth_bits = per_second;
        self
    }

    /// Default: 50 µs to 5 ms (`lan`), 5 ms to 150 ms (`wan`) · range of the base latencies of
    /// pairs · 0–10 s · too small → everything ties · too large → slow tests.
    pub const fn latency(mut self, min: Duration, max: Duration) -> Self {
        self.config.latency = [min, max];
        self
    }

    /// Default: `Session` · what lanes do to frames · `Lossy` finds "bugs" that no TCP connection
    /// can cause.
    pub const fn lane_model(mut self, model: LaneModel) -> Self {
        self.config.lane_model = model;
        self
    }

    /// Default: on · every 16th frame and datagram passes the real encoder and decoder.
    pub const fn wire_check(mut self, on: bool) -> Self {
        self.config.wire_check = on;
        self
    }

    /// Default: off (`chaos`: on) · corrupted datagrams are delivered instead of dropped, as if the
    /// checksum had matched.
    pub const fn corrupt_undetected(mut self, on: bool) -> Self {
        self.config.corrupt_undetected = on;
        self
    }

    /// Default: off (`chaos`: on) · clock rates may be off by ten per cent, and clocks say so.
    pub const fn extreme_clocks(mut self, on: bool) -> Self {
        self.config.extreme_clocks = on;
        self
    }

    /// Default: 256 KiB, 8 MiB, 4 MiB · bytes a lane's queue takes · 4 KiB–1 GiB · too small →
    /// early `Full` · too large → stale data.
    pub const fn queue_bytes_max(mut self, lane: Lane, bytes: u64) -> Self {
        self.config.queue_bytes_max[lane.index()] = bytes;
        self
    }

    /// Default: 1 Mi · events waiting for one node · 16–16 Mi · too small → a pause ends the world
    /// with `overload` · too large → a storm is found late.
    pub const fn inbox_events_max(mut self, n: usize) -> Self {
        self.config.inbox_events_max = n;
        self
    }

    /// Default: 4,096 · frames a lane's queue takes, besides what the kernels hold · 16–1 Mi · too
    /// small → early `Full` · too large → stale data.
    pub const fn queue_frames_max(mut self, frames: usize) -> Self {
        self.config.queue_frames_max = frames;
        self
    }

    /// Default: 16 Mi · events to come in the whole world · 1 Ki–16 Mi · too small → big worlds
    /// end with `limit` · too large → a storm takes the memory of the machine first.
    pub const fn heap_events_max(mut self, n: usize) -> Self {
        self.config.heap_events_max = n;
        self
    }

    /// Default: on · keeps hash and records; off, a run cannot be compared to another.
    pub const fn trace(mut self, on: bool) -> Self {
        self.config.trace = on;
        self
    }

    /// Default: 4,096 · newest records kept for a failure · 0–1 Mi · too small → the cause is gone
    /// · too large → memory.
    pub const fn trace_events_max(mut self, n: usize) -> Self {
        self.config.trace_events_max = n;
        self
    }

    /// Default: 1 · `Node::check` runs after each so many handlers · 1–1,000 · too large → late
    /// detection.
    pub const fn checks_every(mut self, handlers: u32) -> Self {
        self.config.checks_every = handlers;
        self
    }

    /// Default: `DiskConfig::default()` · the disk of every node.
    pub fn disk(mut self, disk: crate::DiskConfig) -> Self {
        self.config.disk = disk;
        self
    }

    /// Default: `EndpointConfig::lan()` · calls of sans-IO nodes.
    pub const fn calls(mut self, calls: EndpointConfig) -> Self {
        self.config.calls = calls;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] with all violations.
    pub fn build(self) -> Result<SimConfig, ConfigError> {
        let c = self.config;
        let mut checks = Checks::default();
        checks.range("event_cost", c.event_cost, Duration::ZERO, Duration::from_secs(1));
        checks.range("session_timeout", c.session_timeout, 10 * MS, 10 * MINUTE);
        checks.range("connect_timeout", c.connect_timeout, 10 * MS, MINUTE);
        checks.range("backoff min", c.backoff[0], MS, 5 * MINUTE);
        checks.range("backoff max", c.backoff[1], MS, 5 * MINUTE);
        checks.demand(c.backoff[0] <= c.backoff[1], "backoff min exceeds max");
        checks.range("bandwidth_bits", c.bandwidth_bits, 1_000, 1_000_000_000_000);
        checks.range("latency min", c.latency[0], Duration::ZERO, Duration::from_secs(10));
        checks.range("latency max", c.latency[1], Duration::ZERO, Duration::from_secs(10));
        checks.demand(c.latency[0] <= c.latency[1], "latency min exceeds max");
        for (lane, bytes) in Lane::ALL.iter().zip(c.queue_bytes_max) {
            checks.range(&format!("queue_bytes_max of {lane}"), bytes, 4 << 10, 1 << 30);
        }
        checks.range("queue_frames_max", c.queue_frames_max, 16, 1 << 20);
        checks.range("inbox_events_max", c.inbox_events_max, 16, 16 << 20);
        checks.range("heap_events_max", c.heap_events_max, 1 << 10, 16 << 20);
        checks.range("trace_events_max", c.trace_events_max, 0, 1 << 20);
        checks.range("checks_every", c.checks_every, 1, 1_000);
        checks.done(c)
    }
}
