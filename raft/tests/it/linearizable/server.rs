//! A member of the simulated group that serves registers to clients from outside.

use super::clients::{Said, change, decode};
use crate::sim::replica::{Replica, Setup, Step, World};
use quorate_raft::{
    EntryBody, LogIndex, Proposal, ProposeError, Proposed, ReadDone, ReadId, Role, Term,
};
use quorate_sim::specs::{KvOp, KvRet};
use quorate_sim::{
    Bytes, CallError, CallToken, ChannelId, Ctx, InboundCall, Lane, Monotonic, Node, Peer,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A read under way.
struct Reading {
    key: String,
    call: InboundCall,
    confirmed: Option<ReadDone>,
}

pub(crate) struct Server {
    replica: Replica,
    ids: Rc<Cell<u64>>,
    values: BTreeMap<String, i64>,
    /// Entries of the replica's state that are in the values.
    seen: usize,
    /// Writes of clients that ask here: where they stand. Several at one index: what was replaced
    /// here may still be committed by another leader.
    writes: BTreeMap<LogIndex, Vec<(Term, InboundCall)>>,
    reads: BTreeMap<ReadId, Reading>,
    broken: Option<String>,
}

impl Server {
    pub(crate) fn boot(
        ctx: &mut Ctx<'_>,
        setup: Setup,
        world: Rc<RefCell<World>>,
        ids: Rc<Cell<u64>>,
    ) -> Self {
        let mut replica = Replica::boot(ctx, setup, world);
        replica.served = Some(Vec::new());
        Self {
            replica,
            ids,
            values: BTreeMap::new(),
            seen: 0,
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
            broken: None,
        }
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, body: &[u8], call: InboundCall) -> Step {
        match decode(body).ok_or("a request of other words")? {
            KvOp::Read { key } => self.read(ctx, key.to_string(), call),
            _ => self.write(ctx, body, call),
        }
        self.replica.after(ctx)
    }

    fn write(&mut self, ctx: &mut Ctx<'_>, data: &[u8], call: InboundCall) {
        let mut proposal = Proposal::new(self.replica.setup.configs[0].limits());
        proposal.push(EntryBody::Normal(data)).expect("a few words");
        let said = match self.replica.raft.propose(ctx.now(), proposal) {
            Ok(Proposed::Appended { term, range }) => {
                self.writes.entry(*range.start()).or_default().push((term, call));
                return;
            }
            Err((ProposeError::NotLeader { leader }, _)) => {
                ctx.reached("client redirected");
                Said::AskAt(leader)
            }
            _ => Said::Refused,
        };
        ctx.reply(call, said.encode());
    }

    fn read(&mut self, ctx: &mut Ctx<'_>, key: String, call: InboundCall) {
        self.ids.set(self.ids.get() + 1);
        let (id, now) = (ReadId::new(self.ids.get()), ctx.now());
        let replica = &mut self.replica;
        let leads = replica.raft.role() == Role::Leader;
        let lease = replica.setup.leases && replica.rng.flip();
        let raft = &mut replica.raft;
        let asked = if lease { raft.read_by_lease(now, id) } else { raft.read(now, id) };
        if asked.is_err() {
            ctx.reply(call, Said::Refused.encode());
            return;
        }
        ctx.reached(if leads {
            "client reads at a leader"
        } else {
            "client reads through a follower"
        });
        self.reads.insert(id, Reading { key, call, confirmed: None });
    }

    /// After everything that may have moved the replica on: answers what can be answered.
    fn serve(&mut self, ctx: &mut Ctx<'_>) {
        self.apply(ctx);
        for done in self.replica.served.iter_mut().flat_map(|all| all.drain(..)) {
            if let Some(reading) = self.reads.get_mut(&done.id) {
                reading.confirmed = Some(done);
            }
        }
        let answered: Vec<ReadId> =
            self.reads.iter().filter(|(_, r)| self.can_answer(r)).map(|(id, _)| *id).collect();
        for id in answered {
            let Some(reading) = self.reads.remove(&id) else { continue };
            let said = self.answer(ctx, &reading);
            ctx.reply(reading.call, said.encode());
        }
    }

    /// What was applied since the last look, own or from a snapshot.
    fn apply(&mut self, ctx: &mut Ctx<'_>) {
        for (id, data) in self.replica.state.iter().skip(self.seen) {
            let ret = decode(data).map(|op| change(&mut self.values, &op));
            for (term, call) in self.writes.remove(&id.index).into_iter().flatten() {
                let said = match ret {
                    Some(ret) if term == id.term => Said::Done(ret),
                    _ => Said::Refused,
                };
                if said == Said::Refused {
                    ctx.reached("client superseded");
                }
                ctx.reply(call, said.encode());
            }
        }
        self.seen = self.replica.state.len();
    }

    /// Refused, or confirmed and the state has got there.
    fn can_answer(&self, reading: &Reading) -> bool {
        match reading.confirmed.as_ref().map(|done| &done.result) {
            Some(Ok(index)) => index.value() <= self.seen as u64,
            refused => refused.is_some(),
        }
    }

    fn answer(&self, ctx: &mut Ctx<'_>, reading: &Reading) -> Said {
        let Some(done) = reading.confirmed.as_ref().filter(|done| done.result.is_ok()) else {
            return Said::Refused;
        };
        // The state is read; whether the lease still holds is asked after that.
        let value = self.values.get(&reading.key).copied();
        if done.by_lease {
            if !self.replica.raft.lease_valid(ctx.now()) {
                return Said::Refused;
            }
            ctx.reached("client reads by lease");
        }
        Said::Done(KvRet::Value(value))
    }

    fn note(&mut self, step: Step) {
        if let Err(broken) = step {
            self.broken.get_or_insert(broken);
        }
    }
}

impl Node for Server {
    fn on_message(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        lane: Lane,
        channel: ChannelId,
        body: Bytes,
    ) {
        self.replica.on_message(ctx, from, lane, channel, body);
        self.serve(ctx);
    }

    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        channel: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        if channel == ChannelId::RAFT {
            self.replica.on_call(ctx, from, channel, body, call);
        } else {
            let step = self.ask(ctx, &body, call);
            self.note(step);
        }
        self.serve(ctx);
    }

    fn on_reply(&mut self, ctx: &mut Ctx<'_>, call: CallToken, result: Result<Bytes, CallError>) {
        self.replica.on_reply(ctx, call, result);
        self.serve(ctx);
    }

    fn on_completion(&mut self, ctx: &mut Ctx<'_>, token: u64) {
        self.replica.on_completion(ctx, token);
        self.serve(ctx);
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.replica.on_timeout(ctx);
        self.serve(ctx);
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.replica.poll_timeout()
    }

    fn check(&self) -> Result<(), String> {
        self.replica.check()?;
        self.broken.clone().map_or(Ok(()), Err)
    }
}
