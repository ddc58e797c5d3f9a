//! Two nodes of ours over TCP, and the server that answers every call with its own body.

use crate::certificates::Authority;
use crate::side::{Side, Sides};
use crate::subject::{Caller, Served, Subject};
use bytes::Bytes;
use quorate_transport::{
    CallOptions, Channel, ChannelId, ChannelOptions, ChannelSender, ClusterId, Endpoint,
    EndpointConfig, Identity, Inbound, Incarnation, Lane, NodeId, Role, TcpConfig,
    TcpConfigBuilder, TcpTransport,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(crate) const CHANNEL: ChannelId = ChannelId::new(16);
pub(crate) const CLUSTER: ClusterId = ClusterId::new(7);
pub(crate) const SERVER: NodeId = NodeId::new(2);
const WITHIN: Duration = Duration::from_secs(10);
/// The payload of most lanes.
pub(crate) const PAYLOAD: &[u8; 64] = &[7; 64];

pub(crate) fn identity(node: u64, life: u64) -> Identity {
    Identity::new(CLUSTER, NodeId::new(node), Incarnation::new(life))
}

/// A node that listens at `at`, on the runtime of this thread.
pub(crate) fn node(identity: Identity, at: SocketAddr) -> (Arc<TcpTransport>, Endpoint) {
    start(identity, TcpConfig::local().listen(at))
}

/// A node with these settings, on the runtime of this thread.
pub(crate) fn start(identity: Identity, config: TcpConfigBuilder) -> (Arc<TcpTransport>, Endpoint) {
    let config = config.build().expect("within the ranges");
    let tcp = TcpTransport::bind(identity, config).expect("a free port");
    let endpoint = Endpoint::start(tcp.clone(), EndpointConfig::default()).expect("first start");
    (tcp, endpoint)
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn open(endpoint: &Endpoint, id: ChannelId) -> Channel {
    endpoint.channel(id, ChannelOptions::new()).expect("not open yet")
}

/// A client's endpoint and a server's, which know each other.
pub(crate) struct Pair {
    pub(crate) client: Endpoint,
    pub(crate) server: Endpoint,
}

impl Pair {
    pub(crate) fn new(sides: &Sides) -> Self {
        Self::started(sides, |_| TcpConfig::local())
    }

    /// The same behind TLS, with a certificate each.
    pub(crate) fn sealed(sides: &Sides) -> Self {
        let authority = Authority::new();
        Self::started(sides, |node| TcpConfig::local().tls(authority.certify(node)))
    }

    fn started(sides: &Sides, settings: impl Fn(u64) -> TcpConfigBuilder) -> Self {
        let settings = |node| settings(node).listen(any_port());
        let (mine, its) = (settings(1), settings(2));
        let (listening, server) = sides.server.run(async { start(identity(2, 1), its) });
        let mut client = identity(1, 1);
        client.role = Role::Client;
        let (_, client) = sides.client.run(async move { start(client, mine) });
        let at = listening.local_addr().expect("a member listens");
        client.set_peer(SERVER, &[at.into()]);
        Self { client, server }
    }
}

/// Answers every call of a channel with its own body.
pub(crate) fn serve(side: &Side, mut channel: Channel) -> Served {
    let served = Served::default();
    let count = served.clone();
    drop(side.begin(async move {
        while let Some(inbound) = channel.recv().await {
            if let Inbound::Call { body, reply, .. } = inbound {
                count.fetch_add(1, Ordering::SeqCst);
                reply.reply(body).expect("the client lives");
            }
        }
    }));
    served
}

/// Calls of 64 bytes to the server.
#[derive(Clone)]
pub(crate) struct Calls {
    sender: ChannelSender,
    lane: Lane,
    body: Bytes,
}

impl Calls {
    pub(crate) fn new(sender: ChannelSender, lane: Lane) -> Self {
        Self { sender, lane, body: Bytes::from_static(PAYLOAD) }
    }
}

impl Caller for Calls {
    async fn call(&self) {
        let options = CallOptions::within(WITHIN).lane(self.lane);
        let answer = self.sender.call(SERVER, self.body.clone(), options).await;
        assert_eq!(answer.as_ref(), Ok(&self.body));
    }
}

pub(crate) fn calls(sides: &Sides) -> Subject {
    let pair = Pair::new(sides);
    let served = serve(&sides.server, open(&pair.server, CHANNEL));
    // The receiving half keeps the channel open.
    let (sender, receiver) = open(&pair.client, CHANNEL).split();
    Subject::new("ours", Calls::new(sender, Lane::Data), served, (pair, receiver))
}
