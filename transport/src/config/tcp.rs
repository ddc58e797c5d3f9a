//! Limits and times of the TCP transport.

use super::{Checks, ConfigError, DAY, MINUTE, MS};
use crate::Lane;
#[cfg(feature = "tls")]
use crate::{ClientCertificates, TlsIdentity};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Whom an acceptor lets in.
///
/// # Examples
/// ```
/// use quorate_transport::{AcceptPolicy, TcpConfig};
/// let config = TcpConfig::lan().accept(AcceptPolicy::KnownOnly).build()?;
/// # Ok::<(), quorate_transport::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptPolicy {
    /// Every node of the cluster.
    Cluster,
    /// Only nodes that were named by `set_peer`.
    KnownOnly,
}

/// How datagrams travel.
///
/// # Examples
/// ```
/// use quorate_transport::{DatagramMode, TcpConfig};
/// let config = TcpConfig::lan().datagrams(DatagramMode::Off).build()?;
/// # Ok::<(), quorate_transport::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatagramMode {
    /// Over UDP, on the port number of the TCP listener. Nothing seals or proves them. Default
    /// without TLS.
    Udp,
    /// As messages on Control: the receiver sees a message, not a datagram. When the lane's queue
    /// is full they are dropped, not refused. Default with TLS.
    OverControl,
    /// Not at all: `Unsupported`.
    Off,
}

/// Limits and times of a [`TcpTransport`](crate::TcpTransport).
///
/// # Examples
/// ```
/// use quorate_transport::TcpConfig;
/// let config = TcpConfig::lan().listen("127.0.0.1:0".parse()?).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) accept: AcceptPolicy,
    pub(crate) connect_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) handshakes_pending_max: u32,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) frame_bytes_max: u32,
    pub(crate) control_bytes_max: u32,
    pub(crate) queue_bytes_max: [u32; 3],
    pub(crate) queue_frames_max: u32,
    pub(crate) channel_share: u32,
    pub(crate) idle_close: Duration,
    pub(crate) user_timeout: Duration,
    pub(crate) drain_max: Duration,
    pub(crate) handover_max: Duration,
    pub(crate) stable_after: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) stream_window_bytes: u32,
    datagrams: Option<DatagramMode>,
    insecure_datagrams: bool,
    pub(crate) datagram_bytes_max: u32,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsIdentity>,
    #[cfg(feature = "tls")]
    pub(crate) client_certificates: ClientCertificates,
}

impl TcpConfig {
    /// One machine.
    pub const fn local() -> TcpConfigBuilder {
        TcpConfigBuilder::with_times(1, 1, 1, 100)
    }

    /// One site.
    pub const fn lan() -> TcpConfigBuilder {
        TcpConfigBuilder::with_times(3, 2, 1, 500)
    }

    /// Several sites.
    pub const fn wan() -> TcpConfigBuilder {
        TcpConfigBuilder::with_times(10, 5, 10, 2_000)
    }
}

impl TcpConfig {
    const fn is_sealed(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    /// The chosen one, or the default.
    pub(crate) const fn datagram_mode(&self) -> DatagramMode {
        match self.datagrams {
            Some(mode) => mode,
            None if self.is_sealed() => DatagramMode::OverControl,
            None => DatagramMode::Udp,
        }
    }

    /// As announced in handshakes.
    pub(crate) fn ping_interval_ms(&self) -> u32 {
        u32::try_from(self.ping_interval.as_millis()).unwrap_or(u32::MAX)
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self::lan().config
    }
}

/// Makes a [`TcpConfig`].
///
/// # Examples
/// ```
/// use quorate_transport::TcpConfig;
/// use std::time::Duration;
/// let config = TcpConfig::local().idle_close(Duration::from_secs(5)).build()?;
/// # Ok::<(), quorate_transport::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TcpConfigBuilder {
    config: TcpConfig,
}

impl TcpConfigBuilder {
    const fn with_times(connect: u64, handshake: u64, backoff: u64, ping_ms: u64) -> Self {
        let config = TcpConfig {
            listen: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            accept: AcceptPolicy::Cluster,
            connect_timeout: Duration::from_secs(connect),
            handshake_timeout: Duration::from_secs(handshake),
            handshakes_pending_max: 256,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(backoff),
            frame_bytes_max: 16 << 20,
            control_bytes_max: 64 << 10,
            queue_bytes_max: [256 << 10, 8 << 20, 4 << 20],
            queue_frames_max: 4_096,
            channel_share: 50,
            idle_close: Duration::from_secs(60),
            user_timeout: Duration::from_secs(10),
            drain_max: Duration::from_secs(2),
            handover_max: Duration::from_secs(1),
            stable_after: Duration::from_secs(10),
            ping_interval: Duration::from_millis(ping_ms),
            stream_window_bytes: 1 << 20,
            datagrams: None,
            insecure_datagrams: false,
            datagram_bytes_max: 1_192,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            client_certificates: ClientCertificates::Required,
        };
        Self { config }
    }

    /// Where to listen. Default 127.0.0.1:0, a free port of this machine only · a
    /// [`Role::Client`](crate::Role::Client) does not listen at all.
    pub const fn listen(mut self, address: SocketAddr) -> Self {
        self.config.listen = address;
        self
    }

    /// Whom to let in. Default [`AcceptPolicy::Cluster`].
    pub const fn accept(mut self, policy: AcceptPolicy) -> Self {
        self.config.accept = policy;
        self
    }

    /// Time for one TCP connect. Default 1 / 3 / 10 s · 10 ms to 60 s · too small → good peers
    /// refused · too large → slow failover to the next address.
    pub const fn connect_timeout(mut self, d: Duration) -> Self {
        self.config.connect_timeout = d;
        self
    }

    /// Time for the handshake. Default 1 / 2 / 5 s · 10 ms to 60 s · too small → slow links
    /// fail · too large → idle strangers hold slots.
    pub const fn handshake_timeout(mut self, d: Duration) -> Self {
        self.config.handshake_timeout = d;
        self
    }

    /// Handshakes being made at once; 16 of them per source address. Default 256 · 1 to 65,536 ·
    /// too small → reconnect storms refused · too large → memory.
    pub const fn handshakes_pending_max(mut self, n: u32) -> Self {
        self.config.handshakes_pending_max = n;
        self
    }

    /// First cap of the delay between dials. Default 50 ms · 1 ms to 5 min · too small →
    /// hammering · too large → late recovery.
    pub const fn backoff_min(mut self, d: Duration) -> Self {
        self.config.backoff_min = d;
        self
    }

    /// Last cap of the delay between dials. Default 1 / 1 / 10 s · 1 ms to 5 min, at least
    /// `backoff_min` · too small → hammering · too large → late recovery.
    pub const fn backoff_max(mut self, d: Duration) -> Self {
        self.config.backoff_max = d;
        self
    }

    /// Largest body on Data and Bulk. Default 16 MiB · 4 KiB to 256 MiB · too small → entries
    /// refused · too large → memory per connection.
    pub const fn frame_bytes_max(mut self, n: u32) -> Self {
        self.config.frame_bytes_max = n;
        self
    }

    /// Largest body on Control. Default 64 KiB · 1 KiB to 256 KiB · too small → messages refused ·
    /// too large → heartbeats behind large frames.
    pub const fn control_bytes_max(mut self, n: u32) -> Self {
        self.config.control_bytes_max = n;
        self
    }

    /// Bytes waiting per peer on a lane, headers included; an empty queue takes any frame. Default
    /// 256 KiB, 8 MiB, 4 MiB · 4 KiB to 1 GiB · too small → early `Full` · too large → memory,
    /// stale data.
    pub const fn queue_bytes_max(mut self, lane: Lane, n: u32) -> Self {
        self.config.queue_bytes_max[lane.index()] = n;
        self
    }

    /// Frames waiting per peer and lane. Default 4,096 · 16 to 2²⁰ · too small → early `Full` · too
    /// large → memory.
    pub const fn queue_frames_max(mut self, n: u32) -> Self {
        self.config.queue_frames_max = n;
        self
    }

    /// Per cent of a lane's bytes one channel may hold. Default 50 · 1 to 100 · too small → a
    /// channel starves itself · too large → one channel starves the others.
    pub const fn channel_share(mut self, percent: u32) -> Self {
        self.config.channel_share = percent;
        self
    }

    /// Silence after which a connection is closed in order; pings of a lane on which somebody waits
    /// are no silence. Default 60 s · 100 ms to 24 h · too small → redials, and below the interval
    /// of pings calls in flight are cut · too large → idle sockets.
    pub const fn idle_close(mut self, d: Duration) -> Self {
        self.config.idle_close = d;
        self
    }

    /// How long written bytes may stay unacknowledged (`TCP_USER_TIMEOUT`, Linux). Default 10 s ·
    /// 100 ms to 24 h · too small → lost on bad links · too large → half-open connections stay.
    pub const fn user_timeout(mut self, d: Duration) -> Self {
        self.config.user_timeout = d;
        self
    }

    /// How long a shutdown sends what is queued. Default 2 s · 100 ms to 24 h · too small → unsent
    /// frames · too large → slow shutdown.
    pub const fn drain_max(mut self, d: Duration) -> Self {
        self.config.drain_max = d;
        self
    }

    /// How long a replaced connection is still read. Default 1 s · 100 ms to 24 h · too small →
    /// frames lost at a replacement · too large → slow replacement of dead connections.
    pub const fn handover_max(mut self, d: Duration) -> Self {
        self.config.handover_max = d;
        self
    }

    /// How long a session must last for its failures to be forgotten. Default 10 s · 1 ms to 24 h ·
    /// too small → a flapping peer is hammered · too large → late recovery.
    pub const fn stable_after(mut self, d: Duration) -> Self {
        self.config.stable_after = d;
        self
    }

    /// What handshakes say of this node's pings; the pings themselves are those of
    /// [`EndpointConfig::ping_interval`](crate::EndpointConfigBuilder::ping_interval). Default
    /// 100 ms / 500 ms / 2 s · 10 ms to 60 s · too small or too large → peers are told wrong.
    pub const fn ping_interval(mut self, d: Duration) -> Self {
        self.config.ping_interval = d;
        self
    }

    /// Credit given per incoming stream. Default 1 MiB · 64 KiB to 64 MiB · too small → slow on
    /// long links · too large → memory.
    pub const fn stream_window_bytes(mut self, n: u32) -> Self {
        self.config.stream_window_bytes = n;
        self
    }

    /// How datagrams travel. Default [`DatagramMode::Udp`], with TLS [`DatagramMode::OverControl`].
    pub const fn datagrams(mut self, mode: DatagramMode) -> Self {
        self.config.datagrams = Some(mode);
        self
    }

    /// Allows datagrams over UDP beside TLS: whoever can reach the port can read and forge them.
    /// Default false: such a configuration is refused.
    pub const fn insecure_datagrams(mut self, yes: bool) -> Self {
        self.config.insecure_datagrams = yes;
        self
    }

    /// Largest body of a datagram. Default 1,192, which with its header fits every IPv6 path · 256
    /// to 8,192 · too small → refused · too large → fragments, loss.
    pub const fn datagram_bytes_max(mut self, n: u32) -> Self {
        self.config.datagram_bytes_max = n;
        self
    }

    /// Seals every connection by TLS 1.3 with these certificates. Default none: plaintext, nobody
    /// is authenticated. Nodes with and without it do not understand each other.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(mut self, identity: TlsIdentity) -> Self {
        self.config.tls = Some(identity);
        self
    }

    /// Whether dialers must show a certificate. Default [`ClientCertificates::Required`].
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub const fn client_certificates(mut self, demand: ClientCertificates) -> Self {
        self.config.client_certificates = demand;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] with all violations.
    pub fn build(self) -> Result<TcpConfig, ConfigError> {
        let c = self.config;
        let mut checks = Checks::default();
        checks.range("connect_timeout", c.connect_timeout, 10 * MS, MINUTE);
        checks.range("handshake_timeout", c.handshake_timeout, 10 * MS, MINUTE);
        checks.range("handshakes_pending_max", c.handshakes_pending_max, 1, 65_536);
        checks.range("backoff_min", c.backoff_min, MS, 5 * MINUTE);
        checks.range("backoff_max", c.backoff_max, MS, 5 * MINUTE);
        checks.demand(c.backoff_min <= c.backoff_max, "backoff_min exceeds backoff_max");
        checks.range("frame_bytes_max", c.frame_bytes_max, 4 << 10, 256 << 20);
        checks.range("control_bytes_max", c.control_bytes_max, 1 << 10, 256 << 10);
        for (lane, bytes) in Lane::ALL.iter().zip(c.queue_bytes_max) {
            checks.range(&format!("queue_bytes_max of {lane}"), bytes, 4 << 10, 1 << 30);
        }
        checks.range("queue_frames_max", c.queue_frames_max, 16, 1 << 20);
        checks.range("channel_share", c.channel_share, 1, 100);
        let hundred = 100 * MS;
        checks.range("idle_close", c.idle_close, hundred, DAY);
        checks.range("user_timeout", c.user_timeout, hundred, DAY);
        checks.range("drain_max", c.drain_max, hundred, DAY);
        checks.range("handover_max", c.handover_max, hundred, DAY);
        checks.range("stable_after", c.stable_after, MS, DAY);
        checks.range("ping_interval", c.ping_interval, 10 * MS, MINUTE);
        checks.range("datagram_bytes_max", c.datagram_bytes_max, 256, 8_192);
        let open = c.is_sealed() && c.datagram_mode() == DatagramMode::Udp;
        checks.demand(
            !open || c.insecure_datagrams,
            "datagrams over udp beside tls need insecure_datagrams",
        );
        checks.range("stream_window_bytes", c.stream_window_bytes, 64 << 10, 64 << 20);
        checks.done(c)
    }
}
