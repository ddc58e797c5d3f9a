//! One bounded transport for every distributed component of a process.
//!
//! **Is:** identities and a versioned handshake; three independent lanes per peer; one-way
//! messages, calls with deadlines and cancellation, calls to many nodes with quorums, calls that
//! are never executed twice, byte streams with a verified end, datagrams; outcomes that say whether
//! a call may have run ([`CallError`]); limits on everything; a tiny dyn-compatible trait
//! ([`Transport`]) with two implementations, in memory ([`Memory`]) and over TCP, TLS 1.3 and UDP
//! (`TcpTransport`). Three pages say more: [`guide`].
//!
//! **Is not:** RPC stubs, HTTP, discovery of services, NAT traversal, load balancing, durable
//! messaging, or exactly-once over a restart of the receiver (a retry over one is detected, not
//! executed).
//!
//! ```
//! # #[cfg(feature = "tokio")] {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use quorate_transport::*;
//! use std::time::Duration;
//!
//! let network = MemoryNetwork::new(); // or TcpTransport::bind(id, TcpConfig::lan().build()?)
//! let start = |n| {
//!     let id = Identity::new(ClusterId::new(7), NodeId::new(n), Incarnation::new(1));
//!     Endpoint::start(network.node(id), EndpointConfig::default())
//! };
//! let (a, b) = (start(1)?, start(2)?);
//! let client = a.channel(ChannelId::new(16), ChannelOptions::new())?;
//! let mut server = b.channel(ChannelId::new(16), ChannelOptions::new())?;
//!
//! let answer = client.call(NodeId::new(2), b"hi", CallOptions::within(Duration::from_secs(1)));
//! if let Some(Inbound::Call { body, reply, .. }) = server.recv().await {
//!     reply.reply(body)?;
//! }
//! assert_eq!(&answer.await?[..], b"hi");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap() }
//! ```
//!
//! # Patterns
//!
//! | *Patterns of Distributed Systems* | type |
//! |---|---|
//! | Single-Socket Channel | one session per (peer, [`Lane`]): one socket, both directions, FIFO |
//! | Request Pipeline | [`Channel::call`]: many calls in flight on one session, bounded |
//! | Request Batch | the lane writer: everything queued goes out in one gathered write |
//! | Request Waiting List | [`ReplySet::quorum`], [`ReplySet::quorum_where`] |
//! | Idempotent Receiver | [`IdempotentCaller`], and the table behind every [`Endpoint`] |
//! | Heartbeat | [`PeerWatch`], [`PeerHealth`] |
//! | Generation Clock (use of) | [`Incarnation`] in the handshake, zombie exclusion |
//!
//! # Guarantees
//!
//! | property | condition | test |
//! |---|---|---|
//! | a frame accepted by `send` is delivered 0 or 1 times and never altered | body check on | `conformance` (conservation), `bad_input::every_flipped_bit_of_every_kind_is_refused` |
//! | FIFO per sender, receiver and lane within a session; none of an older session after the first of a newer | always; none across lanes | `conformance` (fifo, simultaneous) |
//! | `send` and `call` never wait; an `Err` means nothing was sent | always | `conformance` (refusals, full queues) |
//! | `NotSent` and `Rejected` mean the handler had no effect; all else is `MaybeExecuted` | handlers reject only what they did not do | `calls`, `hazards::h11_…`, `h38_…`, `h39_…` |
//! | an idempotent call is executed at most once, however often it is retried, also over a restart of the receiver | the receiver's incarnation rises; at most `dedup_window` newer calls of the session | `dedup`, `campaign` |
//! | a stream ends in `None` only if every byte came and the sender finished; `finish` is `Ok` only after the receiver's application accepted | always | `streams`, `campaign` |
//! | traffic on Bulk or Data delays Control by turns of 64 KiB, not by what is queued | Linux: `TCP_NOTSENT_LOWAT`; elsewhere the socket's buffer | `hazards::bounds::h14_…`, benches P7 |
//! | a component that does not read delays only its own channel | always | `hazards::h28_…` |
//! | once a frame of a life of a node was delivered, none of an earlier life is, on no lane; connections of earlier lives are refused | this process remembers the peer | `conformance` (zombie), `links::h13_…`, `hazards::{sessions,lives}::h13_…` |
//! | a silent peer is `Suspect` and `Down` in time; a wedged lane is reset alone | watched, or talked to; local timers run | `liveness`, `hazards::h15_…` |
//! | dropping any future loses no acknowledged work and leaks no slot | always | `hazards::h02_…`, `h09_…` |
//! | malformed input closes that one connection with a typed reason, and allocates at most 64 KiB ahead of arrival | always | `bad_input`, `hazards::h03_…`, `violations_…` |
//! | a body that is not what its codec wrote executes nothing, and no length inside it drives allocation | typed channels | `codec::h05_…` |
//! | `Peer::authenticated` is true only if a valid certificate names exactly that node and cluster | feature `tls` | `tls`, `hazards::transports::h23_…`, `h40_…` |
//! | two nodes that dial each other at once agree on one connection, without loss | they live | `links` (every interleaving), `conformance` (simultaneous) |
//!
//! # Limits
//!
//! Everything that is queued has a bound, a counter and a typed answer: see [`EndpointConfig`] and
//! `TcpConfig`. Fixed: 65,536 peers, 8,192 connections (dials included), 8 addresses per peer, 255
//! bytes per address, 256 channels, 1,024 waiters of `poll_ready` per lane, 1 KiB of reject detail,
//! 64 KiB of a stream's head and of its chunks on the wire, 1,024 observed sources of datagrams.
//!
//! # How to drive it
//!
//! Make a transport, give it to [`Endpoint::start_with`] with a [`Runtime`] (or to `start` on
//! tokio), name peers with [`Endpoint::set_peer`], open a [`Channel`] per component. Connections
//! are dialed by the first frame for a lane and closed when idle. Drivers of protocols take
//! executor, clock, timers and seeds from [`Endpoint::runtime`] and nowhere else.
//!
//! # Failure model
//!
//! Peers may crash, restart, stall, or be cut off at any time; bytes may be lost, and altered by
//! accident (CRC-32, not a MAC): without TLS, whoever can reach the port is trusted to be who it
//! says. A restarted process must have a higher [`Incarnation`].
//!
//! # Features
//!
//! - `tokio` (default): `TcpTransport`, `TokioRuntime`, `Endpoint::start`. Without it the crate has
//!   no sockets and no executor: ids, frames, traits, [`PeerMux`], [`Endpoint`], [`Memory`].
//! - `tls`: TLS 1.3 for TCP (`TcpConfig::tls`), node identities in certificates. Pulls in rustls
//!   with ring.
//! - `testing`: `conformance`, the list of cases every transport must pass, and `Faulty`, which
//!   injects faults into any of them.
//! - `metrics`: `Endpoint::record_metrics`, for the `metrics` facade.
//! - `postcard`, `bincode`: codecs of serde for [`TypedChannel`]. bincode is unmaintained upstream
//!   (RUSTSEC-2025-0141), so it is in no default graph and in no signature without its feature.
//!
//! # Sources
//!
//! Joshi, *Patterns of Distributed Systems* (2023); RFC 6298 (round-trip time); RFC 5482 (TCP user
//! timeout); the byte tables are in FORMAT.md, the decisions in DESIGN.md.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod address;
mod backoff;
mod body;
mod call;
mod channel;
mod codec;
mod config;
#[cfg(feature = "testing")]
pub mod conformance;
mod crc;
mod datagram;
mod decode;
mod endpoint;
#[cfg(feature = "testing")]
mod faulty;
mod frame;
pub mod guide;
mod handshake;
mod idempotent;
mod ids;
mod inbox;
mod links;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
mod mutant;
mod mux;
#[cfg(all(feature = "tokio", not(loom)))]
mod queue;
mod quorum;
mod responder;
mod runtime;
mod stats;
mod stream;
mod sync;
#[cfg(all(feature = "tokio", not(loom)))] // tokio itself has no sockets under loom
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tokio")]
mod tokio_runtime;
mod transport;
mod typed;
#[cfg(all(feature = "tokio", not(loom)))]
mod udp;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use body::Body;
pub use call::{CallError, CallOptions, Cause, MaybeExecuted, Reject, Reply};
pub use channel::{BodyCheck, Channel, ChannelOptions, ChannelReceiver, ChannelSender, Inbound};
#[cfg(feature = "bincode")]
pub use codec::Bincode;
#[cfg(feature = "postcard")]
pub use codec::Postcard;
pub use codec::{Codec, CodecError, Raw};
#[cfg(feature = "tokio")]
pub use config::{AcceptPolicy, DatagramMode, TcpConfig, TcpConfigBuilder};
pub use config::{ConfigError, EndpointConfig, EndpointConfigBuilder};
pub use datagram::{Datagram, DatagramError};
pub use decode::Decoder;
pub use endpoint::{DialError, Endpoint, OpenError, PeerWatch, ShutdownError};
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub use faulty::{Fault, Faulty, FaultyControl, FaultyStats};
pub use frame::{Frame, FrameError, Kind};
pub use handshake::{Hello, HelloAck, HelloStatus};
pub use idempotent::{IdempotentCaller, SessionKey};
pub use ids::{
    ChannelId, ClusterId, Identity, Incarnation, Lane, NodeId, ParseIdError, Peer, Role, SessionId,
};
pub use links::{DialVerdict, DuplicateVerdict, HelloVerdict, LinkTable, Replaced};
pub use memory::{Memory, MemoryNetwork};
pub use mux::{
    CallId, InboundCall, LaneHealth, MuxEffect, MuxOutput, MuxStats, PeerHealth, PeerMux,
    PeerState, StreamId,
};
pub use quorate_clocks::{Clock, Monotonic, Timer};
pub use quorum::{NoQuorum, Quorum, ReplySet};
pub use responder::Responder;
pub use runtime::{Elapsed, Runtime, Task, sleep, timeout};
pub use stats::{ChannelStats, EndpointStats, TransportStats};
pub use stream::{RecvStream, SendStream, StreamError, StreamOptions};
#[cfg(all(feature = "tokio", not(loom)))]
pub use tcp::{BindError, TcpTransport};
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use tls::{ClientCertificates, TlsError, TlsHandle, TlsIdentity};
#[cfg(feature = "tokio")]
pub use tokio_runtime::TokioRuntime;
pub use transport::{
    DialId, DownReason, LaneStatus, Limits, LinkEvent, SendError, Sink, StartError, Transport,
};
pub use typed::{
    TypedCallError, TypedChannel, TypedInbound, TypedReceiver, TypedReply, TypedResponder,
    TypedSendError, TypedSender,
};

pub(crate) use responder::REJECT_DETAIL_MAX;

/// Waiters of `poll_ready` per lane.
pub(crate) const WAITERS_MAX: usize = 1_024;

#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
