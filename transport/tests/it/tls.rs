//! TLS: who is let in, who is not, and that the dialer learns why.

use crate::support::*;
use crate::tcp::{bind, echo, guarded};
use quorate_transport::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;

/// An authority of the tests.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key of a node.
    fn signs(&self, cluster: ClusterId, n: u64, change: impl Fn(&mut CertificateParams)) -> Pair {
        let names =
            [format!("n{n}.c{cluster}.quorate.internal"), format!("c{cluster}.quorate.internal")];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// What node `n` shows; it believes this authority too.
    pub fn identity(&self, n: u64) -> TlsIdentity {
        self.identity_in(CLUSTER, n)
    }

    /// Certificate and key of node `n`, as PEM.
    pub fn pair(&self, n: u64) -> Pair {
        self.signs(CLUSTER, n, |_| {})
    }

    pub fn identity_in(&self, cluster: ClusterId, n: u64) -> TlsIdentity {
        self.believes(&self.signs(cluster, n, |_| {}))
    }

    /// What somebody shows whose certificate is another authority's.
    fn believes(&self, (chain, key): &Pair) -> TlsIdentity {
        TlsIdentity::from_pem(self.pem().as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap()
    }
}

pub type Pair = (String, String);

pub fn config(tls: TlsIdentity) -> TcpConfigBuilder {
    TcpConfig::local().tls(tls).handshake_timeout(std::time::Duration::from_secs(20))
}

pub fn bind_tls(n: u64, tls: TlsIdentity) -> Arc<TcpTransport> {
    TcpTransport::bind(identity(n, 1), config(tls).build().unwrap()).unwrap()
}

pub struct Running {
    pub endpoint: Endpoint,
    pub transport: Arc<TcpTransport>,
    pub sender: ChannelSender,
}

impl Running {
    /// Answers every call.
    pub fn new(transport: Arc<TcpTransport>) -> Self {
        let endpoint = Endpoint::start(transport.clone(), EndpointConfig::default()).unwrap();
        let channel = endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap();
        let (sender, receiver) = channel.split();
        echo(receiver);
        Self { endpoint, transport, sender }
    }

    pub fn knows(&self, other: &Self) {
        let at = other.transport.local_addr().unwrap();
        self.endpoint.set_peer(other.endpoint.identity().node, &[at.into()]);
    }

    /// Calls node 2, which cannot be reached, and tells why.
    pub async fn why_not(&self) -> DownReason {
        let outcome = guarded("an outcome", self.sender.call(node(2), b"x", seconds(20))).await;
        assert_eq!(outcome, Err(CallError::NotSent(SendError::Disconnected)));
        self.transport.lane(node(2), Lane::Data).last_failure.expect("the dial failed")
    }
}

/// What comes of node 1 with `dialer` calling node 2 with `acceptor`.
pub async fn refusal(dialer: TlsIdentity, acceptor: TlsIdentity) -> (DownReason, TransportStats) {
    let (a, b) = (Running::new(bind_tls(1, dialer)), Running::new(bind_tls(2, acceptor)));
    a.knows(&b);
    let reason = a.why_not().await;
    let refused = HelloStatus::Identity as usize;
    let stats = counted(&b, |stats| stats.tls_errors + stats.refused[refused] > 0).await;
    assert_eq!(stats.sessions, 0);
    (reason, stats)
}

/// The statistics, once they say so: the other side may learn of a refusal later.
async fn counted(of: &Running, enough: impl Fn(&TransportStats) -> bool) -> TransportStats {
    guarded("the count", async {
        loop {
            let stats = of.endpoint.transport_stats();
            if enough(&stats) {
                return stats;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_pair_talks_on_every_lane_and_is_authenticated() {
    let ca = Authority::new();
    let a = Running::new(bind_tls(1, ca.identity(1)));
    let b = bind_tls(2, ca.identity(2));
    let at = b.local_addr().unwrap();
    let b = Endpoint::start(b, EndpointConfig::default()).unwrap();
    a.endpoint.set_peer(node(2), &[at.into()]);
    let mut server = b.channel(CHANNEL, ChannelOptions::new()).unwrap();
    for lane in Lane::ALL {
        for size in [0, 1, 1_000, 60_000] {
            let call = a.sender.call(node(2), vec![7; size], seconds(20).lane(lane));
            let inbound = guarded("a call", server.recv()).await;
            let Some(Inbound::Call { from, body, reply }) = inbound else { panic!("{inbound:?}") };
            assert!(from.authenticated && body.len() == size);
            reply.reply(body).unwrap();
            assert_eq!(guarded("an answer", call).await.unwrap().len(), size);
        }
    }
    // And back, over the same connections.
    server.send(node(1), Lane::Data, b"one way").unwrap();
    let call = server.call(node(1), b"back", seconds(20));
    assert_eq!(&guarded("an answer", call).await.unwrap()[..], b"back");
    let stats = b.transport_stats();
    assert_eq!((stats.sessions_open, stats.tls_errors, stats.inline_writes), (3, 0, 0));
    guarded("shutdown", a.endpoint.shutdown()).await.unwrap();
    guarded("shutdown", b.shutdown()).await.unwrap();
    let stats = b.transport_stats();
    assert_eq!(
        (stats.sessions_open, stats.protocol_errors, stats.down(DownReason::Closed)),
        (0, 0, 3)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_cluster_is_refused() {
    let ca = Authority::new();
    let foreign = |n| ca.believes(&ca.signs(ClusterId::new(9), n, |_| {}));
    let (reason, _) = refusal(ca.identity(1), foreign(2)).await;
    assert_eq!(reason, DownReason::Identity);
    let (reason, _) = refusal(foreign(1), ca.identity(2)).await;
    assert_eq!(reason, DownReason::Refused(HelloStatus::Identity));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_authority_is_refused_and_the_dialer_learns_it() {
    let (ca, other) = (Authority::new(), Authority::new());
    let (reason, stats) = refusal(ca.identity(1), other.identity(2)).await;
    assert_eq!((reason, stats.tls_errors), (DownReason::Identity, 1));
    // The dialer believes the acceptor, but not the other way round.
    let dialer = ca.believes(&other.signs(CLUSTER, 1, |_| {}));
    let (reason, stats) = refusal(dialer, ca.identity(2)).await;
    assert_eq!((reason, stats.tls_errors), (DownReason::Identity, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_refused() {
    let ca = Authority::new();
    let expired = |n| {
        ca.believes(&ca.signs(CLUSTER, n, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }))
    };
    assert_eq!(refusal(ca.identity(1), expired(2)).await.0, DownReason::Identity);
    assert_eq!(refusal(expired(1), ca.identity(2)).await.0, DownReason::Identity);
}

fn anonymous(n: u64, ca: &Authority) -> Running {
    let tls = TlsIdentity::anonymous_from_pem(ca.pem().as_bytes()).unwrap();
    let me = identity(n, 1).with_role(Role::Client);
    Running::new(TcpTransport::bind(me, config(tls).build().unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_only_clients_get_in_and_only_where_that_is_allowed() {
    let ca = Authority::new();
    let strict = Running::new(bind_tls(2, ca.identity(2)));
    let client = anonymous(9, &ca);
    client.knows(&strict);
    assert_eq!(client.why_not().await, DownReason::Identity);
    counted(&strict, |stats| stats.tls_errors == 1).await;

    let optional = config(ca.identity(2)).client_certificates(ClientCertificates::Optional);
    let open = TcpTransport::bind(identity(2, 1), optional.build().unwrap()).unwrap();
    let at = open.local_addr().unwrap();
    let open = Endpoint::start(open, EndpointConfig::default()).unwrap();
    let mut server = open.channel(CHANNEL, ChannelOptions::new()).unwrap();
    for (certificate, client) in
        [(false, anonymous(9, &ca)), (true, Running::new(bind_tls(1, ca.identity(1))))]
    {
        client.endpoint.set_peer(node(2), &[at.into()]);
        let call = client.sender.call(node(2), b"x", seconds(20));
        let inbound = guarded("a call", server.recv()).await;
        let Some(Inbound::Call { from, body, reply }) = inbound else { panic!("{inbound:?}") };
        assert_eq!(from.authenticated, certificate);
        reply.reply(body).unwrap();
        guarded("an answer", call).await.unwrap();
    }
    // A member has to listen, and without a certificate it cannot.
    let tls = TlsIdentity::anonymous_from_pem(ca.pem().as_bytes()).unwrap();
    let refused = TcpTransport::bind(identity(4, 1), config(tls).build().unwrap());
    assert_eq!(refused.err(), Some(BindError::NoCertificate));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_believes_only_who_can_prove_it() {
    let ca = Authority::new();
    let a = Running::new(bind_tls(1, ca.identity(1)));
    let right = Running::new(bind_tls(2, ca.identity(2)));
    let at = Address::from(right.transport.local_addr().unwrap());
    let found = guarded("discovery", a.endpoint.discover(&at)).await.unwrap();
    assert_eq!((found.node, found.authenticated), (node(2), true));
    // Again, over the standing connection's refusal of a duplicate.
    let found = guarded("discovery", a.endpoint.discover(&at)).await.unwrap();
    assert_eq!((found.node, found.authenticated), (node(2), true));
    // Of the cluster, but not the node it says to be.
    let liar = Running::new(bind_tls(4, ca.identity(8)));
    let at = Address::from(liar.transport.local_addr().unwrap());
    let refused = guarded("discovery", a.endpoint.discover(&at)).await;
    assert_eq!(refused, Err(DialError::Failed(DownReason::Identity)));
    let foreign = ca.believes(&ca.signs(ClusterId::new(9), 2, |_| {}));
    let foreign = Running::new(bind_tls(2, foreign));
    let at = Address::from(foreign.transport.local_addr().unwrap());
    let refused = guarded("discovery", a.endpoint.discover(&at)).await;
    assert_eq!(refused, Err(DialError::Failed(DownReason::Identity)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_and_tls_do_not_understand_each_other() {
    let ca = Authority::new();
    let sealed = Running::new(bind_tls(2, ca.identity(2)));
    let plain = Running::new(bind(1, 1));
    plain.knows(&sealed);
    let reason = plain.why_not().await;
    assert!(matches!(reason, DownReason::Io(_) | DownReason::Protocol), "{reason}");
    counted(&sealed, |stats| stats.tls_errors == 1).await;

    let plain = Running::new(bind(2, 1));
    let sealed = Running::new(bind_tls(1, ca.identity(1)));
    sealed.knows(&plain);
    let reason = sealed.why_not().await;
    assert!(matches!(reason, DownReason::Io(_) | DownReason::Protocol), "{reason}");
    assert_eq!(plain.endpoint.transport_stats().sessions, 0);
}

#[test]
fn certificates_that_cannot_be_used_are_refused_with_a_reason() {
    let (ca, node2) = (Authority::new(), Authority::new());
    let (chain, key) = ca.signs(CLUSTER, 1, |_| {});
    let (_, other_key) = node2.signs(CLUSTER, 1, |_| {});
    let pem = ca.pem();
    let load = |ca: &str, chain: &str, key: &str| {
        TlsIdentity::from_pem(ca.as_bytes(), chain.as_bytes(), key.as_bytes()).err()
    };
    assert_eq!(load(&pem, &chain, &key), None);
    assert_eq!(load("", &chain, &key), Some(TlsError::Empty { what: "ca" }));
    assert_eq!(load(&pem, "", &key), Some(TlsError::Empty { what: "chain" }));
    assert_eq!(load(&pem, &chain, ""), Some(TlsError::Empty { what: "key" }));
    let mismatch = load(&pem, &chain, &other_key);
    assert!(
        matches!(mismatch, Some(TlsError::Refused { what: "certificate", .. })),
        "{mismatch:?}"
    );
    let cut = load(&pem, &chain[..chain.len() / 2], &key);
    assert!(matches!(cut, Some(TlsError::Pem { what: "chain", .. })), "{cut:?}");
    let secret = load(&pem, &chain, &key[..key.len() / 2]).unwrap().to_string();
    assert!(!secret.contains(&key[40..60]), "an error shows the key: {secret}");
}

/// A stranger who may join as a client does not get a member's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h23_a_stranger_without_a_certificate_does_not_take_a_members_name() {
    let ca = Authority::new();
    let optional = config(ca.identity(1)).client_certificates(ClientCertificates::Optional);
    let server = TcpTransport::bind(identity(1, 1), optional.build().unwrap()).unwrap();
    let server = Running::new(server);
    // Somebody calls himself node 2 before the member is there: his word of its lives is worthless.
    let stranger = |life| {
        let tls = TlsIdentity::anonymous_from_pem(ca.pem().as_bytes()).unwrap();
        let id = identity(2, life).with_role(Role::Client);
        Running::new(TcpTransport::bind(id, config(tls).build().unwrap()).unwrap())
    };
    let early = stranger(u64::MAX);
    early.knows(&server);
    let call = early.sender.call(node(1), b"hi", seconds(20));
    drop(guarded("an outcome", call).await);
    let member = Running::new(bind_tls(2, ca.identity(2)));
    member.knows(&server);
    guarded("the member", crate::tcp::call_until_answered(&member.sender, node(1))).await;
    // And after: refused, the member's sessions stand.
    let late = stranger(u64::MAX);
    late.knows(&server);
    let outcome = guarded("a refusal", late.sender.call(node(1), b"x", seconds(20))).await;
    assert_eq!(outcome, Err(CallError::NotSent(SendError::Disconnected)));
    let reason = late.transport.lane(node(1), Lane::Data).last_failure;
    assert_eq!(reason, Some(DownReason::Refused(HelloStatus::Identity)));
    let answer = guarded("the member", member.sender.call(node(1), b"x", seconds(20))).await;
    assert_eq!(answer.as_deref(), Ok(&b"x"[..]));
}
