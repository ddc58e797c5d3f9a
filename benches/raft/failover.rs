//! Lane P7: how long a group of three is without a leader that commits, in virtual time. A leader
//! is killed at a random moment; the clock stops when the first proposal that a new leader took is
//! committed. Every message takes 0.5 to 2 ms and one in a hundred is lost; a write takes 0.2 to
//! 2 ms. The presets differ in the protocol, not in the timeouts: both have the same T and H.

use crate::Bench;
use crate::cores::GROUP;
use quorate_benches::sheet::Line;
use quorate_benches::turns::{median, quantile};
use quorate_clocks::Monotonic;
use quorate_raft::{
    AppendToken, Boot, Config, ConfigDraft, EntryBody, Envelope, LogIndex, Membership, Message,
    Output, Proposal, Proposed, Raft, Role,
};
use quorate_sim::Rng;
use quorate_transport::NodeId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

const T: Duration = Duration::from_secs(1);
/// Lost messages in a million.
const LOSS: u32 = 10_000;
const MICROS: u64 = 1_000;
/// A client proposes as often.
const PACE: Duration = Duration::from_millis(20);

pub(crate) fn lane(bench: &mut Bench) {
    let seeds = if bench.quick { 100 } else { 1_000 };
    let timeouts = |draft: ConfigDraft| draft.election_timeout(T).heartbeat_interval(T / 10);
    let build = |draft: ConfigDraft| timeouts(draft).build().expect("a preset is valid");
    let (ours, reference) = (build(Config::lan()), build(Config::reference()));
    let gaps = |config: &Config| -> Vec<f64> {
        (0..seeds)
            .map(|seed| World::new(seed, config).gap().as_secs_f64() / T.as_secs_f64())
            .collect()
    };
    let (ours, reference) = (gaps(&ours), gaps(&reference));
    let shown = |gaps: &[f64]| {
        let of = |share| quantile(gaps.to_vec(), share);
        format!("p50 {:.2} T, p99 {:.2} T, max {:.2} T", of(0.5), of(0.99), of(1.0))
    };
    let p99 = |gaps: &[f64]| quantile(gaps.to_vec(), 0.99);
    let line = Line::new(&format!("P7 leader killed → first commit, {seeds} seeds, 1 % loss, p99"))
        .value(&format!("{:.2} T", p99(&ours)), p99(&ours), "T")
        .peer(
            "the reference() preset",
            &format!("{:.2} T", p99(&reference)),
            p99(&reference) / p99(&ours),
        )
        .goal("p99 ≤ 2.5 T", p99(&ours) <= 2.5)
        .note(&format!("ours: {}; reference: {}", shown(&ours), shown(&reference)))
        .note(&format!(
            "p50 {:.2}× of the reference",
            median(reference.clone()) / median(ours.clone())
        ));
    bench.sheet.push(line);
}

enum Event {
    Arrives { to: usize, from: NodeId, message: Message },
    Durable { node: usize, gated: Vec<Envelope>, token: Option<AppendToken> },
}

/// Three cores in virtual time.
struct World {
    now: Monotonic,
    rng: Rng,
    config: Config,
    rafts: Vec<Option<Raft>>,
    /// By time, then by order.
    due: BinaryHeap<Reverse<(Monotonic, u64)>>,
    events: BTreeMap<u64, Event>,
    made: u64,
    /// When the write before ends: a disk keeps the order.
    disk_free: Vec<Monotonic>,
    out: Output,
}

impl World {
    fn new(seed: u64, config: &Config) -> Self {
        let ids = [1, 2, 3].map(NodeId::new);
        let now = Monotonic::from_nanos(1);
        let start = |id: NodeId| {
            let boot = Boot::fresh(id, GROUP, Membership::of_voters(&ids));
            Raft::new(config.clone(), boot, now, seed).ok()
        };
        Self {
            now,
            rng: Rng::stream(seed, "failover", 0, 0),
            config: config.clone(),
            rafts: ids.into_iter().map(start).collect(),
            due: BinaryHeap::new(),
            events: BTreeMap::new(),
            made: 0,
            disk_free: vec![now; 3],
            out: Output::default(),
        }
    }

    /// From the death of a leader until another has committed something new.
    fn gap(mut self) -> Duration {
        let leader = self.serve_until_led();
        // Some time into a term that serves, at any point between two heartbeats.
        let wait = self.rng.between(T.as_nanos() as u64, 3 * T.as_nanos() as u64);
        let end = self.now.saturating_add(Duration::from_nanos(wait));
        let mut leader = leader;
        while self.now < end {
            leader = self.serve_until_led();
            let next = self.now.saturating_add(PACE).min(end);
            self.propose(leader);
            self.run_until(next);
        }
        self.rafts[leader] = None;
        let killed = self.now;
        let mut taken: Option<(usize, LogIndex)> = None;
        loop {
            let committed =
                |raft: &Raft, index| raft.role() == Role::Leader && raft.commit() >= index;
            if let Some((node, index)) = taken
                && self.rafts[node].as_ref().is_some_and(|raft| committed(raft, index))
            {
                return self.now.since(killed);
            }
            // A client tries as soon as anybody leads, and again if that one lost the lead.
            let led = self.leader();
            if led.is_some() && led != taken.map(|(node, _)| node) {
                taken = led.and_then(|node| Some((node, self.propose(node)?)));
            }
            assert!(self.now.since(killed) < T * 100, "nobody leads");
            self.step(Monotonic::FAR_FUTURE);
        }
    }

    /// The leader of the newest term, if there is one that still lives.
    fn leader(&self) -> Option<usize> {
        let leads = |i: &usize| self.rafts[*i].as_ref().is_some_and(|r| r.role() == Role::Leader);
        let term = |i: &usize| self.rafts[*i].as_ref().map(|raft| raft.status().hard.term);
        (0..3).filter(leads).max_by_key(term)
    }

    fn serve_until_led(&mut self) -> usize {
        loop {
            if let Some(leader) = self.leader() {
                return leader;
            }
            self.step(Monotonic::FAR_FUTURE);
        }
    }

    fn propose(&mut self, node: usize) -> Option<LogIndex> {
        let mut proposal = Proposal::new(self.config.limits());
        proposal.push(EntryBody::Normal(&[7; 64])).expect("it fits");
        let now = self.now;
        let proposed = self.rafts[node].as_mut()?.propose(now, proposal);
        self.carry_out(node);
        match proposed {
            Ok(Proposed::Appended { range, .. }) => Some(*range.end()),
            _ => None,
        }
    }

    fn run_until(&mut self, end: Monotonic) {
        while self.now < end {
            self.step(end);
        }
    }

    /// Goes on to the next event or timeout, but not beyond `end`.
    fn step(&mut self, end: Monotonic) {
        let timeouts = self.rafts.iter().flatten().filter_map(Raft::poll_timeout).min();
        let event = self.due.peek().map(|Reverse((at, _))| *at);
        let next = timeouts.into_iter().chain(event).min().unwrap_or(end).min(end);
        self.now = self.now.max(next);
        if event == Some(next) {
            let Some(Reverse((_, number))) = self.due.pop() else { return };
            let event = self.events.remove(&number).expect("each is due once");
            self.happen(event);
            return;
        }
        for node in 0..3 {
            if let Some(raft) = &mut self.rafts[node] {
                raft.handle_timeout(self.now);
                self.carry_out(node);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Arrives { to, from, message } => {
                if let Some(raft) = &mut self.rafts[to] {
                    // What comes too late is refused, as in a real driver.
                    raft.handle_message(now, from, message).ok();
                    self.carry_out(to);
                }
            }
            Event::Durable { node, gated, token } => {
                let Some(raft) = &mut self.rafts[node] else { return };
                let own = raft.id();
                let (to_itself, others): (Vec<_>, Vec<_>) =
                    gated.into_iter().partition(|envelope| envelope.to == own);
                for envelope in to_itself {
                    raft.handle_message(now, own, envelope.message).ok();
                }
                if let Some(token) = token {
                    raft.appended(now, token);
                }
                others.into_iter().for_each(|envelope| self.send(own, envelope));
                self.carry_out(node);
            }
        }
    }

    fn carry_out(&mut self, node: usize) {
        let mut out = std::mem::take(&mut self.out);
        while let Some(raft) = self.rafts[node].as_mut().filter(|raft| raft.has_output()) {
            raft.drain(&mut out);
            let own = raft.id();
            if let Some(apply) = out.apply.take() {
                raft.applied(self.now, apply.token);
            }
            out.send.drain(..).for_each(|envelope| self.send(own, envelope));
            if let Some(append) = out.append.take() {
                let takes = if append.sync { self.rng.between(200, 2_000) * MICROS } else { 0 };
                let begun = self.now.max(self.disk_free[node]);
                let end = begun.saturating_add(Duration::from_nanos(takes));
                self.disk_free[node] = end;
                let (gated, token) = (append.gated, append.token);
                self.later(end, Event::Durable { node, gated, token });
            }
        }
        self.out = out;
    }

    fn send(&mut self, from: NodeId, envelope: Envelope) {
        if self.rng.chance(LOSS) {
            return;
        }
        let delay = Duration::from_nanos(self.rng.between(500, 2_000) * MICROS);
        let to = usize::try_from(envelope.to.value() - 1).expect("three nodes");
        let arrives = Event::Arrives { to, from, message: envelope.message };
        self.later(self.now.saturating_add(delay), arrives);
    }

    fn later(&mut self, at: Monotonic, event: Event) {
        self.made += 1;
        self.due.push(Reverse((at, self.made)));
        self.events.insert(self.made, event);
    }
}
