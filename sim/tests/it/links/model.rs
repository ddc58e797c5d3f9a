//! Random sends under random faults, held against the contract.

use super::log::{Counted, Log, Talker, judge};
use crate::disk::seeds::{Replay, seeds};
use quorate_sim::*;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

struct Run {
    rng: Rng,
    nodes: u64,
    sim: Sim,
    log: Log,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, "links", 0, 0);
        let order = if rng.flip() { Order::Random } else { Order::Fifo };
        let mut config = if rng.flip() { SimConfig::lan(seed) } else { SimConfig::wan(seed) };
        config = config.order(order).bandwidth_bits(rng.log_uniform(1_000_000, 1_000_000_000));
        config = config.session_timeout(*rng.pick(&[500 * MS, 2_000 * MS, 10_000 * MS]).unwrap());
        let nodes = rng.between(2, 5);
        let mut sim = Sim::new(config.build().unwrap());
        let log = Log::default();
        for id in 1..=nodes {
            let log = log.clone();
            sim.add(NodeId::new(id), move |_| Talker::new(&log));
        }
        Self { rng, nodes, sim, log }
    }

    fn node(&mut self) -> NodeId {
        NodeId::new(self.rng.between(1, self.nodes))
    }

    fn talk(&mut self) {
        let from = self.node();
        let to = self.node();
        let lane = *self.rng.pick(&Lane::ALL).unwrap();
        let burst = self.rng.log_uniform(1, 40);
        let len = usize::try_from(self.rng.log_uniform(1, 30_000)).unwrap();
        let resets = self.rng.chance(20_000);
        if from != to {
            self.sim.with_node::<Talker, ()>(from, |node, ctx| {
                for _ in 0..burst {
                    let _ = node.say(ctx, to.value(), lane, len);
                }
                if resets {
                    ctx.reset(to, lane);
                }
            });
        }
    }

    fn plane(&mut self) -> Plane {
        *self.rng.pick(&[Plane::Both, Plane::Lanes, Plane::Datagrams]).unwrap()
    }

    fn shape(&mut self) -> Shape {
        let node = self.node();
        match self.rng.below(5) {
            0 => Shape::Halves,
            1 => Shape::Isolate(node),
            2 => Shape::Bridge(node),
            3 => Shape::Ring,
            _ => Shape::Groups(vec![vec![node], vec![self.node()]]),
        }
    }

    fn fault(&mut self) -> Fault {
        let (node, from, to) = (self.node(), self.node(), self.node());
        let plane = self.plane();
        match self.rng.below(16) {
            0 | 1 => Fault::Partition { shape: self.shape(), plane },
            2 => Fault::Block { from, to, plane },
            3 => {
                let for_ = Duration::from_millis(self.rng.log_uniform(10, 5_000));
                Fault::Clog { from, to, for_ }
            }
            4..=6 => Fault::Heal { swizzle: self.rng.flip() },
            7 => Fault::BreakSessions { node, silent: self.rng.flip() },
            8 => Fault::Crash { node, disk: CrashDisk::Random },
            9 | 10 => Fault::Restart { node },
            11 => Fault::Pause { node },
            12 | 13 => Fault::Resume { node },
            14 if self.rng.flip() => {
                Fault::Slow { node, percent: *self.rng.pick(&[100, 100_000]).unwrap() }
            }
            14 => Fault::Delay { percent: *self.rng.pick(&[100, 100, 1_000]).unwrap() },
            _ => Fault::Corrupt { ppm: *self.rng.pick(&[0, 0, 20_000]).unwrap() },
        }
    }

    fn settle(&mut self) {
        self.sim.apply(Fault::Heal { swizzle: self.rng.flip() });
        self.sim.apply(Fault::Corrupt { ppm: 0 });
        self.sim.apply(Fault::Delay { percent: 100 });
        for node in self.sim.nodes() {
            self.sim.apply(Fault::Resume { node });
            self.sim.apply(Fault::Slow { node, percent: 100 });
            self.sim.apply(Fault::Restart { node });
        }
        self.sim.run_for(Duration::from_secs(60)).unwrap();
    }

    fn run(&mut self) -> Counted {
        for _ in 0..self.rng.between(20, 150) {
            match self.rng.below(4) {
                0 => {
                    let fault = self.fault();
                    self.sim.apply(fault);
                }
                _ => self.talk(),
            }
            let pause = Duration::from_micros(self.rng.log_uniform(1, 1_000_000));
            self.sim.run_for(pause).unwrap();
        }
        self.settle();
        // Everybody is heard again, on every lane that had ended too. // H25
        for (from, to) in (1..=self.nodes).flat_map(|a| (1..=self.nodes).map(move |b| (a, b))) {
            if from != to {
                let say = |node: &mut Talker, ctx: &mut Ctx<'_>| {
                    Lane::ALL.map(|lane| node.say(ctx, to, lane, 0).unwrap())
                };
                self.sim.with_node(NodeId::new(from), say).unwrap();
            }
        }
        self.sim.run_for(Duration::from_secs(60)).unwrap();
        if std::env::var_os("QUORATE_SEED").is_some() {
            println!("{}{:#?}", self.sim.trace_tail(4_000), self.log.lives());
        }
        judge(&self.log.lives(), true)
    }
}

#[test]
fn lanes_keep_their_contract_under_every_fault() {
    let mut all = Counted::default();
    let mut coverage = [0_u64; 9];
    let classes = [
        Class::Partition,
        Class::OneWay,
        Class::Clog,
        Class::Break,
        Class::Crash,
        Class::Pause,
        Class::Slow,
        Class::Delay,
        Class::Corrupt,
    ];
    let seeds = seeds(150);
    for seed in &seeds {
        let _replay = Replay { test: "links::model", seed: *seed };
        let mut run = Run::new(*seed);
        let counted = run.run();
        all.messages += counted.messages;
        all.sessions += counted.sessions;
        all.cut_short += counted.cut_short;
        for (sum, class) in coverage.iter_mut().zip(classes) {
            *sum += run.sim.coverage().class(class).effective;
        }
    }
    println!("{} worlds: {all:?}, effective {coverage:?}", seeds.len());
    if seeds.len() > 1 {
        assert!(all.messages > 10_000 && all.sessions > 1_000 && all.cut_short > 50, "{all:?}");
        assert!(coverage.iter().all(|effective| *effective > 0), "{coverage:?}");
    }
}
