//! Six worlds that between them use everything that could differ from run to run.

use quorate_sim::*;
use quorate_transport::{CallOptions, ChannelOptions, Endpoint, EndpointConfig, Inbound};
use quorate_wal::vfs::{OpenMode, Vfs};
use std::time::Duration;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Order) -> u64,
}

pub(crate) const SCENARIOS: [Scenario; 6] = [
    Scenario { name: "sans-io", run: sans_io },
    Scenario { name: "async", run: with_tasks },
    Scenario { name: "disk", run: disk },
    Scenario { name: "clocks", run: clocks },
    Scenario { name: "200-nodes", run: many },
    Scenario { name: "campaign", run: campaign },
];

const CHANNEL: ChannelId = ChannelId::new(16);

fn id(n: u64) -> NodeId {
    NodeId::new(n)
}

/// Sends and calls at random, answers, writes, and reads its clocks.
pub(crate) struct Chatter {
    nodes: u64,
    next: Monotonic,
    rng: Rng,
    writes: bool,
    reads: bool,
}

impl Chatter {
    pub(crate) fn boot(ctx: &mut Ctx<'_>, nodes: u64, writes: bool, reads: bool) -> Self {
        let rng = Rng::stream(ctx.seed(), "chatter", 0, 0);
        Self { nodes, next: ctx.now(), rng, writes, reads }
    }

    fn write(&mut self, ctx: &mut Ctx<'_>) {
        let vfs = ctx.disk();
        let name = format!("log{}", self.rng.below(3));
        let file = vfs.open(name.as_ref(), OpenMode::Write);
        let Ok(file) = file.or_else(|_| vfs.open(name.as_ref(), OpenMode::CreateNew)) else {
            return;
        };
        let body = vec![u8::try_from(self.rng.below(256)).unwrap(); 700];
        let _ = file.write_at(&body, self.rng.below(10) * 512);
        if self.rng.flip() {
            let _ = (file.sync_data(), vfs.sync_dir("".as_ref()));
        }
        ctx.complete_after(Cost::Sync, self.rng.word());
    }
}

impl Node for Chatter {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: Lane, _: ChannelId, body: Bytes) {
        if body.len() < 200 {
            ctx.fact("length", from.node.value(), body.len() as u128);
        } else {
            ctx.reached("long");
        }
    }

    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        _: Peer,
        _: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        match self.rng.below(3) {
            0 => ctx.reply(call, body),
            1 => ctx.reject(call, 7),
            _ => drop(call),
        }
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let to = id(self.rng.between(1, self.nodes));
        let body = vec![7; usize::try_from(self.rng.below(400)).unwrap()];
        let lane = *self.rng.pick(&Lane::ALL).unwrap();
        match self.rng.below(4) {
            0 => drop(ctx.send(to, lane, CHANNEL, body)),
            1 => drop(ctx.send_datagram(to, CHANNEL, body)),
            2 => drop(ctx.call(to, lane, CHANNEL, body, Duration::from_millis(500))),
            _ if self.writes => self.write(ctx),
            _ => ctx.busy(Duration::from_micros(self.rng.below(500))),
        }
        if self.reads {
            let _ = (ctx.wall(), ctx.interval(), ctx.bounded().interval());
        }
        let wait = Duration::from_micros(self.rng.below(20_000));
        self.next = ctx.now().saturating_add(wait);
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

fn chatter(order: Order, nodes: u64, writes: bool, reads: bool) -> Sim {
    let mut sim = Sim::new(SimConfig::lan(11).order(order).build().unwrap());
    for n in 1..=nodes {
        sim.add(id(n), move |ctx| Chatter::boot(ctx, nodes, writes, reads));
    }
    sim
}

fn plan(text: &str) -> Plan {
    text.parse().unwrap()
}

fn ended(mut sim: Sim, seconds: u64) -> u64 {
    sim.run_for(Duration::from_secs(seconds)).unwrap();
    sim.trace_hash()
}

fn sans_io(order: Order) -> u64 {
    let mut sim = chatter(order, 5, false, false);
    sim.plan(plan(
        "1.000s loss ppm=50000\n\
         1.000s duplicate ppm=50000\n\
         1.500s corrupt ppm=5000\n\
         2.000s partition halves plane=both\n\
         3.000s heal swizzle=yes\n\
         4.000s crash n2 disk=random\n\
         4.500s break n1 silent=no\n\
         5.000s restart n2\n\
         6.000s pause n3\n\
         7.000s resume n3\n\
         7.500s slow n4 percent=300\n\
         8.000s delay percent=400\n",
    ));
    ended(sim, 10)
}

fn with_tasks(order: Order) -> u64 {
    let mut sim = Sim::new(SimConfig::lan(12).order(order).build().unwrap());
    for n in 1..=3 {
        sim.add_async(id(n), |host| Box::pin(talk(host)));
    }
    sim.plan(plan("2.000s crash n2 disk=random\n4.000s restart n2\n"));
    ended(sim, 8)
}

/// Serves, and calls the next one, with the real endpoint.
async fn talk(host: Host) {
    let config = EndpointConfig::default();
    let endpoint = Endpoint::start_with(host.transport(), host.runtime(), config).unwrap();
    let mut channel = endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap();
    let asks = endpoint.channel(ChannelId::new(17), ChannelOptions::new()).unwrap();
    let (asking, runtime) = (host.clone(), host.runtime());
    let to = id(host.id().value() % 3 + 1);
    let ask = async move {
        loop {
            let options = CallOptions::within(Duration::from_millis(300));
            let answered = asks.call(to, b"?", options).await.is_ok();
            asking.fact("answered", 0, u128::from(answered));
            quorate_transport::sleep(&*asking.runtime(), Duration::from_millis(20)).await;
        }
    };
    runtime.spawn("ask", Box::pin(ask));
    while let Some(inbound) = channel.recv().await {
        if let Inbound::Call { body, reply, .. } = inbound {
            let _ = reply.reply(body);
        }
    }
}

fn disk(order: Order) -> u64 {
    let mut sim = chatter(order, 3, true, false);
    sim.plan(plan(
        "1.000s crash n1 disk=random\n\
         1.500s restart n1\n\
         2.000s crash-mid n2 operations=5\n\
         4.000s restart n2\n\
         5.000s wipe n3\n\
         5.500s restart n3\n",
    ));
    ended(sim, 8)
}

fn clocks(order: Order) -> u64 {
    let mut sim = chatter(order, 3, false, true);
    sim.plan(plan(
        "1.000s clock-step n1 by_ns=-3600000000000\n\
         2.000s clock-rate n2 ppm=150\n\
         3.000s clock-bound n3 lie_ns=1000000\n\
         4.000s clock-rate n2 ppm=-150\n",
    ));
    ended(sim, 6)
}

fn many(order: Order) -> u64 {
    let mut sim = chatter(order, 200, false, false);
    sim.plan(plan("0.300s partition ring plane=both\n0.600s heal swizzle=no\n"));
    ended(sim, 1)
}

struct Small;

impl Workload for Small {
    fn setup(&mut self, sim: &mut Sim) {
        for n in 1..=3 {
            sim.add(id(n), |ctx| Chatter::boot(ctx, 3, true, true));
        }
    }
}

fn campaign(order: Order) -> u64 {
    let classes = [Class::Crash, Class::Partition, Class::Pause, Class::Loss];
    let report = Campaign::new("gate", |_| Small)
        .config(move |seed| SimConfig::lan(seed).order(order).build().unwrap())
        .seeds(8)
        .swarm(Swarm::quiet().only(&classes))
        .chaos(Duration::from_secs(5))
        .heal(Duration::from_secs(5))
        .run();
    report.unwrap().hash
}
