//! A client that takes a call without an answer for one that was not executed.

use crate::toys::register::Client;
use crate::toys::{CHANNEL, Toy, ms, node, pack, unpack};
use quorate_sim::specs::{RegisterOp as Op, RegisterRet as Ret};
use quorate_sim::*;

/// A register of one node, which never dies.
struct Server {
    value: Option<u64>,
}

impl Node for Server {
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        _: Peer,
        _: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        if let [_, value] = unpack(&body)[..] {
            self.value = Some(value);
        }
        let value: Vec<u64> = self.value.into_iter().collect();
        ctx.reply(call, pack(&value));
    }
}

struct Hasty {
    bug: bool,
    client: Client,
}

impl ClientWork for Hasty {
    type Op = Op;
    type Ret = Ret;

    fn next(&mut self, rng: &mut Rng) -> Op {
        self.client.next(rng)
    }

    fn servers(&self, op: &Op) -> Vec<NodeId> {
        self.client.servers(op)
    }

    fn request(&mut self, op: &Op) -> Bytes {
        self.client.request(op)
    }

    fn read(&mut self, op: &Op, body: &Bytes) -> Ret {
        self.client.read(op, body)
    }

    fn classify(&mut self, op: &Op, answer: &Result<Bytes, CallError>) -> Answer<Ret> {
        match answer {
            Err(_) if self.bug => Answer::Failed,
            _ => self.client.classify(op, answer),
        }
    }

    fn channel(&self) -> ChannelId {
        CHANNEL
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::OneWay, Class::Break, Class::Pause, Class::Clog, Class::Delay];
    super::campaign("unknown-as-failed", bug, &classes, |bug| {
        Toy::new(move |sim| {
            let recorder = Recorder::new();
            sim.add(node(1), |_| Server { value: None });
            for id in [11, 12] {
                let recorder = recorder.clone();
                sim.add_client(node(id), move |ctx| {
                    let client = Client { members: 1, think: ms(50) };
                    ClosedLoop::new(ctx, Hasty { bug, client }, recorder.clone())
                });
            }
            sim.add_checker(Linearizable::new(specs::CasRegister, &recorder));
        })
    })
}
