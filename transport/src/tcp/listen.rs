//! The accept loop and the acceptor's side of the handshake.

use super::connection::{self, Agreed, Connection, Head, Terms};
use super::dial::first_frame;
use super::race::{race, wait_for};
use super::shared::Shared;
use super::stream::{Proof, Stream};
use super::wire::{Wire, write_all};
use crate::links::HelloVerdict;
use crate::{AcceptPolicy, DownReason, Hello, HelloAck, HelloStatus};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Handshakes per source address at once.
const PER_SOURCE_MAX: u32 = 16;
/// Connections at once.
const CONNECTIONS_MAX: usize = 8_192;

/// Accepts until the shutdown: no error ends it. // H19
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let pending = Arc::new(Pending::default());
    let mut stopped = shared.stopped.subscribe();
    let mut pause = Duration::from_millis(10);
    loop {
        let stop = async {
            wait_for(&mut stopped).await;
            None
        };
        let Some(accepted) = race(stop, async { Some(listener.accept().await) }).await else {
            return;
        };
        match accepted {
            Ok((stream, remote)) => {
                pause = Duration::from_millis(10);
                match pending.enter(&shared, remote.ip()) {
                    Some(place) => greet(&shared, stream, remote, place),
                    None => shared.counters.handshakes_overflow.add(1),
                }
            }
            Err(error) => {
                shared.counters.accept_errors.add(1);
                tracing::debug!(%error, "accept failed");
                if is_exhaustion(&error) {
                    // Nothing is accepted before something is closed: trying at once would spin.
                    let _ = timeout(pause, wait_for(&mut stopped)).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }
}

/// EMFILE, ENFILE, ENOMEM, ENOBUFS: the process or the machine is out of something.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 12 | 105))
        || error.kind() == io::ErrorKind::OutOfMemory
}

/// Handshakes being made, so that strangers who connect and say nothing hold little. // H20
#[derive(Default)]
struct Pending(Mutex<BTreeMap<IpAddr, u32>>);

struct Place {
    pending: Arc<Pending>,
    shared: Arc<Shared>,
    source: IpAddr,
}

impl Pending {
    fn enter(self: &Arc<Self>, shared: &Arc<Shared>, source: IpAddr) -> Option<Place> {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: u32 = sources.values().sum();
        let count = sources.get(&source).copied().unwrap_or(0);
        if all >= shared.config.handshakes_pending_max || count >= PER_SOURCE_MAX {
            return None; // whoever is turned away leaves no entry either
        }
        sources.insert(source, count + 1);
        shared.counters.handshakes_pending.add(1);
        Some(Place { pending: self.clone(), shared: shared.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = self.pending.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sources.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                sources.remove(&self.source);
            }
        }
        self.shared.counters.handshakes_pending.sub(1);
    }
}

fn greet(shared: &Arc<Shared>, stream: TcpStream, remote: SocketAddr, place: Place) {
    let shared = shared.clone();
    drop(shared.handle.clone().spawn(async move {
        let limit = shared.config.handshake_timeout;
        let answer = timeout(limit, handshake(&shared, stream, remote)).await;
        if let Ok(Ok((stream, hello, decoder))) = answer {
            answer_hello(&shared, stream, remote, &hello, decoder).await;
        }
        drop(place);
    }));
}

async fn handshake(
    shared: &Shared,
    tcp: TcpStream,
    remote: SocketAddr,
) -> Result<(Stream, Hello, crate::Decoder), DownReason> {
    let mut stream = Stream::accept(shared, tcp).await?;
    let (frame, decoder) = first_frame(shared, &mut stream).await.inspect_err(|reason| {
        tracing::debug!(%remote, %reason, "no handshake");
    })?;
    let hello = Hello::decode(&frame).map_err(|error| {
        shared.count_violation(error);
        if shared.may_warn(remote.ip()) {
            tracing::warn!(%remote, %error, "malformed handshake");
        }
        DownReason::Protocol
    })?;
    Ok((stream, hello, decoder))
}

/// The checks in the order of the format; the first failure is the status.
fn admit(shared: &Shared, hello: &Hello, proof: Proof) -> HelloStatus {
    let status = hello.check(&shared.identity);
    if status != HelloStatus::Accept {
        return status;
    }
    if !proof.admits(hello.identity.role) && !crate::mutant::on("san_check_skipped") {
        return HelloStatus::Identity; // H23
    }
    let peer = shared.peer(hello.identity.node);
    let known = peer.as_ref().is_some_and(|peer| peer.is_known());
    // A name that somebody proved, or that this node has an address for, is not to be had for the
    // asking. // H23
    let taken = known || peer.is_some_and(|peer| peer.is_proven());
    if taken && proof.is_anonymous() {
        return HelloStatus::Identity;
    }
    if shared.config.accept == AcceptPolicy::KnownOnly && !known {
        return HelloStatus::UnknownPeer;
    }
    if shared.is_closing() {
        return HelloStatus::Shutdown;
    }
    if *shared.live.borrow() >= CONNECTIONS_MAX {
        shared.counters.connections_overflow.add(1);
        return HelloStatus::Overloaded;
    }
    HelloStatus::Accept
}

async fn answer_hello(
    shared: &Arc<Shared>,
    stream: Stream,
    remote: SocketAddr,
    hello: &Hello,
    decoder: crate::Decoder,
) {
    let me = shared.identity;
    let proof = stream.proof(shared, hello.identity.node);
    let status = admit(shared, hello, proof);
    let mut ack = HelloAck::new(status, me.node, me.incarnation, hello.nonce);
    ack.frame_bytes_max = shared.limits.body_bytes_max(hello.lane);
    ack.features = shared.features & hello.features;
    ack.stream_window_bytes = shared.config.stream_window_bytes;
    ack.ping_interval_ms = shared.config.ping_interval_ms();
    ack.observed = Some(remote);
    if ack.status == HelloStatus::Accept {
        match shared.peer_or_insert(hello.identity.node) {
            Some(peer) => {
                let mut links = peer.links();
                let (nonce, dead) = (hello.nonce, hello.dead_nonce);
                let life = hello.identity.incarnation;
                if proof.is_proven() && !peer.is_proven() {
                    links.distrust(); // what the name's former users said of its lives
                }
                match links.handle_hello(hello.lane, life, nonce, dead) {
                    HelloVerdict::Accept { restarted, replaces } => {
                        let conn = accept(shared, stream, hello, &ack, proof);
                        peer.install(shared, &conn, restarted, replaces);
                        drop(links);
                        return connection::spawn(shared, &peer, &conn, decoder);
                    }
                    HelloVerdict::Refuse { status, other_nonce, known } => {
                        ack.status = status;
                        ack.other_nonce = other_nonce;
                        ack.known = known;
                    }
                }
            }
            None => ack.status = HelloStatus::Overloaded,
        }
    }
    refuse(shared, stream, hello, &ack).await;
}

/// The connection, with the answer as the first thing its writer writes.
fn accept(
    shared: &Shared,
    stream: Stream,
    hello: &Hello,
    ack: &HelloAck,
    proof: Proof,
) -> Arc<Connection> {
    super::socket::tune(stream.tcp(), hello.lane, &shared.config);
    let id = hello.identity;
    let mut peer = crate::Peer::new(id.node, id.incarnation, id.role);
    peer.authenticated = proof.is_proven();
    let agreed = Agreed {
        peer,
        lane: hello.lane,
        nonce: hello.nonce,
        frame_bytes_max: hello.frame_bytes_max,
        terms: Terms { features: ack.features, stream_window_bytes: hello.stream_window_bytes },
    };
    let frame = ack.to_frame();
    let head = frame.encode_header(0).ok();
    let head = head.map(|header| Head { header, frame, written: 0, counted: false });
    Connection::new(shared, stream, &agreed, head)
}

/// The reason travels to the dialer, whose log says why. // H33
async fn refuse(shared: &Shared, mut stream: Stream, hello: &Hello, ack: &HelloAck) {
    shared.counters.refused[ack.status as usize].add(1);
    let (peer, status) = (hello.identity.node, ack.status);
    // A duplicate is the ordinary end of two dials at once.
    if status != HelloStatus::Duplicate && shared.may_warn(peer) {
        tracing::warn!(%peer, lane = %hello.lane, %status, "handshake refused");
    } else {
        tracing::debug!(%peer, lane = %hello.lane, %status, "handshake refused");
    }
    let Ok(wire) = ack.to_frame().encode(0) else { return };
    let farewell = async {
        let _ = write_all(&mut stream, &wire).await;
        poll_fn(|cx| stream.poll_close(cx)).await;
    };
    let _ = timeout(shared.config.handshake_timeout, farewell).await;
}
