//! The network between the nodes: a state machine of its own, told the time, giving effects.
//!
//! Nodes are known here by their place, a small number. The state of a pair is made when the first
//! message goes from one to the other, so that many nodes cost no more than those who talk.

mod cut;
mod datagram;
mod dial;
mod ends;
mod faults;
mod link;
mod session;
mod way;
pub(crate) mod wire;

pub(crate) use cut::{Cut, CutShape};
pub(crate) use datagram::Packet;

use crate::{Class, Coverage, Rng, SimConfig, SimTime};
use link::Link;
use quorate_transport::{
    DownReason, Frame, Incarnation, Lane, LinkEvent, NodeId, Peer, Role, SessionId,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use way::Way;

/// A lane of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pair: u32,
    pub(crate) lane: Lane,
}

/// A frame of a lossy lane on its way.
#[derive(Debug)]
pub(crate) struct LossyFrame {
    spot: Spot,
    session: SessionId,
    /// The end that it left.
    end: usize,
    frame: Frame,
    sent: SimTime,
    /// 0 is the first of its copies.
    copy: u64,
    /// A fault made it slow.
    delayed: bool,
}

/// Something the network waits for. Ends of a pair: 0 is the node of the lower place.
#[derive(Debug)]
pub(crate) enum NetEvent {
    /// The first frame that left this end may arrive at the other.
    Arrive { spot: Spot, session: SessionId, end: usize },
    /// A frame of a lossy lane arrives.
    ArriveLossy(LossyFrame),
    /// A dial is at its end.
    Dialed { spot: Spot, end: usize, dial: u32 },
    /// This end finds out that the session is over; with an epoch only if the pair is cut since
    /// then.
    Dies { spot: Spot, end: usize, session: SessionId, reason: DownReason, epoch: Option<u32> },
    /// The other end's word that the session is over arrives at this end: cuts hold it up.
    Told { spot: Spot, end: usize, session: SessionId, reason: DownReason },
    /// As `Told`, behind everything that was sent before.
    Goodbye { spot: Spot, end: usize, session: SessionId },
    /// A datagram arrives.
    Datagram(Packet),
    /// A pair is healed: of cuts that are over, and of this many clogs, the first ones.
    Healed { pair: u32, clogs: u64 },
}

/// What the network wants done.
#[derive(Debug)]
pub(crate) enum NetOut {
    Schedule(SimTime, NetEvent),
    Frame {
        /// In the life that the session is with. // H18
        from: Peer,
        to: u32,
        lane: Lane,
        session: SessionId,
        frame: Frame,
    },
    Datagram(Packet),
    Link {
        node: u32,
        event: LinkEvent,
    },
    Unsent {
        node: u32,
        to: u32,
        lane: Lane,
        frames: Vec<Frame>,
    },
    Lost {
        from: u32,
        to: u32,
        lane: Lane,
        frames: u64,
    },
    LostDatagram {
        from: u32,
        to: u32,
    },
    /// A lane of this node has room again.
    Room {
        node: u32,
        to: u32,
    },
}

/// What everybody's messages suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) loss_ppm: u32,
    pub(crate) duplicate_ppm: u32,
    pub(crate) corrupt_ppm: u32,
    pub(crate) delay_percent: u32,
}

impl Rates {
    pub(crate) const NONE: Self =
        Self { loss_ppm: 0, duplicate_ppm: 0, corrupt_ppm: 0, delay_percent: 100 };
}

/// A node, as the network knows it.
#[derive(Clone, Debug)]
pub(crate) struct NetHost {
    pub(crate) id: NodeId,
    pub(crate) role: Role,
    pub(crate) life: Incarnation,
    /// Its process runs.
    pub(crate) running: bool,
    /// Its kernel runs: a dial to a dead process is refused rather than unanswered.
    pub(crate) answers: bool,
    /// Its process stands still and its buffers are full.
    pub(crate) choked: bool,
    /// The newest moment at which its life sent something that no session carries.
    sent: SimTime,
    /// Lives that ended before the handler they were in, and when: what they would have sent after
    /// that never leaves.
    cut_short: VecDeque<(Incarnation, SimTime)>,
}

/// So many lives of a node that were cut short are remembered: only a clog that outlasts as many
/// could deliver what an older one never sent. // H29
const CUT_SHORT_MAX: usize = 64;

/// Two nodes: both directions, and three lanes once they are used.
#[derive(Debug)]
struct Pair {
    places: [u32; 2],
    ways: [Way; 2],
    links: Option<Box<[Link; 3]>>,
    /// Rises each time the pair is cut.
    epoch: u32,
}

impl Pair {
    fn is_open(&self) -> bool {
        self.ways.iter().all(|way| way.lanes_cut.is_none())
    }
}

/// The network, shared with the transports of async nodes: they may be used by any thread, as
/// transports are, though only the world's thread does. Never contended.
#[derive(Clone, Debug)]
pub(crate) struct SharedNet(Arc<Mutex<Net>>);

impl SharedNet {
    pub(crate) fn new(net: Net) -> Self {
        Self(Arc::new(Mutex::new(net)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network.
#[derive(Debug)]
pub(crate) struct Net {
    config: SimConfig,
    hosts: Vec<NetHost>,
    places: BTreeMap<NodeId, u32>,
    pairs: Vec<Pair>,
    /// For each node the pairs it is in, by the other node.
    pairs_of: Vec<BTreeMap<u32, u32>>,
    cuts: Vec<Cut>,
    /// Clogs so far: a heal that takes its time spares those that came after it.
    clogs: u64,
    heal_rng: Rng,
    last_session: u64,
    pub(crate) rates: Rates,
    pub(crate) out: Vec<NetOut>,
    pub(crate) coverage: Coverage,
}

impl Net {
    pub(crate) fn new(config: SimConfig) -> Self {
        let heal_rng = Rng::stream(config.seed, "heal", 0, 0);
        Self {
            config,
            hosts: Vec::new(),
            places: BTreeMap::new(),
            pairs: Vec::new(),
            pairs_of: Vec::new(),
            cuts: Vec::new(),
            clogs: 0,
            heal_rng,
            last_session: 0,
            rates: Rates::NONE,
            out: Vec::new(),
            coverage: Coverage::default(),
        }
    }

    // --- Nodes ---------------------------------------------------------------------------------

    /// Another node; its place is the number of nodes before it.
    pub(crate) fn add(&mut self, id: NodeId, role: Role) {
        let life = Incarnation::new(0);
        self.places.insert(id, u32::try_from(self.hosts.len()).unwrap_or(u32::MAX));
        let (running, answers, choked) = (false, true, false);
        let (sent, cut_short) = (SimTime::ZERO, VecDeque::new());
        self.hosts.push(NetHost { id, role, life, running, answers, choked, sent, cut_short });
        self.pairs_of.push(BTreeMap::new());
    }

    pub(crate) fn boot(&mut self, place: u32, life: Incarnation) {
        let host = &mut self.hosts[place as usize];
        (host.life, host.running, host.answers, host.choked) = (life, true, true, false);
    }

    /// A machine runs again, its process does not listen yet.
    pub(crate) fn power_on(&mut self, place: u32) {
        self.hosts[place as usize].answers = true;
    }

    /// A node died. With `answers` its kernel tells the others so; else it is silent until the
    /// node is back. What it sent up to `left` has left it. How many frames were lost.
    pub(crate) fn die(&mut self, now: SimTime, place: u32, answers: bool, left: SimTime) -> u64 {
        let host = &mut self.hosts[place as usize];
        (host.running, host.answers) = (false, answers);
        if host.sent > left {
            host.cut_short.push_back((host.life, left));
            if host.cut_short.len() > CUT_SHORT_MAX {
                host.cut_short.pop_front();
            }
        }
        host.sent = SimTime::ZERO;
        let spots = self.spots_of(place);
        let forget = |(spot, end)| self.forget_end(now, spot, end, answers, left);
        spots.into_iter().map(forget).sum()
    }

    /// Whether this never left its sender, who died in the middle of a handler before that moment.
    fn never_left(&self, from: u32, life: Incarnation, sent: SimTime) -> bool {
        let cut_short = &self.hosts[from as usize].cut_short;
        cut_short.iter().any(|(of, died)| *of == life && sent > *died)
    }

    /// Its buffers are full, or have room again.
    pub(crate) fn choke(&mut self, now: SimTime, place: u32, choked: bool) {
        let was = std::mem::replace(&mut self.hosts[place as usize].choked, choked);
        if was && !choked {
            for (spot, end) in self.spots_of(place) {
                let Some(id) = self.link(spot).ends[end].current else { continue };
                self.schedule_head(now, spot, 1 - end, id);
            }
        }
    }

    pub(crate) fn place(&self, id: NodeId) -> Option<u32> {
        self.places.get(&id).copied()
    }

    pub(crate) const fn config(&self) -> &SimConfig {
        &self.config
    }

    /// A node stops its transport in order: what it sent is delivered, its kernel goes on.
    pub(crate) fn close_all(&mut self, now: SimTime, place: u32) {
        self.hosts[place as usize].running = false;
        for (spot, end) in self.spots_of(place) {
            self.close(now, spot, end, DownReason::Shutdown);
        }
    }

    /// Sessions that at least one end believes in.
    pub(crate) fn sessions(&self) -> usize {
        let links = self.pairs.iter().filter_map(|pair| pair.links.as_ref());
        links.flat_map(|links| links.iter()).map(|link| link.sessions.len()).sum()
    }

    /// Whether frames of a node wait for a session.
    pub(crate) fn has_waiting(&mut self, place: u32) -> bool {
        self.spots_of(place).into_iter().any(|(spot, end)| self.link(spot).is_waiting(end))
    }

    fn is_running(&self, place: u32) -> bool {
        self.hosts[place as usize].running
    }

    fn answers(&self, place: u32) -> bool {
        self.hosts[place as usize].answers
    }

    fn is_choked(&self, place: u32) -> bool {
        self.hosts[place as usize].choked
    }

    fn life(&self, place: u32) -> Incarnation {
        self.hosts[place as usize].life
    }

    fn id(&self, place: u32) -> NodeId {
        self.hosts[place as usize].id
    }

    /// The node as its peers see it, in one of its lives.
    pub(crate) fn peer(&self, place: u32, life: Incarnation) -> Peer {
        let host = &self.hosts[place as usize];
        let mut peer = Peer::new(host.id, life, host.role);
        peer.authenticated = true;
        peer
    }

    // --- Pairs ---------------------------------------------------------------------------------

    /// A lane between two nodes, and which end of it the first one is.
    fn spot(&mut self, from: u32, to: u32, lane: Lane) -> (Spot, usize) {
        let pair = match self.pairs_of[from as usize].get(&to) {
            Some(pair) => *pair,
            None => self.add_pair(from.min(to), from.max(to)),
        };
        (Spot { pair, lane }, usize::from(from > to))
    }

    fn add_pair(&mut self, low: u32, high: u32) -> u32 {
        let number = u32::try_from(self.pairs.len()).unwrap_or(u32::MAX);
        let [a, b] = [low, high].map(|place| self.id(place).value());
        let ways = [Way::new(&self.config, a, b), Way::new(&self.config, b, a)];
        self.pairs.push(Pair { places: [low, high], ways, links: None, epoch: 0 });
        self.pairs_of[low as usize].insert(high, number);
        self.pairs_of[high as usize].insert(low, number);
        self.apply_cuts(SimTime::ZERO, number);
        number
    }

    fn link(&mut self, spot: Spot) -> &mut Link {
        let links = &mut self.pairs[spot.pair as usize].links;
        &mut links.get_or_insert_with(Box::default)[spot.lane.index()]
    }

    fn way(&mut self, spot: Spot, end: usize) -> &mut Way {
        &mut self.pairs[spot.pair as usize].ways[end]
    }

    /// The time from this end to the other, drawn.
    fn latency(&mut self, spot: Spot, end: usize) -> Duration {
        let percent = self.rates.delay_percent;
        self.way(spot, end).latency(percent)
    }

    fn place_of(&self, spot: Spot, end: usize) -> u32 {
        self.pairs[spot.pair as usize].places[end]
    }

    /// Which class cuts lanes of the pair in either direction, if one does.
    fn lanes_cut(&self, spot: Spot) -> Option<Class> {
        let [one, other] = &self.pairs[spot.pair as usize].ways;
        one.lanes_cut.or(other.lanes_cut)
    }

    /// All lanes a node has used, with its end of each.
    fn spots_of(&self, place: u32) -> Vec<(Spot, usize)> {
        let mut spots = Vec::new();
        for (other, pair) in &self.pairs_of[place as usize] {
            if self.pairs[*pair as usize].links.is_some() {
                let end = usize::from(place > *other);
                spots.extend(Lane::ALL.map(|lane| (Spot { pair: *pair, lane }, end)));
            }
        }
        spots
    }

    // --- Events --------------------------------------------------------------------------------

    pub(crate) fn handle(&mut self, now: SimTime, event: NetEvent) {
        match event {
            NetEvent::Arrive { spot, session, end } => self.arrive(now, spot, end, session),
            NetEvent::ArriveLossy(lossy) => {
                self.arrive_lossy(now, lossy);
            }
            NetEvent::Told { spot, end, session, reason } => {
                self.told(now, spot, end, session, reason);
            }
            NetEvent::Goodbye { spot, end, session } => self.goodbye(now, spot, end, session),
            NetEvent::Dialed { spot, end, dial } => self.dialed(now, spot, end, dial),
            NetEvent::Dies { spot, end, session, reason, epoch } => {
                let pair = &self.pairs[spot.pair as usize];
                let holds = epoch.is_none_or(|epoch| epoch == pair.epoch);
                if holds && (epoch.is_none() || self.lanes_cut(spot).is_some()) {
                    self.end_down(now, spot, end, session, reason);
                }
            }
            NetEvent::Datagram(packet) => self.datagram(now, packet),
            NetEvent::Healed { pair, clogs } => self.open(now, pair, clogs),
        }
    }
}
