//! One bounded transport for every distributed component of a process.

mod address;
mod backoff;
mod body;
mod call;
mod channel;
mod config;
#[cfg(feature = "testing")]
pub mod conformance;
mod decode;
mod endpoint;
mod frame;
mod handshake;
mod ids;
mod inbox;
mod links;
mod memory;
mod mutant;
mod mux;
#[cfg(feature = "tokio")]
mod queue;
mod responder;
mod runtime;
mod stats;
#[cfg(feature = "tokio")]
mod tcp;
#[cfg(feature = "tokio")]
mod tokio_runtime;
mod transport;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use body::Body;
pub use call::{CallError, CallOptions, Cause, MaybeExecuted, Reject, Reply};
pub use channel::{BodyCheck, Channel, ChannelOptions, ChannelReceiver, ChannelSender, Inbound};
#[cfg(feature = "tokio")]
pub use config::{AcceptPolicy, TcpConfig, TcpConfigBuilder};
pub use config::{ConfigError, EndpointConfig, EndpointConfigBuilder};
pub use decode::Decoder;
pub use endpoint::{DialError, Endpoint, OpenError, PeerWatch, ShutdownError};
pub use frame::{Frame, FrameError, Kind};
pub use handshake::{Hello, HelloAck, HelloStatus};
pub use ids::{
    ChannelId, ClusterId, Identity, Incarnation, Lane, NodeId, ParseIdError, Peer, Role, SessionId,
};
pub use links::{DialVerdict, DuplicateVerdict, HelloVerdict, LinkTable, Replaced};
pub use memory::{Memory, MemoryNetwork};
pub use mux::{
    CallId, InboundCall, LaneHealth, MuxEffect, MuxOutput, MuxStats, PeerHealth, PeerMux, PeerState,
};
pub use quorate_clocks::{Clock, Monotonic, Timer};
pub(crate) use responder::REJECT_DETAIL_MAX;
pub use responder::Responder;
pub use runtime::{Elapsed, Runtime, Task, sleep, timeout};
pub use stats::{ChannelStats, EndpointStats, TransportStats};
#[cfg(feature = "tokio")]
pub use tcp::{BindError, TcpTransport};
#[cfg(feature = "tokio")]
pub use tokio_runtime::TokioRuntime;
pub use transport::{
    DialId, DownReason, LaneStatus, Limits, LinkEvent, SendError, Sink, StartError, Transport,
};

/// Waiters of `poll_ready` per lane.
pub(crate) const WAITERS_MAX: usize = 1_024;
