//! A register with two copies and a bug: found, shrunk, replayed. `--fixed` is without it.
#![expect(clippy::unwrap_used, reason = "an example")]
use quorate_sim::specs::{CasRegister, RegisterOp as Op, RegisterRet as Ret};
use quorate_sim::*;
use std::{fs::File, process::ExitCode, time::Duration};
const PATIENCE: Duration = Duration::from_millis(200); // then it goes on without the copy
#[derive(Default)]
struct Replica {
    value: Bytes,
    copying: Vec<(Vec<CallToken>, InboundCall)>,
}
impl Node for Replica {
    fn on_call(&mut self, ctx: &mut Ctx<'_>, _: Peer, ch: ChannelId, v: Bytes, call: InboundCall) {
        if v == "read" {
            return ctx.reply(call, self.value.clone());
        }
        self.value = v.clone();
        if ctx.id() != NodeId::new(1) {
            return ctx.reply(call, "copied");
        }
        let copy = |to| ctx.call(NodeId::new(to), Lane::Data, ch, v.clone(), PATIENCE);
        self.copying.push(([2, 3].map(copy).to_vec(), call));
    }
    fn on_reply(&mut self, ctx: &mut Ctx<'_>, token: CallToken, _: Result<Bytes, CallError>) {
        self.copying.iter_mut().for_each(|(copies, _)| copies.retain(|copy| *copy != token));
        for (_, call) in self.copying.extract_if(.., |(copies, _)| copies.is_empty()) {
            ctx.reply(call, "written");
        }
    }
}
#[derive(Clone)]
struct Client(bool);
impl ClientWork for Client {
    type Op = Op;
    type Ret = Ret;
    fn next(&mut self, rng: &mut Rng) -> Op {
        if rng.flip() { Op::Read } else { Op::Write(rng.below(9).try_into().unwrap()) }
    }
    fn servers(&self, op: &Op) -> Vec<NodeId> {
        let everybody = *op == Op::Read && !self.0; // the bug: a copy may be stale
        (1..=if everybody { 3 } else { 1 }).map(NodeId::new).collect()
    }
    fn request(&mut self, op: &Op) -> Bytes {
        if let Op::Write(value) = op { value.to_string().into() } else { "read".into() }
    }
    fn read(&mut self, op: &Op, body: &Bytes) -> Ret {
        let value = str::from_utf8(body).unwrap().parse().ok();
        if *op == Op::Read { Ret::Value(value) } else { Ret::Written }
    }
}
struct Register(Client, Recorder<Op, Ret>, Option<String>);
impl Workload for Register {
    fn setup(&mut self, sim: &mut Sim) {
        (1..=3).for_each(|id| sim.add(NodeId::new(id), |_| Replica::default()));
        for id in 11..=13 {
            let (work, to) = (self.0.clone(), self.1.clone());
            let start = move |ctx: &mut Ctx<'_>| ClosedLoop::new(ctx, work.clone(), to.clone());
            sim.add_client(NodeId::new(id), start);
        }
        sim.add_checker(Linearizable::new(CasRegister, &self.1));
    }
    fn finish(&mut self, _: &mut Sim) -> Result<(), String> {
        let Some(path) = &self.2 else { return Ok(()) };
        self.1.history().write_jsonl(File::create(path).unwrap()).map_err(|why| why.to_string())
    }
}
pub(crate) fn run(args: &[String]) -> ExitCode {
    let of = |flag| args.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1].clone());
    let (client, path) = (Client(args.contains(&"--fixed".into())), of("--history"));
    let new = move |_| Register(client.clone(), Recorder::new(), path.clone());
    let classes = [Class::Partition, Class::Pause, Class::Delay, Class::Clog, Class::Break];
    let campaign = Campaign::new("register", new).swarm(Swarm::quiet().only(&classes));
    match of("--seed") {
        Some(seed) => campaign.seed(seed.parse().unwrap()).shrink(false).main(),
        None => campaign.main(),
    }
}
fn main() -> ExitCode {
    run(&std::env::args().collect::<Vec<_>>())
}
