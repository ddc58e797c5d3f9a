//! Heartbeats: who is silent, for how long, and which lane is wedged.

use super::{MuxEffect, MuxOutput, MuxStats};
use crate::{ChannelId, EndpointConfig, Frame, Incarnation, Kind, Lane, NodeId, Peer, SessionId};
use quorate_clocks::Monotonic;
use std::task::Waker;
use std::time::Duration;

/// What is believed of a peer.
///
/// # Examples
/// ```
/// use quorate_transport::PeerState;
/// assert!(PeerState::Suspect.is_reachable());
/// assert!(!PeerState::Down.is_reachable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerState {
    /// Never heard of and not watched.
    Unknown,
    /// Heard of once; no talk now, so nothing is believed.
    Idle,
    /// Watched, not connected yet and not given up.
    Connecting,
    /// Heard of within `suspect_after`.
    Up,
    /// Silent for longer than `suspect_after`.
    Suspect,
    /// Silent for longer than `down_after`.
    Down,
}

impl PeerState {
    /// Up or Suspect.
    #[must_use]
    pub const fn is_reachable(self) -> bool {
        matches!(self, Self::Up | Self::Suspect)
    }
}

/// One lane of a peer.
///
/// # Examples
/// ```
/// assert_eq!(quorate_transport::LaneHealth::default().session, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneHealth {
    /// The session, if one is up.
    pub session: Option<SessionId>,
    /// When the last frame came on it.
    pub last_heard: Monotonic,
    /// When the ping that is not answered yet was sent.
    pub ping_sent: Option<Monotonic>,
}

/// What is known about a peer.
///
/// # Examples
/// ```
/// use quorate_transport::{EndpointConfig, NodeId, PeerMux, PeerState};
/// let mux = PeerMux::new(NodeId::new(2), EndpointConfig::default(), 0);
/// assert_eq!(mux.health().state, PeerState::Unknown);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerHealth {
    /// Who.
    pub node: NodeId,
    /// The life of it that was last heard of; 0 if none was.
    pub incarnation: Incarnation,
    /// The verdict.
    pub state: PeerState,
    /// When any frame of it came; zero if none did.
    pub last_heard: Monotonic,
    /// Smoothed round-trip time (RFC 6298).
    pub rtt: Option<Duration>,
    /// Its variation (RFC 6298).
    pub rtt_deviation: Option<Duration>,
    /// Lane by lane.
    pub lanes: [LaneHealth; 3],
}

#[derive(Debug)]
pub(super) struct Liveness {
    config: EndpointConfig,
    health: PeerHealth,
    lanes: [LaneLife; 3],
    watches: u32,
    watchers: Vec<Waker>,
    version: u64,
    next_ping: u64,
    /// Silence counts from here at the earliest: begin of the watch or of the talk.
    since: Monotonic,
    /// No verdict before: this node itself was asleep. // H36
    grace: Monotonic,
    next_check: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug, Default)]
struct LaneLife {
    /// Of the peer in the lane's latest session.
    incarnation: Option<Incarnation>,
    /// Last frame of an application, either way.
    last_talk: Option<Monotonic>,
    last_ping: Monotonic,
    /// Id of the ping that waits for its pong.
    ping: Option<u64>,
    /// Bytes the lane had written at the last check while a ping was out.
    written: u64,
    /// Since when `written` has not moved and nothing came.
    stuck_since: Monotonic,
}

impl Liveness {
    pub(super) fn new(node: NodeId, config: EndpointConfig) -> Self {
        Self {
            config,
            health: PeerHealth {
                node,
                incarnation: Incarnation::new(0),
                state: PeerState::Unknown,
                last_heard: Monotonic::ZERO,
                rtt: None,
                rtt_deviation: None,
                lanes: [LaneHealth::default(); 3],
            },
            lanes: [LaneLife::default(); 3],
            watches: 0,
            watchers: Vec::new(),
            version: 0,
            next_ping: 1, // 0 is that of pings nobody waits for
            since: Monotonic::ZERO,
            grace: Monotonic::ZERO,
            next_check: None,
        }
    }

    pub(super) const fn incarnation(&self) -> Incarnation {
        self.health.incarnation
    }

    /// The life of the peer that the lane's latest session talked to: another lane may know a newer
    /// one already.
    pub(super) fn incarnation_on(&self, lane: Lane) -> Incarnation {
        let of_lane = self.lanes[lane.index()].incarnation;
        let of_lane = of_lane.filter(|_| !crate::mutant::on("label_of_any_lane"));
        of_lane.unwrap_or(self.health.incarnation)
    }

    pub(super) const fn health(&self) -> PeerHealth {
        self.health
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) const fn poll_timeout(&self) -> Option<Monotonic> {
        self.next_check
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.watches == 0 && self.health.lanes.iter().all(|lane| lane.session.is_none())
    }

    pub(super) fn register(&mut self, waker: &Waker) {
        if !self.watchers.iter().any(|w| w.will_wake(waker)) {
            self.watchers.push(waker.clone());
        }
    }

    fn set_state(&mut self, state: PeerState, out: &mut MuxOutput) {
        if self.health.state != state {
            self.health.state = state;
            self.changed(out);
        }
    }

    fn changed(&mut self, out: &mut MuxOutput) {
        self.version += 1;
        self.wake_watchers(out);
    }

    pub(super) fn wake_watchers(&mut self, out: &mut MuxOutput) {
        for waker in self.watchers.drain(..) {
            out.push(MuxEffect::Wake { waker });
        }
    }

    pub(super) fn heard(&mut self, now: Monotonic, lane: Lane, talk: bool, out: &mut MuxOutput) {
        self.health.last_heard = now;
        self.health.lanes[lane.index()].last_heard = now;
        if talk {
            self.sent(now, lane);
        }
        self.set_state(PeerState::Up, out);
    }

    /// Talk of an application, either way.
    pub(super) fn sent(&mut self, now: Monotonic, lane: Lane) {
        self.lanes[lane.index()].last_talk = Some(now);
        self.arm(now);
    }

    fn arm(&mut self, now: Monotonic) {
        if self.next_check.is_none() {
            self.since = now;
            self.next_check = Some(now.saturating_add(self.config.ping_interval));
        }
    }

    pub(super) fn up(
        &mut self,
        now: Monotonic,
        peer: Peer,
        lane: Lane,
        session: SessionId,
        out: &mut MuxOutput,
    ) {
        if peer.incarnation != self.health.incarnation {
            self.health.incarnation = peer.incarnation;
            self.changed(out);
        }
        self.health.lanes[lane.index()] =
            LaneHealth { session: Some(session), last_heard: now, ping_sent: None };
        self.lanes[lane.index()].incarnation = Some(peer.incarnation);
        self.lanes[lane.index()].ping = None;
        self.heard(now, lane, false, out);
        self.arm(now);
    }

    pub(super) fn down(
        &mut self,
        now: Monotonic,
        lane: Lane,
        session: SessionId,
        out: &mut MuxOutput,
    ) {
        let health = &mut self.health.lanes[lane.index()];
        if health.session != Some(session) {
            return;
        }
        health.session = None;
        health.ping_sent = None;
        self.lanes[lane.index()].ping = None;
        self.settle(now, out);
    }

    pub(super) fn watch(&mut self, now: Monotonic, out: &mut MuxOutput) {
        self.watches += 1;
        if self.watches == 1 {
            self.since = now;
            self.next_check = Some(now); // the first ping, and the dial, at once
            self.settle(now, out);
        }
    }

    pub(super) fn unwatch(&mut self, now: Monotonic, out: &mut MuxOutput) {
        self.watches = self.watches.saturating_sub(1);
        self.settle(now, out);
    }

    /// Whether silence on this lane means anything: it is watched, or somebody talks on it.
    fn is_pinged(&self, now: Monotonic, lane: Lane, busy: [bool; 3]) -> bool {
        let talk = self.lanes[lane.index()].last_talk;
        let open = self.health.lanes[lane.index()].session.is_some();
        let watched = lane == Lane::Control && self.watches > 0;
        let talking = talk.is_some_and(|at| now.since(at) <= self.config.down_after);
        watched || open && (talking || busy[lane.index()])
    }

    fn is_monitored(&self, now: Monotonic, busy: [bool; 3]) -> bool {
        Lane::ALL.iter().any(|lane| self.is_pinged(now, *lane, busy))
    }

    /// The state a peer has without a verdict on silence.
    fn settle(&mut self, now: Monotonic, out: &mut MuxOutput) {
        let open = self.health.lanes.iter().any(|lane| lane.session.is_some());
        if self.health.state == PeerState::Down || open && self.is_monitored(now, [false; 3]) {
            return; // only a frame brings a peer back, only silence takes it away
        }
        let heard = self.health.last_heard > Monotonic::ZERO;
        let state = match (self.watches > 0, heard) {
            (true, true) if self.silence(now) <= self.config.suspect_after => PeerState::Up,
            (true, true) if self.health.state == PeerState::Suspect => PeerState::Suspect,
            (true, _) => PeerState::Connecting,
            (false, true) => PeerState::Idle,
            (false, false) => PeerState::Unknown,
        };
        self.set_state(state, out);
    }

    fn silence(&self, now: Monotonic) -> Duration {
        now.since(self.health.last_heard.max(self.since))
    }

    /// An answer to the ping that waits for one: the round trip it took.
    pub(super) fn pong(
        &mut self,
        now: Monotonic,
        lane: Lane,
        id: u64,
        dwell_us: u32,
    ) -> Option<Duration> {
        let life = &mut self.lanes[lane.index()];
        if life.ping != Some(id) {
            return None;
        }
        life.ping = None;
        let health = &mut self.health.lanes[lane.index()];
        let sent = health.ping_sent.take()?;
        let dwell = Duration::from_micros(u64::from(dwell_us));
        let sample = now.since(sent).saturating_sub(dwell);
        let (rtt, deviation) = match (self.health.rtt, self.health.rtt_deviation) {
            (Some(rtt), Some(deviation)) => {
                (rtt * 7 / 8 + sample / 8, deviation * 3 / 4 + rtt.abs_diff(sample) / 4)
            }
            _ => (sample, sample / 2),
        };
        self.health.rtt = Some(rtt);
        self.health.rtt_deviation = Some(deviation);
        Some(sample)
    }

    /// A ping surely never left: it waits for no answer, and the next check sends another. Silence
    /// of this node's own must not be taken for the peer's. // H36
    pub(super) fn ping_unsent(&mut self, id: u64) {
        for lane in Lane::ALL {
            let life = &mut self.lanes[lane.index()];
            if life.ping == Some(id) {
                life.ping = None;
                life.last_ping = Monotonic::ZERO;
                self.health.lanes[lane.index()].ping_sent = None;
            }
        }
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: Monotonic,
        written: [u64; 3],
        busy: [bool; 3],
        out: &mut MuxOutput,
        stats: &mut MuxStats,
    ) {
        let Some(due) = self.next_check.filter(|due| *due <= now) else { return };
        let interval = self.config.ping_interval;
        if now.since(due) > interval * 2 {
            // This node was paused or asleep: what the peers sent meanwhile is still on its way.
            self.grace = now.saturating_add(interval); // H36
        }
        for lane in Lane::ALL {
            if self.is_pinged(now, lane, busy) {
                self.check_stall(now, lane, written[lane.index()], out, stats);
                self.ping(now, lane, out);
            }
        }
        if !self.is_monitored(now, busy) {
            self.next_check = None;
            return self.settle(now, out);
        }
        self.judge(now, out, stats);
        self.next_check = Some(self.next_due(now));
    }

    fn judge(&mut self, now: Monotonic, out: &mut MuxOutput, stats: &mut MuxStats) {
        if now < self.grace {
            return;
        }
        let silence = self.silence(now);
        if silence > self.config.down_after {
            if self.health.state != PeerState::Down {
                stats.downs += 1;
                self.set_state(PeerState::Down, out);
            }
            for lane in Lane::ALL {
                if self.health.lanes[lane.index()].session.is_some() {
                    out.push(MuxEffect::Reset { lane });
                }
            }
        } else if silence > self.config.suspect_after && self.health.state == PeerState::Up {
            self.set_state(PeerState::Suspect, out);
        }
    }

    /// The next ping, or earlier the moment silence turns into a verdict.
    fn next_due(&self, now: Monotonic) -> Monotonic {
        let heard = self.health.last_heard.max(self.since);
        let after = |d: Duration| {
            let at = heard.saturating_add(d + Duration::from_nanos(1)).max(self.grace);
            Some(at).filter(|at| *at > now)
        };
        let verdicts = [after(self.config.suspect_after), after(self.config.down_after)];
        let ping = now.saturating_add(self.config.ping_interval);
        verdicts.into_iter().flatten().fold(ping, Monotonic::min)
    }

    fn ping(&mut self, now: Monotonic, lane: Lane, out: &mut MuxOutput) {
        let health = &mut self.health.lanes[lane.index()];
        let life = &mut self.lanes[lane.index()];
        let interval = self.config.ping_interval;
        let open = health.session.is_some();
        let recent = now.since(life.last_ping) < interval && life.last_ping > Monotonic::ZERO;
        if recent || open && now.since(health.last_heard) < interval {
            return;
        }
        life.last_ping = now;
        if open && life.ping.is_some() {
            return; // one at a time: a wedged lane does not fill up with pings
        }
        let id = self.next_ping;
        self.next_ping += 1;
        if open {
            life.ping = Some(id);
            life.stuck_since = now;
            health.ping_sent = Some(now);
        }
        let frame = Frame::new(Kind::Ping, ChannelId::ENDPOINT).with_id(id);
        out.push(MuxEffect::Send { lane, frame });
    }

    /// A lane whose ping is old, that got nothing since and moves no byte is wedged, even if the
    /// peer lives on other lanes. // H15
    fn check_stall(
        &mut self,
        now: Monotonic,
        lane: Lane,
        written: u64,
        out: &mut MuxOutput,
        stats: &mut MuxStats,
    ) {
        let heard = self.health.lanes[lane.index()].last_heard;
        let life = &mut self.lanes[lane.index()];
        if life.ping.is_none() {
            return;
        }
        if written != life.written || heard > life.stuck_since {
            life.written = written;
            life.stuck_since = now;
        } else if now.since(life.stuck_since) > self.config.stall_max && now >= self.grace {
            stats.stall_resets += 1;
            life.ping = None;
            out.push(MuxEffect::Reset { lane });
        }
    }
}
