//! Datagrams over one UDP socket, on the port of the TCP listener.

use crate::stats::counters;
use crate::{
    Address, ChannelId, Datagram, DatagramError, Identity, Incarnation, NodeId, Peer, Role,
    SendError, Sink, TransportStats,
};
use bytes::Bytes;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// Senders without an address in the book that are remembered.
const OBSERVED_MAX: usize = 1_024;
/// For how long an observed source, or a resolved name, is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// How soon a name that could not be resolved is asked for again.
const RETRY: Duration = Duration::from_secs(1);
/// Datagrams of one turn, so that neighbours on the executor are not starved. // H26
const TURN: u32 = 256;
/// No datagram is longer.
const PACKET_MAX: usize = 65_535;

counters!(Counters {
    datagrams_in,
    datagrams_out,
    datagrams_malformed,
    datagrams_crc_errors,
    datagrams_cluster,
    datagrams_target,
    datagrams_oversized,
    datagrams_stale,
    datagrams_refused,
    datagrams_unsent,
});

/// What the address book says of a node.
pub(crate) struct Known {
    pub(crate) address: Option<Address>,
    /// The highest incarnation a handshake proved to be.
    pub(crate) incarnation: Option<Incarnation>,
}

/// The transport's tables, as far as datagrams need them.
pub(crate) trait Directory: Send + Sync + 'static {
    fn known(&self, node: NodeId) -> Option<Known>;
    /// Whether nodes are welcome that nobody named.
    fn admits_strangers(&self) -> bool;
    fn sink(&self) -> Option<Arc<dyn Sink>>;
}

/// The socket and what was learned from it.
pub(crate) struct Udp {
    /// `None` once closed.
    socket: Mutex<Option<Arc<UdpSocket>>>,
    is_v4: bool,
    identity: Identity,
    bytes_max: u32,
    tables: Mutex<Tables>,
    pub(crate) counters: Counters,
}

#[derive(Default)]
struct Tables {
    /// Where nodes that are not in the book sent from, and which life of a node spoke.
    observed: BTreeMap<NodeId, Observed>,
    /// Host names of nodes in the book.
    resolved: BTreeMap<NodeId, Resolved>,
}

struct Observed {
    /// The source, of nodes without an address in the book only. // H35
    source: Option<SocketAddr>,
    incarnation: Incarnation,
    at: Instant,
}

struct Resolved {
    name: Address,
    /// The last answer. It goes on being used until there is another one.
    found: Option<SocketAddr>,
    /// Asked now.
    pending: bool,
    until: Instant,
}

impl Udp {
    pub(crate) fn new(
        identity: Identity,
        socket: std::net::UdpSocket,
        max: u32,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            is_v4: socket.local_addr()?.is_ipv4(),
            socket: Mutex::new(Some(Arc::new(UdpSocket::from_std(socket)?))),
            identity,
            bytes_max: max,
            tables: Mutex::default(),
            counters: Counters::default(),
        })
    }

    fn socket(&self) -> Option<Arc<UdpSocket>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The port is free again when the receiving task ended, too.
    pub(crate) fn close(&self) {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One packet, now or never.
    pub(crate) fn send(
        self: &Arc<Self>,
        handle: &Handle,
        known: Option<Known>,
        to: NodeId,
        channel: ChannelId,
        body: &[u8],
    ) -> Result<(), SendError> {
        let target = match known.and_then(|known| known.address) {
            Some(address) => match address.as_str().parse() {
                Ok(target) => target,
                Err(_) => match self.resolve(handle, to, address) {
                    Some(target) => target,
                    None => {
                        self.counters.datagrams_unsent.add(1);
                        return Ok(());
                    }
                },
            },
            None => self.observed(to).ok_or(SendError::UnknownPeer)?,
        };
        let wire = Datagram::encode(&self.identity, to, channel, body);
        let wire = wire.map_err(|_| SendError::TooLarge {
            bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            max: self.bytes_max,
        })?;
        let socket = self.socket().ok_or(SendError::Closed)?;
        // Past tokio, which would have to see the socket writable first; it does not block.
        match SockRef::from(&*socket).send_to(&wire, &target.into()) {
            Ok(_) => self.counters.datagrams_out.add(1),
            Err(error) => {
                self.counters.datagrams_unsent.add(1);
                tracing::debug!(peer = %to, %error, "datagram not sent");
            }
        }
        Ok(())
    }

    /// Answers go where a datagram came from, if the book says nothing. // H35
    fn observed(&self, node: NodeId) -> Option<SocketAddr> {
        let tables = self.lock();
        let seen = tables.observed.get(&node)?;
        seen.source.filter(|_| seen.at.elapsed() < BELIEVED)
    }

    /// The last answer of a name, if there is one. A new one is asked for when it is old, once.
    fn resolve(
        self: &Arc<Self>,
        handle: &Handle,
        node: NodeId,
        name: Address,
    ) -> Option<SocketAddr> {
        let now = Instant::now();
        let mut tables = self.lock();
        let known = tables.resolved.get(&node).filter(|entry| entry.name == name);
        let last = known.and_then(|entry| entry.found);
        if known.is_some_and(|entry| entry.pending || now < entry.until) {
            return last;
        }
        let entry = Resolved { name: name.clone(), found: last, pending: true, until: now };
        tables.resolved.insert(node, entry);
        drop(tables);
        let udp = self.clone();
        drop(handle.spawn(async move {
            let answer = tokio::net::lookup_host(name.as_str()).await;
            let found = answer.ok().and_then(|mut all| all.find(|at| at.is_ipv4() == udp.is_v4));
            udp.resolved(node, &name, found);
        }));
        last
    }

    fn resolved(&self, node: NodeId, name: &Address, found: Option<SocketAddr>) {
        let mut tables = self.lock();
        let Some(entry) = tables.resolved.get_mut(&node).filter(|e| e.name == *name) else {
            return; // another address meanwhile
        };
        let lasts = if found.is_some() { BELIEVED } else { RETRY };
        (entry.pending, entry.until) = (false, Instant::now() + lasts);
        entry.found = found.or(entry.found);
    }

    /// A peer has new addresses: what was learned of the old ones is void.
    pub(crate) fn readdress(&self, node: NodeId) {
        let mut tables = self.lock();
        tables.resolved.remove(&node);
        if let Some(seen) = tables.observed.get_mut(&node) {
            seen.source = None;
        }
    }

    /// A peer left the book.
    pub(crate) fn forget(&self, node: NodeId) {
        let mut tables = self.lock();
        tables.resolved.remove(&node);
        tables.observed.remove(&node);
    }

    /// Receives until it is dropped: no error ends it. // H19
    pub(crate) async fn run(self: Arc<Self>, directory: Arc<dyn Directory>) {
        let mut packet = vec![0; PACKET_MAX];
        let Some(socket) = self.socket() else { return };
        loop {
            let (mut turn, mut fresh) = (0, false);
            while turn < TURN {
                match socket.try_recv_from(&mut packet) {
                    Ok((n, source)) => fresh |= self.take(&*directory, &packet[..n], source),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // What comes back of an earlier packet, as on Windows.
                    Err(error) => {
                        tracing::debug!(%error, "datagram not received");
                        sleep(Duration::from_millis(1)).await;
                    }
                }
                turn += 1;
            }
            if fresh && let Some(sink) = directory.sink() {
                sink.on_batch_end();
            }
            if turn == TURN {
                tokio::task::yield_now().await;
            } else if let Err(error) = socket.readable().await {
                tracing::debug!(%error, "datagram socket");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Whether it was delivered.
    fn take(&self, directory: &dyn Directory, wire: &[u8], source: SocketAddr) -> bool {
        let found = match Datagram::decode(wire, &self.identity, self.bytes_max) {
            Ok(found) => found,
            Err(error) => {
                match error {
                    DatagramError::Length { .. } | DatagramError::Malformed { .. } => {
                        self.counters.datagrams_malformed.add(1);
                    }
                    DatagramError::Crc { .. } => self.counters.datagrams_crc_errors.add(1),
                    DatagramError::Cluster => self.counters.datagrams_cluster.add(1),
                    DatagramError::Target => self.counters.datagrams_target.add(1),
                    DatagramError::TooLarge { .. } => self.counters.datagrams_oversized.add(1),
                }
                tracing::trace!(%source, %error, "datagram dropped");
                return false;
            }
        };
        let known = directory.known(found.source);
        if known.is_none() && !directory.admits_strangers() {
            self.counters.datagrams_refused.add(1);
            return false;
        }
        let higher = known.as_ref().and_then(|known| known.incarnation);
        let has_address = known.is_some_and(|known| known.address.is_some());
        if higher.is_some_and(|higher| higher > found.incarnation)
            || !self.meet(&found, (!has_address).then_some(source))
        {
            self.counters.datagrams_stale.add(1);
            return false;
        }
        self.counters.datagrams_in.add(1);
        let Some(sink) = directory.sink() else { return false };
        let from = Peer::new(found.source, found.incarnation, Role::Member);
        sink.on_datagram(from, found.channel, Bytes::copy_from_slice(found.body));
        true
    }

    /// Remembers who spoke from where; false for a life older than one that spoke.
    fn meet(&self, found: &Datagram<'_>, source: Option<SocketAddr>) -> bool {
        let now = Instant::now();
        let observed = &mut self.lock().observed;
        if let Some(seen) = observed.get(&found.source)
            && seen.incarnation > found.incarnation
            && now.duration_since(seen.at) < BELIEVED
        {
            return false;
        }
        if observed.len() >= OBSERVED_MAX && !observed.contains_key(&found.source) {
            let oldest = observed.iter().min_by_key(|(_, seen)| seen.at).map(|(node, _)| *node);
            if let Some(oldest) = oldest {
                observed.remove(&oldest);
            }
        }
        let incarnation = found.incarnation;
        observed.insert(found.source, Observed { source, incarnation, at: now });
        true
    }

    pub(crate) fn add_to(&self, stats: &mut TransportStats) {
        let c = &self.counters;
        stats.datagrams_in = c.datagrams_in.value();
        stats.datagrams_out += c.datagrams_out.value();
        stats.datagrams_malformed = c.datagrams_malformed.value();
        stats.datagrams_crc_errors = c.datagrams_crc_errors.value();
        stats.datagrams_cluster = c.datagrams_cluster.value();
        stats.datagrams_target = c.datagrams_target.value();
        stats.datagrams_oversized = c.datagrams_oversized.value();
        stats.datagrams_stale = c.datagrams_stale.value();
        stats.datagrams_refused = c.datagrams_refused.value();
        stats.datagrams_unsent += c.datagrams_unsent.value();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClusterId;

    const NODE: NodeId = NodeId::new(2);

    fn udp() -> Arc<Udp> {
        let identity = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        Arc::new(Udp::new(identity, socket, 1_192).expect("a socket of this host"))
    }

    fn at(port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Of the node, as if it had been learned more than a minute ago.
    fn age(udp: &Udp) {
        let mut tables = udp.lock();
        let entry = tables.resolved.get_mut(&NODE).expect("it was asked for");
        entry.until = Instant::now();
    }

    #[tokio::test]
    async fn a_name_that_is_resolved_again_keeps_its_last_answer_meanwhile() {
        let (udp, handle) = (udp(), Handle::current());
        let name: Address = "moved.invalid:7400".parse().expect("an address");
        let resolve = || udp.resolve(&handle, NODE, name.clone());
        assert_eq!(resolve(), None, "nothing is known yet");
        udp.resolved(NODE, &name, at(1));
        assert_eq!(resolve(), at(1));
        age(&udp);
        assert_eq!([resolve(), resolve()], [at(1), at(1)], "being asked for");
        udp.resolved(NODE, &name, None);
        assert_eq!(resolve(), at(1), "no answer: the last one is the best there is");
        age(&udp);
        assert_eq!(resolve(), at(1));
        udp.resolved(NODE, &name, at(2));
        assert_eq!(resolve(), at(2));
        // Another name has nothing to do with it, nor has a late answer to the former one.
        let other: Address = "other.invalid:7400".parse().expect("an address");
        assert_eq!(udp.resolve(&handle, NODE, other.clone()), None);
        udp.resolved(NODE, &name, at(3));
        assert_eq!(udp.resolve(&handle, NODE, other), None);
    }
}
