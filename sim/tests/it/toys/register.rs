//! A register over several replicas (Attiya, Bar-Noy & Dolev 1995): whoever is asked asks a
//! majority for its newest value, and stores what it answers at a majority before it answers.
//! Replicas talk in datagrams; what is lost, the client asks for again.

use super::slots::Slots;
use super::{CHANNEL, ms, node, pack, unpack};
use quorate_sim::specs::{RegisterOp as Op, RegisterRet as Ret};
use quorate_sim::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const QUERY: u64 = 1;
const VALUE: u64 = 2;
const STORE: u64 = 3;
const STORED: u64 = 4;
const READ: u64 = 5;
const WRITE: u64 = 6;

/// Counter, operation that wrote it, value. No value yet: counter 0.
type Version = [u64; 3];

/// One operation that this replica does for a client.
struct Doing {
    call: InboundCall,
    write: Option<u64>,
    newest: Version,
    storing: bool,
    heard: BTreeSet<NodeId>,
}

pub(crate) struct Replica {
    bug: bool,
    members: u64,
    /// `None`: the disk refused, and nothing is promised before it does not.
    slots: Option<Slots>,
    newest: Version,
    doing: BTreeMap<u64, Doing>,
    operations: u64,
    retry: Option<Monotonic>,
}

impl Replica {
    pub(crate) fn boot(ctx: &mut Ctx<'_>, members: u64, bug: bool) -> Self {
        // Of its own life: answers to an earlier one are not counted.
        let operations = ctx.incarnation().value() << 32;
        let (doing, retry) = (BTreeMap::new(), None);
        let newest = [0; 3];
        let mut replica = Self { bug, members, slots: None, newest, doing, operations, retry };
        replica.open(ctx);
        replica
    }

    fn open(&mut self, ctx: &mut Ctx<'_>) {
        match Slots::open(&ctx.disk()) {
            Ok((slots, state)) => {
                self.newest = state.map_or([0; 3], |words| words.try_into().unwrap());
                (self.slots, self.retry) = (Some(slots), None);
            }
            Err(_) => self.retry = Some(ctx.now().saturating_add(ms(200))),
        }
    }

    fn to_all(&self, ctx: &mut Ctx<'_>, message: &[u64]) {
        let id = ctx.id();
        for peer in (1..=self.members).map(node).filter(|peer| *peer != id) {
            // What is not sent, or lost, the client does again.
            let _ = ctx.send_datagram(peer, CHANNEL, pack(message));
        }
    }

    /// Its own part of an operation comes first.
    fn begin(&mut self, ctx: &mut Ctx<'_>, write: Option<u64>, call: InboundCall) {
        let now = ctx.now();
        self.doing.retain(|_, doing| !doing.call.is_cancelled() && doing.call.deadline() > now);
        self.operations += 1;
        let id = self.operations << 8 | ctx.id().value();
        let (newest, heard) = (self.newest, BTreeSet::from([ctx.id()]));
        self.doing.insert(id, Doing { call, write, newest, storing: false, heard });
        self.to_all(ctx, &[QUERY, id]);
    }

    fn store(&mut self, version: Version) -> bool {
        if version[..2] <= self.newest[..2] {
            return true;
        }
        let saved = self.slots.as_mut().is_some_and(|slots| slots.save(&version).is_ok());
        if saved {
            self.newest = version;
        }
        saved
    }

    fn heard(&mut self, ctx: &mut Ctx<'_>, from: NodeId, id: u64, value: Option<Version>) {
        let Some(doing) = self.doing.get_mut(&id) else { return };
        if doing.storing != value.is_none() {
            return; // late
        }
        if let Some(version) = value.filter(|version| version[..2] > doing.newest[..2]) {
            doing.newest = version;
        }
        doing.heard.insert(from);
        if doing.heard.len() as u64 * 2 <= self.members {
            return;
        }
        let read = doing.write.is_none();
        if doing.storing || (read && self.bug) {
            return self.answer(ctx, id);
        }
        if let Some(value) = doing.write {
            doing.newest = [doing.newest[0] + 1, id, value];
        }
        (doing.storing, doing.heard) = (true, BTreeSet::new());
        let [counter, writer, value] = doing.newest;
        if self.store([counter, writer, value])
            && let Some(doing) = self.doing.get_mut(&id)
        {
            doing.heard.insert(ctx.id());
        }
        self.to_all(ctx, &[STORE, id, counter, writer, value]);
    }

    fn answer(&mut self, ctx: &mut Ctx<'_>, id: u64) {
        let Some(doing) = self.doing.remove(&id) else { return };
        let [counter, _, value] = doing.newest;
        ctx.reached(if doing.write.is_some() { "written" } else { "read" });
        let known = [value];
        ctx.reply(doing.call, pack(if counter == 0 { &[] } else { &known }));
    }
}

impl Node for Replica {
    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: ChannelId, body: Bytes) {
        if self.slots.is_none() {
            return;
        }
        let from = from.node;
        let reply = match unpack(&body)[..] {
            [QUERY, id] => vec![VALUE, id, self.newest[0], self.newest[1], self.newest[2]],
            [STORE, id, a, b, c] if self.store([a, b, c]) => vec![STORED, id],
            [VALUE, id, a, b, c] => return self.heard(ctx, from, id, Some([a, b, c])),
            [STORED, id] => return self.heard(ctx, from, id, None),
            _ => return,
        };
        let _ = ctx.send_datagram(from, CHANNEL, pack(&reply));
    }

    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        _: Peer,
        _: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        if self.slots.is_none() {
            return ctx.reject(call, 1);
        }
        match unpack(&body)[..] {
            [WRITE, value] => self.begin(ctx, Some(value), call),
            _ => self.begin(ctx, None, call),
        }
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.open(ctx);
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.retry
    }
}

/// Reads and writes small numbers at any replica.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) members: u64,
    pub(crate) think: Duration,
}

impl ClientWork for Client {
    type Op = Op;
    type Ret = Ret;

    fn next(&mut self, rng: &mut Rng) -> Op {
        if rng.below(3) > 0 { Op::Read } else { Op::Write(rng.below(1 << 40).cast_signed()) }
    }

    fn servers(&self, _: &Op) -> Vec<NodeId> {
        (1..=self.members).map(node).collect()
    }

    fn request(&mut self, op: &Op) -> Bytes {
        match op {
            Op::Write(value) => pack(&[WRITE, value.cast_unsigned()]),
            _ => pack(&[READ]),
        }
    }

    fn read(&mut self, op: &Op, body: &Bytes) -> Ret {
        let value = unpack(body).first().map(|value| value.cast_signed());
        if *op == Op::Read { Ret::Value(value) } else { Ret::Written }
    }

    fn think(&self) -> Duration {
        self.think
    }
}

/// The whole world of it.
pub(crate) fn setup(sim: &mut Sim, clients: u64, think: Duration, bug: bool) {
    let members = 3;
    let recorder = Recorder::new();
    for id in 1..=members {
        sim.add(node(id), move |ctx| Replica::boot(ctx, members, bug));
    }
    for id in 11..11 + clients {
        let recorder = recorder.clone();
        sim.add_client(node(id), move |ctx| {
            ClosedLoop::new(ctx, Client { members, think }, recorder.clone())
        });
    }
    sim.add_checker(Linearizable::new(specs::CasRegister, &recorder));
}
