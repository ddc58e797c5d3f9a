//! One member of the group: the core, the disk under it, and a client that asks it for things.

use super::checks::Observer;
use super::churn::{self, Memberships};
use super::damage;
use super::disk::{Disk, State};
use super::leases::{self, Leasing, Promises};
use super::pieces::{Sending, Transfers};
use bytes::{Bytes, BytesMut};
use quorate_raft::{
    Append, AppendToken, Apply, Body, Config, EntryBody, Envelope, GroupId, LoadId, LogId,
    LogIndex, Membership, Message, Output, Proposal, Proposed, Raft, ReadDone, ReadId, Role,
    SnapshotMeta, StepError, StoreError, Term, wire,
};
use quorate_sim::{
    CallError, CallToken, ChannelId, Cost, Ctx, InboundCall, Lane, Monotonic, Node, NodeId, Peer,
    Rng,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

const GROUP: GroupId = GroupId::new(1);
/// Applied entries between two snapshots, and how many stay in the log behind one.
const SNAPSHOT_EVERY: u64 = 60;
const TRAILING: u64 = 20;
/// Completions: of a sync, or of a load with its number.
const SYNCED: u64 = 0;

pub(crate) type Step = Result<(), String>;

/// How a run's members are set, drawn from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The founders.
    pub(crate) members: Vec<NodeId>,
    /// Members come and go; nodes beside the founders start with nothing.
    pub(crate) churn: bool,
    /// The first is the usual one.
    pub(crate) configs: Vec<Config>,
    pub(crate) leases: bool,
    /// Microseconds a sync takes.
    pub(crate) sync: (u64, u64),
    /// Of a million syncs so many take a hundred times as long.
    pub(crate) stall_ppm: u32,
    /// Entries of several kilobytes, so that one append does not carry the whole log.
    pub(crate) large_entries: bool,
}

/// What no member knows: the disks, and what was promised to whom.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) observer: Observer,
    pub(crate) promises: Promises,
    pub(crate) memberships: Memberships,
    pub(crate) disks: BTreeMap<NodeId, Disk>,
    /// The node whose disk lost entries that are not there again.
    pub(crate) damaged: Option<NodeId>,
    /// Data that a client was told is applied.
    pub(crate) acknowledged: BTreeSet<Vec<u8>>,
    pub(crate) refused: BTreeSet<Vec<u8>>,
    /// Snapshots on their way.
    pub(crate) transfers: Transfers,
    leading: BTreeSet<NodeId>,
    requests: u64,
    /// The clients ask no more, and disks do not stall.
    pub(crate) quiet: bool,
}

/// What a disk write releases when it is durable.
struct Unsynced {
    gated: Vec<Envelope>,
    token: Option<AppendToken>,
    install: Option<State>,
}

pub(crate) struct Replica {
    pub(crate) id: NodeId,
    pub(crate) setup: Setup,
    pub(crate) world: Rc<RefCell<World>>,
    pub(crate) raft: Raft,
    pub(crate) rng: Rng,
    /// The last leader this node knew.
    pub(crate) led_last: Option<NodeId>,
    unsynced: VecDeque<Unsynced>,
    sync_done_at: Monotonic,
    pub(crate) state: State,
    commit: LogIndex,
    last: LogId,
    /// Proposals made here and not answered: where they stand.
    waiting: BTreeMap<LogIndex, Term>,
    reads: BTreeMap<ReadId, LogIndex>,
    loads: BTreeMap<u64, (LoadId, LogIndex)>,
    /// Snapshots that are being sent, and to whom.
    pub(crate) sending: BTreeMap<CallToken, Sending>,
    /// Snapshot content on its way into the core.
    pub(crate) incoming: Option<State>,
    client_at: Monotonic,
    /// Clients from outside ask instead of this node's own; here are their reads' answers.
    pub(crate) served: Option<Vec<ReadDone>>,
    leasing: Leasing,
    out: Output,
    broken: Option<String>,
}

impl Replica {
    pub(crate) fn boot(ctx: &mut Ctx<'_>, setup: Setup, world: Rc<RefCell<World>>) -> Self {
        let (id, now) = (ctx.id(), ctx.now());
        let mut rng = Rng::stream(ctx.seed(), "replica", 0, 0);
        let is_founder = setup.members.contains(&id);
        let founders = if is_founder { &setup.members[..] } else { &[] };
        let members = Membership::of_voters(founders);
        let (mut boot, state) = {
            let world = &mut *world.borrow_mut();
            let disk = world.disks.entry(id).or_default();
            // What was not synced when it died: some of it made it.
            let kept = rng.index(disk.pending() + 1);
            for _ in 0..disk.crash(kept) {
                ctx.reached("unsynced write lost");
            }
            if world.leading.remove(&id) {
                ctx.reached("crash of a leader");
            }
            damage::may_strike(ctx, &setup, world, id, &mut rng);
            let disk = world.disks.entry(id).or_default();
            let snapshot = disk.durable.snapshot.as_ref();
            (disk.boot(id, GROUP, &members), snapshot.map_or_else(State::new, |(_, s)| s.clone()))
        };
        boot.drift = ctx.clock().drift();
        let config = leases::config_of_a_life(&setup, &mut rng);
        let raft = Raft::new(config, boot, now, ctx.seed()).expect("the disk holds a legal log");
        let (commit, last) = (raft.commit(), raft.last());
        Self {
            id,
            setup,
            world,
            raft,
            rng,
            led_last: None,
            unsynced: VecDeque::new(),
            sync_done_at: Monotonic::ZERO,
            state,
            commit,
            last,
            waiting: BTreeMap::new(),
            reads: BTreeMap::new(),
            loads: BTreeMap::new(),
            sending: BTreeMap::new(),
            incoming: None,
            client_at: now,
            served: None,
            leasing: Leasing::default(),
            out: Output::default(),
            broken: None,
        }
    }

    /// Keeps the first thing that went wrong, for [`Node::check`].
    fn note(&mut self, step: Step) {
        if let Err(broken) = step {
            self.broken.get_or_insert(broken);
        }
    }

    /// Does what the core wants and checks everything. Called after every input.
    pub(crate) fn after(&mut self, ctx: &mut Ctx<'_>) -> Step {
        loop {
            self.raft.check_invariants().map_err(|broken| broken.to_string())?;
            if !self.raft.has_output() {
                break;
            }
            let mut out = std::mem::take(&mut self.out);
            self.raft.drain(&mut out);
            let done = self.carry_out(ctx, &mut out);
            self.out = out;
            done?;
        }
        self.check_commit(ctx)
    }

    fn carry_out(&mut self, ctx: &mut Ctx<'_>, out: &mut Output) -> Step {
        for block in out.append.iter().flat_map(|append| &append.blocks) {
            self.world.borrow_mut().observer.on_append(block)?;
        }
        self.check_commit(ctx)?;
        if let Some(soft) = out.soft {
            self.led_last = soft.leader.or(self.led_last);
            self.on_role(ctx, soft.role)?;
        }
        for envelope in out.send.drain(..) {
            self.transmit(ctx, envelope)?;
        }
        if let Some(append) = out.append.take() {
            Leasing::check_votes(ctx, &self.world, &append)?;
            self.write(ctx, append)?;
        }
        if let Some(apply) = out.apply.take() {
            self.apply(ctx, &apply)?;
        }
        for done in out.reads.drain(..) {
            Leasing::check_read(ctx, &self.world, &done)?;
            if let Some(served) = &mut self.served {
                served.push(done);
                continue;
            }
            let needed = self.reads.remove(&done.id);
            let needed =
                needed.ok_or_else(|| format!("read {} answered twice or never asked", done.id))?;
            if let Ok(index) = done.result {
                ctx.reached("read confirmed");
                if index < needed {
                    return Err(format!("read sees {index}, but {needed} was acknowledged before"));
                }
            }
        }
        if out.snapshot_wanted {
            self.maybe_snapshot(ctx, 1);
        }
        for load in out.load.drain(..) {
            ctx.reached("entry loaded from disk");
            let took = Duration::from_micros(self.rng.between(50, 2_000));
            let token = SYNCED + 1 + load.id.value();
            self.loads.insert(token, (load.id, load.from));
            ctx.complete_after(Cost::Fixed(took), token);
        }
        Ok(())
    }

    fn on_role(&self, ctx: &mut Ctx<'_>, role: Role) -> Step {
        if role != Role::Leader {
            self.world.borrow_mut().leading.remove(&self.id);
            return Ok(());
        }
        let (raft, term) = (&self.raft, self.raft.status().hard.term);
        let start = raft.status().first;
        let holds = |id: LogId| id.index < start || raft.term_of(id.index) == Some(id.term);
        let mut world = self.world.borrow_mut();
        world.leading.insert(self.id);
        if world.observer.on_leader(self.id, term, holds)? {
            ctx.reached("leader elected");
            if term > Term::new(1) && !world.observer.has_leader(Term::new(term.value() - 1)) {
                ctx.reached("term with no winner");
            }
        }
        Ok(())
    }

    // --- The disk ------------------------------------------------------------------------------

    fn write(&mut self, ctx: &mut Ctx<'_>, mut append: Append) -> Step {
        for block in &append.blocks {
            if block.first() <= self.last.index {
                ctx.reached("entry replaced");
            }
            self.last = block.last();
        }
        let install = match &append.install {
            Some(meta) => {
                ctx.reached("snapshot installed");
                self.last = meta.last;
                let state = self.incoming.take();
                Some(state.ok_or("a snapshot is installed that was not received")?)
            }
            None => None,
        };
        let mut world = self.world.borrow_mut();
        let mut took = self.rng.between(self.setup.sync.0, self.setup.sync.1);
        // Not one stall behind another: the backlog would outlast the calm phase.
        let now = ctx.now();
        let idle = self.sync_done_at <= now;
        if !world.quiet && idle && self.rng.chance(self.setup.stall_ppm) {
            ctx.reached("disk stall");
            took *= 100;
        }
        world.disks.entry(self.id).or_default().write(&append, install.clone());
        let gated = std::mem::take(&mut append.gated);
        self.unsynced.push_back(Unsynced { gated, token: append.token, install });
        // One disk: writes complete in order.
        let begin = self.sync_done_at.max(now);
        self.sync_done_at = begin.saturating_add(Duration::from_micros(took));
        ctx.complete_after(Cost::Fixed(self.sync_done_at.since(now)), SYNCED);
        Ok(())
    }

    fn synced(&mut self, ctx: &mut Ctx<'_>) -> Step {
        self.world.borrow_mut().disks.entry(self.id).or_default().sync_one();
        let done = self.unsynced.pop_front().expect("a completion for each write");
        if let Some(state) = done.install {
            self.state = state;
        }
        for envelope in done.gated {
            if envelope.to == self.id {
                match self.raft.handle_message(ctx.now(), self.id, envelope.message) {
                    // Removed meanwhile, its own word counts no more.
                    Ok(()) | Err(StepError::UnknownPeer { .. }) => {}
                    Err(error) => return Err(error.to_string()),
                }
            } else {
                self.transmit(ctx, envelope)?;
            }
        }
        if let Some(token) = done.token {
            self.raft.appended(ctx.now(), token);
        }
        self.after(ctx)
    }

    fn loaded(&mut self, ctx: &mut Ctx<'_>, token: u64) -> Step {
        let (id, from) = self.loads.remove(&token).expect("a completion for each load");
        let result = {
            let world = self.world.borrow();
            let log = &world.disks[&self.id].durable;
            let blocks = log.blocks.iter().filter(|block| block.last().index >= from);
            let blocks = blocks.take(3).cloned().collect();
            let gone = from <= log.start.index;
            if gone { Err(StoreError::Compacted { to: log.start.index }) } else { Ok(blocks) }
        };
        self.raft.loaded(ctx.now(), id, result);
        self.after(ctx)
    }

    // --- The state machine ---------------------------------------------------------------------

    fn apply(&mut self, ctx: &mut Ctx<'_>, apply: &Apply) -> Step {
        let id = self.id;
        for entry in apply.entries() {
            let mut world = self.world.borrow_mut();
            let expected = self.state.len() as u64 + 1;
            if entry.id.index.value() != expected {
                return Err(format!("node {id} applies {} instead of {expected}", entry.id));
            }
            if !world.disks[&id].durable.holds(entry.id) {
                return Err(format!("node {id} applies {} before its disk has it", entry.id));
            }
            self.state.push((entry.id, entry.data.to_vec()));
            match self.waiting.remove(&entry.id.index) {
                Some(term) if term == entry.id.term => {
                    world.acknowledged.insert(entry.data.to_vec());
                    ctx.reached("proposal acknowledged");
                }
                Some(_) => ctx.reached("proposal superseded"),
                None => {}
            }
            drop(world);
            self.activate(ctx, &entry)?;
        }
        self.raft.applied(ctx.now(), apply.token);
        self.world.borrow().observer.check_applied(id, &self.state)?;
        self.maybe_snapshot(ctx, SNAPSHOT_EVERY);
        Ok(())
    }

    /// Makes a snapshot if there are `every` entries that the last one lacks.
    fn maybe_snapshot(&mut self, ctx: &mut Ctx<'_>, every: u64) {
        let mut world = self.world.borrow_mut();
        let disk = world.disks.entry(self.id).or_default();
        let Some((last, _)) = self.state.last() else { return };
        let newest = disk.durable.snapshot.as_ref().map_or(0, |(m, _)| m.last.index.value());
        let durable = disk.durable.last().index;
        if last.index.value() < newest + every || last.index > durable {
            return;
        }
        let meta = SnapshotMeta::new(*last, self.raft.membership_at(last.index).clone());
        self.raft.snapshot_created(meta.clone());
        // Sometimes without regard to laggards, so that they need the snapshot.
        let wanted = LogIndex::new(last.index.value().saturating_sub(TRAILING));
        let to = if self.rng.flip() { self.raft.compactable(wanted, true) } else { wanted };
        let Some(term) = self.raft.term_of(to).filter(|_| to < durable) else { return };
        let to = LogId::new(term.value(), to.value());
        self.raft.compacted(to.index);
        disk.compact(meta, self.state.clone(), to);
        ctx.reached("snapshot made");
    }

    /// What became committed here is the same everywhere, and on a majority of disks.
    pub(crate) fn check_commit(&mut self, ctx: &mut Ctx<'_>) -> Step {
        let (before, commit) = (self.commit, self.raft.commit());
        if commit < before {
            return Err(format!("node {}: commit index falls from {before}", self.id));
        }
        let world = &mut *self.world.borrow_mut();
        let known = world.observer.committed.len() as u64;
        let mut new = Vec::new();
        for index in before.value() + 1..=commit.value() {
            let index = LogIndex::new(index);
            let Some(term) = self.raft.term_of(index) else { continue }; // within a snapshot
            let id = LogId::new(term.value(), index.value());
            let data = world.observer.data(id).ok_or("an entry that nobody appended")?.to_vec();
            new.push((id, data));
        }
        if new.is_empty() && commit.value() > known {
            return Err(format!("commit {commit} without entries"));
        }
        let held = |id: LogId| {
            // What is lost to damage counts: who lost it does not vote before it is there again.
            let holds = |node| world.disks.get(&node).is_some_and(|disk| disk.held(id));
            churn::decides(self.raft.membership(), holds)
        };
        let count = world.observer.on_commit(self.id, &new, held)?;
        // Paper §5.4.2: only an entry of the leader's own term is committed by counting replicas;
        // what stands before it follows. Everyone else learns of commits that are known already.
        let own_term = self.raft.status().hard.term;
        if let Some((id, _)) = new.last().filter(|(id, _)| count > 0 && id.term != own_term) {
            return Err(format!("{id} is committed by counting replicas in term {own_term}"));
        }
        (0..count).for_each(|_| ctx.reached("entry committed"));
        self.commit = commit;
        self.leasing.believe(ctx, &self.raft, count > 0);
        Ok(())
    }

    // --- The network ---------------------------------------------------------------------------

    fn transmit(&mut self, ctx: &mut Ctx<'_>, envelope: Envelope) -> Step {
        let (to, message) = (envelope.to, envelope.message);
        self.leasing.sent(ctx, &self.world, &message);
        self.check_damage(ctx, &message)?;
        if let Body::VoteResp { granted: true, .. } = message.body {
            let world = &mut *self.world.borrow_mut();
            let disk = &world.disks[&self.id].durable;
            world.observer.on_vote(self.id, message.term, to, disk)?;
        }
        if matches!(message.body, Body::TimeoutNow) {
            ctx.reached("leadership moved");
        }
        if let Body::Snapshot(meta) = &message.body {
            return self.send_snapshot(ctx, to, &message, meta);
        }
        let pieces = wire::encode(&message, 0).ok_or("a message without a wire form")?;
        let mut bytes = BytesMut::new();
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        // Refused is lost, which the core bears.
        let _ = ctx.send(to, Lane::Data, ChannelId::RAFT, bytes.freeze());
        Ok(())
    }

    pub(crate) fn handle(&mut self, ctx: &mut Ctx<'_>, from: NodeId, message: Message) -> Step {
        self.leasing.arrived(ctx, &self.world, &message);
        match self.raft.handle_message(ctx.now(), from, message) {
            Ok(()) => self.after(ctx),
            Err(StepError::UnknownPeer { .. }) if self.setup.churn => {
                ctx.reached("stranger refused");
                self.after(ctx)
            }
            Err(StepError::Stopped) => Err(format!("stopped: {:?}", self.raft.stopped())),
            Err(other) => Err(format!("refuses a message: {other}")),
        }
    }

    // --- The client ----------------------------------------------------------------------------

    fn client(&mut self, ctx: &mut Ctx<'_>) -> Step {
        let wait = Duration::from_micros(self.rng.between(1_000, 12_000));
        self.client_at = ctx.now().saturating_add(wait);
        match self.rng.below(10) {
            0..9 if self.served.is_some() => Ok(()),
            // Mostly at a leader, so that something happens. A deposed one that does not know it
            // yet diverges this way.
            0..7 if self.raft.role() == Role::Leader || self.rng.chance(50_000) => {
                self.propose(ctx)
            }
            7..9 => self.read(ctx),
            9 if self.setup.churn && churn::leads(self) && self.rng.flip() => self.churn(ctx),
            9 if self.rng.chance(200_000) => {
                let _not_the_leader = self.raft.transfer(ctx.now(), None);
                self.after(ctx)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn propose(&mut self, ctx: &mut Ctx<'_>) -> Step {
        let number = {
            let mut world = self.world.borrow_mut();
            world.requests += 1;
            world.requests
        };
        let mut data = format!("request {number}").into_bytes();
        if self.setup.large_entries && self.rng.chance(400_000) {
            data.resize(3_000, b'.');
        }
        let mut proposal = Proposal::new(self.setup.configs[0].limits());
        proposal.push(EntryBody::Normal(&data)).unwrap();
        match self.raft.propose(ctx.now(), proposal) {
            Ok(Proposed::Appended { term, range }) => {
                self.waiting.insert(*range.start(), term);
            }
            Ok(other) => return Err(format!("unexpected {other:?}")),
            Err(_) => {
                ctx.reached("proposal refused");
                self.world.borrow_mut().refused.insert(data);
            }
        }
        self.after(ctx)
    }

    fn read(&mut self, ctx: &mut Ctx<'_>) -> Step {
        let (id, needed) = {
            let mut world = self.world.borrow_mut();
            world.requests += 1;
            // Everything acknowledged so far must be seen.
            let newest = world.observer.committed.iter().rev();
            let mut acked = newest.filter(|(_, data)| world.acknowledged.contains(data));
            let needed = acked.next().map_or(LogIndex::ZERO, |(id, _)| id.index);
            (ReadId::new(world.requests), needed)
        };
        let (now, through_follower) = (ctx.now(), self.raft.role() != Role::Leader);
        let lease = self.setup.leases && self.rng.flip();
        let asked = if lease { self.raft.read_by_lease(now, id) } else { self.raft.read(now, id) };
        if asked.is_ok() {
            self.reads.insert(id, needed);
            ctx.reached(match (lease, through_follower) {
                (true, true) => "lease read through a follower",
                (false, true) => "read through a follower",
                (true, false) if !self.raft.lease_valid(now) => "lease read refused",
                _ => "read at a leader",
            });
        }
        self.after(ctx)
    }
}

impl Node for Replica {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: Lane, _: ChannelId, body: Bytes) {
        let limits = *self.setup.configs[0].limits();
        let step = match wire::decode(&body, &limits) {
            Ok((message, _)) => self.handle(ctx, from.node, message),
            Err(error) => Err(error.to_string()),
        };
        self.note(step);
    }

    /// A snapshot.
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        _: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        let step = self.take_piece(ctx, from, &body, call);
        self.note(step);
    }

    fn on_reply(&mut self, ctx: &mut Ctx<'_>, call: CallToken, result: Result<Bytes, CallError>) {
        let step = self.piece_answered(ctx, call, result);
        self.note(step);
    }

    fn on_completion(&mut self, ctx: &mut Ctx<'_>, token: u64) {
        let step = if token == SYNCED { self.synced(ctx) } else { self.loaded(ctx, token) };
        self.note(step);
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        if self.raft.poll_timeout().is_some_and(|at| at <= now) {
            self.raft.handle_timeout(now);
            let step = self.after(ctx);
            self.note(step);
        }
        if self.client_at <= now && !self.world.borrow().quiet {
            let step = self.client(ctx);
            self.note(step);
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        let client = (!self.world.borrow().quiet).then_some(self.client_at);
        self.raft.poll_timeout().into_iter().chain(client).min()
    }

    fn check(&self) -> Result<(), String> {
        self.broken.clone().map_or(Ok(()), Err)
    }
}
