//! Dials of one lane: at once, then after growing delays, for as long as somebody wants to send.

use super::connection::{self, Agreed, Connection, GOAWAY_REPLACED, Terms};
use super::lane::Dial;
use super::peer::TcpPeer;
use super::race::{race, wait_for};
use super::shared::Shared;
use super::stream::{Stream, reason_of};
use super::wire::{Source, write_all};
use crate::links::{DialVerdict, DuplicateVerdict};
use crate::{
    Address, Decoder, DialId, DownReason, Frame, FrameError, Hello, HelloAck, HelloStatus, Lane,
    LinkEvent, NodeId, Peer, Role,
};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Socket addresses tried per name.
const RESOLVED_MAX: usize = 8;
/// Dials in a row that answer `Duplicate` of a connection that is dead here.
const REDIALS_MAX: u32 = 3;

/// Starts the dial task of a lane whose state says that there is one now.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    peer: &Arc<TcpPeer>,
    lane: Lane,
    delay: Option<Duration>,
) {
    shared.live.send_modify(|live| *live += 1);
    let dialer = Dialer { shared: shared.clone(), peer: peer.clone(), lane };
    drop(shared.handle.spawn(async move { dialer.run(delay).await }));
}

struct Dialer {
    shared: Arc<Shared>,
    peer: Arc<TcpPeer>,
    lane: Lane,
}

impl Dialer {
    async fn run(&self, mut delay: Option<Duration>) {
        let lane = self.peer.lane(self.lane);
        let mut killed = self.shared.killed.subscribe();
        loop {
            if let Some(delay) = delay.take() {
                let _ = timeout(delay, race(wait_for(&mut killed), lane.redial.notified())).await;
            }
            if !self.begin() {
                return;
            }
            let stop = async {
                wait_for(&mut killed).await;
                Err(DownReason::Shutdown)
            };
            let outcome = race(stop, self.attempt()).await;
            lane.dialing.send_replace(false);
            match outcome {
                Ok(()) => return,
                Err(reason) => match self.failed(reason) {
                    Some(wait) => delay = Some(wait),
                    None => return,
                },
            }
        }
    }

    /// Whether a dial is still wanted; if so, it counts as begun.
    fn begin(&self) -> bool {
        let lane = self.peer.lane(self.lane);
        let state = lane.lock();
        let wanted = matches!(state.dial, Dial::Fresh | Dial::Failed { wanted: true });
        let begins = wanted && state.conn.is_none() && !self.shared.is_closing();
        if begins {
            lane.dialing.send_replace(true);
        }
        begins
    }

    /// The delay before the next try, if there is to be one; what was queued is unsent. // H39
    fn failed(&self, reason: DownReason) -> Option<Duration> {
        let lane = self.peer.lane(self.lane);
        self.shared.counters.dials_failed.add(1);
        let mut state = lane.lock();
        if state.conn.is_some() {
            return None; // the peer's own dial came through meanwhile
        }
        state.last_failure = Some(reason);
        let delay = state.backoff.next(self.shared.random());
        state.dial = Dial::Failed { wanted: false };
        drop(state);
        let refused = matches!(reason, DownReason::Refused(_) | DownReason::Identity);
        if refused && self.shared.may_warn(self.peer.node) {
            tracing::warn!(peer = %self.peer.node, lane = %self.lane, %reason, "handshake refused");
        } else {
            tracing::debug!(peer = %self.peer.node, lane = %self.lane, %reason, "dial failed");
        }
        let unsent = lane.give_up(|_| {});
        self.shared.report_unsent(self.peer.node, self.lane, unsent);
        Some(delay)
    }

    async fn attempt(&self) -> Result<(), DownReason> {
        let mut last = DownReason::Io(ErrorKind::AddrNotAvailable);
        for address in self.peer.addresses() {
            match resolve(&self.shared, &address).await {
                Err(reason) => last = reason,
                Ok(found) => {
                    for remote in found {
                        match self.dial(remote).await {
                            Ok(()) => return Ok(()),
                            Err(reason) => last = reason,
                        }
                    }
                }
            }
        }
        Err(last)
    }

    async fn dial(&self, remote: SocketAddr) -> Result<(), DownReason> {
        for _ in 0..REDIALS_MAX {
            let dead_nonce = self.peer.links().dead_nonce(self.lane);
            let target = Some(self.peer.node);
            let dialed = connect(&self.shared, remote, self.lane, target, dead_nonce).await?;
            match dialed.ack.check(&dialed.hello) {
                Ok(()) => return install(&self.shared, &self.peer, self.lane, dialed),
                Err(HelloStatus::Duplicate) => {
                    let other = dialed.ack.other_nonce;
                    match self.peer.links().handle_duplicate(self.lane, other) {
                        DuplicateVerdict::Held => return Ok(()),
                        DuplicateVerdict::Redial => {}
                    }
                }
                Err(status) => return Err(refused(&self.shared, status)),
            }
        }
        Err(refused(&self.shared, HelloStatus::Duplicate))
    }
}

/// Also a panic or an abort leaves the lane free to dial again. // H29
impl Drop for Dialer {
    fn drop(&mut self) {
        let lane = self.peer.lane(self.lane);
        lane.dialing.send_replace(false);
        let unsent = lane.give_up(|state| state.dial = Dial::Idle);
        self.shared.report_unsent(self.peer.node, self.lane, unsent);
        self.shared.live.send_modify(|live| *live -= 1);
    }
}

/// Names are resolved at each dial. // H31
async fn resolve(shared: &Shared, address: &Address) -> Result<Vec<SocketAddr>, DownReason> {
    let found = timeout(shared.config.connect_timeout, lookup_host(address.as_str())).await;
    let found = found.map_err(|_| DownReason::Timeout)?.map_err(|e| DownReason::Io(e.kind()))?;
    Ok(found.take(RESOLVED_MAX).collect())
}

struct Dialed {
    stream: Stream,
    decoder: Decoder,
    hello: Hello,
    ack: HelloAck,
    /// Whoever answered, as far as it is proven.
    peer: Peer,
}

async fn connect(
    shared: &Shared,
    remote: SocketAddr,
    lane: Lane,
    target: Option<NodeId>,
    dead_nonce: u64,
) -> Result<Dialed, DownReason> {
    shared.counters.dials.add(1);
    let tcp = timeout(shared.config.connect_timeout, TcpStream::connect(remote)).await;
    let tcp = tcp.map_err(|_| DownReason::Timeout)?.map_err(|e| DownReason::Io(e.kind()))?;
    super::socket::tune(&tcp, lane, &shared.config);
    let mut hello = Hello::new(shared.identity, lane, target, shared.random().max(1));
    hello.dead_nonce = dead_nonce;
    hello.frame_bytes_max = shared.limits.body_bytes_max(lane);
    hello.features = shared.features;
    hello.stream_window_bytes = shared.config.stream_window_bytes;
    hello.ping_interval_ms = shared.config.ping_interval_ms();
    hello.advertised = shared.advertised;
    let exchange = async {
        let mut stream = Stream::dial(shared, tcp, target).await?;
        let (ack, decoder) = exchange(shared, &mut stream, &hello).await?;
        Ok((stream, ack, decoder))
    };
    let (stream, ack, decoder) = timeout(shared.config.handshake_timeout, exchange)
        .await
        .map_err(|_| DownReason::Timeout)??;
    let proof = stream.proof(shared, ack.node);
    let welcome = matches!(ack.status, HelloStatus::Accept | HelloStatus::Duplicate);
    if welcome && !proof.admits(Role::Member) && !crate::mutant::on("san_check_skipped") {
        return Err(DownReason::Identity); // H23
    }
    let mut peer = Peer::new(ack.node, ack.incarnation, Role::Member);
    peer.authenticated = proof.is_proven();
    Ok(Dialed { stream, decoder, hello, ack, peer })
}

async fn exchange(
    shared: &Shared,
    stream: &mut Stream,
    hello: &Hello,
) -> Result<(HelloAck, Decoder), DownReason> {
    let wire = hello.to_frame().encode(0).map_err(|_| DownReason::Protocol)?;
    let written = write_all(stream, &wire).await;
    // Also after an error: what the other side said before it closed tells why.
    let answer = first_frame(shared, stream).await;
    let (frame, decoder) = match (written, answer) {
        (Err(error), Err(DownReason::Io(_))) => return Err(reason_of(&error)),
        (_, answer) => answer?,
    };
    let ack = HelloAck::decode(&frame).map_err(|error| {
        shared.count_violation(error);
        DownReason::Protocol
    })?;
    Ok((ack, decoder))
}

/// Reads the first frame of a connection, which is never longer than a Hello.
pub(super) async fn first_frame(
    shared: &Shared,
    wire: &mut impl Source,
) -> Result<(Frame, Decoder), DownReason> {
    let max = u32::try_from(crate::handshake::HELLO).unwrap_or(u32::MAX);
    let mut decoder = Decoder::new(max);
    loop {
        let decoded: Result<_, FrameError> = decoder.decode();
        match decoded {
            Ok(Some(frame)) => return Ok((frame, decoder)),
            Ok(None) => {}
            Err(error) => {
                shared.count_violation(error);
                return Err(DownReason::Protocol);
            }
        }
        match poll_fn(|cx| super::read::poll_some(shared, cx, wire, &mut decoder)).await {
            Ok(0) => return Err(DownReason::Io(ErrorKind::UnexpectedEof)),
            Ok(_) => {}
            Err(error) => return Err(reason_of(&error)),
        }
    }
}

fn refused(shared: &Shared, status: HelloStatus) -> DownReason {
    shared.counters.refused_by_peer[status as usize].add(1);
    DownReason::Refused(status)
}

/// An accepted dial takes its place, or is surplus.
fn install(
    shared: &Arc<Shared>,
    peer: &Arc<TcpPeer>,
    lane: Lane,
    dialed: Dialed,
) -> Result<(), DownReason> {
    let Dialed { stream, decoder, hello, ack, peer: found } = dialed;
    let agreed = Agreed {
        peer: found,
        lane,
        nonce: hello.nonce,
        frame_bytes_max: ack.frame_bytes_max,
        terms: Terms {
            features: ack.features & hello.features,
            stream_window_bytes: ack.stream_window_bytes,
        },
    };
    let mut links = peer.links();
    let conn = match links.handle_accept(lane, ack.incarnation, hello.nonce) {
        DialVerdict::Stale => {
            // A former life of the peer still answers there. // H13
            return Err(DownReason::Refused(HelloStatus::StaleIncarnation));
        }
        DialVerdict::Current { restarted, replaces } => {
            let conn = Connection::new(shared, stream, &agreed, None);
            peer.install(shared, &conn, restarted, replaces);
            conn
        }
        DialVerdict::Surplus => {
            let current = peer.lane(lane).lock().conn.clone();
            let conn = Connection::new(shared, stream, &agreed, None);
            conn.never_current();
            let in_time = shared.unfinished.enter_surplus(&conn, current.as_ref());
            conn.retire(shared, GOAWAY_REPLACED, DownReason::Replaced);
            if !in_time {
                conn.kill(DownReason::Timeout); // the other one is read already
            }
            if peer.is_removed() {
                conn.kill(DownReason::Closed);
            }
            conn
        }
    };
    drop(links);
    connection::spawn(shared, peer, &conn, decoder);
    Ok(())
}

/// Learns who listens at an address; reports exactly one event.
pub(super) fn discover(shared: &Arc<Shared>, dial: DialId, address: Address) {
    let shared = shared.clone();
    shared.live.send_modify(|live| *live += 1);
    drop(shared.handle.clone().spawn(async move {
        let mut question = Question { shared, dial, address, answered: false };
        let mut killed = question.shared.killed.subscribe();
        let stop = async {
            wait_for(&mut killed).await;
            Err(DownReason::Shutdown)
        };
        let answer = race(stop, question.ask()).await;
        question.answer(answer);
    }));
}

struct Question {
    shared: Arc<Shared>,
    dial: DialId,
    address: Address,
    answered: bool,
}

impl Question {
    async fn ask(&self) -> Result<Peer, DownReason> {
        let mut last = DownReason::Io(ErrorKind::AddrNotAvailable);
        for remote in resolve(&self.shared, &self.address).await? {
            match self.ask_one(remote).await {
                Ok(peer) => return Ok(peer),
                Err(reason) => last = reason,
            }
        }
        Err(last)
    }

    async fn ask_one(&self, remote: SocketAddr) -> Result<Peer, DownReason> {
        let shared = &self.shared;
        let dialed = connect(shared, remote, Lane::Control, None, 0).await?;
        let found = dialed.peer;
        match dialed.ack.check(&dialed.hello) {
            Ok(()) => {
                let peer = shared.peer_or_insert(found.node);
                let peer = peer.ok_or(DownReason::Refused(HelloStatus::Overloaded))?;
                install(shared, &peer, Lane::Control, dialed)?;
                Ok(found)
            }
            // Connected already: that is an answer too.
            Err(HelloStatus::Duplicate) => Ok(found),
            Err(status) => Err(refused(shared, status)),
        }
    }

    fn answer(&mut self, answer: Result<Peer, DownReason>) {
        self.answered = true;
        let (dial, address) = (self.dial, self.address.clone());
        self.shared.report(match answer {
            Ok(peer) => LinkEvent::Discovered { dial, peer, address },
            Err(reason) => LinkEvent::DialFailed { dial, reason },
        });
        self.shared.live.send_modify(|live| *live -= 1);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(Err(DownReason::Shutdown));
        }
    }
}
