//! Failures whose cause is known: the shrinker has to find just that.

use crate::toys::{CHANNEL, Toy, ms, node};
use quorate_sim::*;
use std::collections::BTreeSet;
use std::time::Duration;

const MEMBERS: u64 = 6;

/// Lives, and dies when it is told to.
struct Idle;

impl Node for Idle {}

/// Fails in the end when all of these have died, unless all of those have.
struct Died {
    name: &'static str,
    all: &'static [u64],
    unless: &'static [u64],
    dead: BTreeSet<NodeId>,
}

impl Died {
    fn new(name: &'static str, all: &'static [u64], unless: &'static [u64]) -> Self {
        Self { name, all, unless, dead: BTreeSet::new() }
    }

    fn have(&self, nodes: &[u64]) -> bool {
        nodes.iter().all(|id| self.dead.contains(&node(*id)))
    }
}

impl Checker for Died {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        if said.what == Observed::Crashed {
            self.dead.insert(said.node);
        }
        Ok(())
    }

    fn finish(&mut self, _: View<'_>) -> Result<(), String> {
        let excused = !self.unless.is_empty() && self.have(self.unless);
        if self.have(self.all) && !excused { Err(format!("{:?}", self.all)) } else { Ok(()) }
    }
}

fn campaign(name: &str, checkers: fn() -> Vec<Died>) -> Campaign<Toy> {
    Campaign::new(name, move |_| {
        Toy::new(move |sim| {
            (1..=MEMBERS).for_each(|id| sim.add(node(id), |_| Idle));
            checkers().into_iter().for_each(|checker| sim.add_checker(checker));
        })
    })
    .swarm(
        Swarm::quiet()
            .only(&[Class::Crash, Class::Pause, Class::ClockStep])
            .range(Class::Crash, 1_500_000_000..=1_500_000_000)
            .always(),
    )
}

fn deaths(plan: &Plan) -> Vec<u64> {
    let mut dead: Vec<u64> = plan
        .steps
        .iter()
        .map(|(_, fault)| match fault {
            Fault::Crash { node, .. } => node.value(),
            other => panic!("{other} is not needed"),
        })
        .collect();
    dead.sort_unstable();
    dead
}

/// S8: a failure of twenty steps and more has at most four left, after at most 200 runs.
#[test]
fn what_is_not_needed_goes() {
    let three = || campaign("needs-three", || vec![Died::new("three", &[2, 3, 5], &[])]);
    let failures: Vec<_> = (0..30).filter_map(|seed| three().seed(seed).run().err()).collect();
    assert!(failures.len() >= 10, "{} failures", failures.len());
    for failure in failures {
        let ((before, runs), seed) = (failure.shrunk_from, failure.seed.unwrap());
        assert!(before >= 20 && runs <= 200, "{before} steps, {runs} runs");
        assert_eq!(deaths(&failure.plan), [2, 3, 5], "seed {seed}: {}", failure.plan);
        assert_eq!(failure.checker(), Some("three"));
        println!("seed {seed}: {before} steps, 3 left after {runs} runs");
    }
}

/// A shorter plan that fails in another way is no answer.
#[test]
fn h19_the_shrinker_does_not_wander_to_another_bug() {
    let checkers = || vec![Died::new("both", &[1, 2], &[]), Died::new("third", &[3], &[1, 2])];
    let is_both = |seed: &u64| {
        let plain = campaign("two-bugs", checkers).seed(*seed).shrink(false).run();
        plain.is_err_and(|failure| failure.checker() == Some("both"))
    };
    let seeds: Vec<u64> = (0..30).filter(is_both).collect();
    assert!(seeds.len() >= 10, "{seeds:?}");
    for seed in seeds {
        let failure = campaign("two-bugs", checkers).seed(seed).run().unwrap_err();
        assert_eq!(failure.checker(), Some("both"), "seed {seed}");
        assert_eq!(deaths(&failure.plan), [1, 2], "seed {seed}");
    }
    // And the other one is there: without the first it is what is found.
    let third = || vec![Died::new("third", &[3], &[])];
    let failure = (0..30).find_map(|seed| campaign("one-bug", third).seed(seed).run().err());
    let failure = failure.unwrap();
    assert_eq!((failure.checker(), failure.plan.steps.len()), (Some("third"), 1));
}

/// Complains about the third operation of any client.
struct Counts(std::collections::BTreeMap<NodeId, u64>);

impl Node for Counts {
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        _: ChannelId,
        _: Bytes,
        call: InboundCall,
    ) {
        *self.0.entry(from.node).or_default() += 1;
        ctx.reply(call, "counted");
    }

    fn check(&self) -> Result<(), String> {
        if self.0.values().any(|n| *n >= 3) { Err("a third operation".into()) } else { Ok(()) }
    }
}

#[derive(Clone)]
struct Adds;

impl ClientWork for Adds {
    type Op = specs::RegisterOp;
    type Ret = specs::RegisterRet;

    fn next(&mut self, _: &mut Rng) -> Self::Op {
        specs::RegisterOp::Read
    }

    fn servers(&self, _: &Self::Op) -> Vec<NodeId> {
        vec![node(1)]
    }

    fn request(&mut self, _: &Self::Op) -> Bytes {
        Bytes::new()
    }

    fn read(&mut self, _: &Self::Op, _: &Bytes) -> Self::Ret {
        specs::RegisterRet::Value(None)
    }

    fn channel(&self) -> ChannelId {
        CHANNEL
    }
}

/// Clients that have nothing to do with it go, and most of the operations of those that have.
#[test]
fn clients_and_operations_go_too() {
    let campaign = Campaign::new("third-operation", |_| {
        Toy::new(|sim| {
            sim.add(node(1), |_| Counts(Default::default()));
            let recorder = Recorder::new();
            for id in 11..16 {
                let recorder = recorder.clone();
                sim.add_client(node(id), move |ctx| ClosedLoop::new(ctx, Adds, recorder.clone()));
            }
        })
    });
    let caught = campaign.swarm(Swarm::quiet().only(&[Class::Delay])).must_fail(5).unwrap();
    let text = caught.plan_file();
    let number = |key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.parse().unwrap()
    };
    assert_eq!((&*caught.checker, caught.plan.steps.len()), ("check", 0));
    assert_eq!(number("clients_max="), 1, "{text}");
    assert!(number("chaos_ns=") <= ms(30_000).as_nanos().try_into().unwrap());
    assert!(caught.runs <= 20, "{} runs", caught.runs);
}

/// Chaos has to last as long as this.
const LONG: Duration = Duration::from_millis(12_345);

/// Fails in the end if node 2 has died early and the heal came late.
struct Late {
    name: &'static str,
    died: Died,
    healed: SimTime,
}

impl Checker for Late {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn observe(&mut self, view: View<'_>, said: &Observation) -> Result<(), String> {
        if said.what == Observed::Healed {
            self.healed = said.at;
        }
        if said.at.since(SimTime::ZERO) < LONG / 2 { self.died.observe(view, said) } else { Ok(()) }
    }

    fn finish(&mut self, view: View<'_>) -> Result<(), String> {
        let late = self.healed.since(SimTime::ZERO) > LONG;
        if late { self.died.finish(view) } else { Ok(()) }
    }
}

/// How long chaos lasts in the shrunk run of a failure that a checker of this name finds.
fn chaos_left(name: &'static str) -> Duration {
    let campaign = Campaign::new("late", move |_| {
        Toy::new(move |sim| {
            (1..=MEMBERS).for_each(|id| sim.add(node(id), |_| Idle));
            let died = Died::new(name, &[2], &[]);
            sim.add_checker(Late { name, died, healed: SimTime::ZERO });
        })
    });
    let crashes = Swarm::quiet().only(&[Class::Crash]);
    let swarm = crashes.range(Class::Crash, 1_500_000_000..=1_500_000_000);
    let caught = campaign.swarm(swarm).must_fail(30).unwrap();
    assert_eq!((&*caught.checker, deaths(&caught.plan)), (name, vec![2]));
    assert!(caught.runs <= 200);
    let text = caught.plan_file();
    let nanos = text.lines().find_map(|line| line.strip_prefix("chaos_ns=")).unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

/// What is judged in the end is judged soon after it happened.
#[test]
fn chaos_ends_where_it_has_to() {
    let left = chaos_left("late");
    assert!(left > LONG && left <= LONG + ms(100), "{left:?}");
}

/// A world that had less time may not recover for a reason of its own.
#[test]
fn h19_chaos_is_not_cut_for_what_has_to_happen_after_it() {
    let left = chaos_left("eventually late");
    assert!(left > 2 * LONG, "{left:?}");
}

/// A failure that needs no fault at all keeps none.
#[test]
fn a_plan_may_become_empty() {
    let failure = campaign("needs-nothing", || vec![Died::new("nothing", &[], &[])])
        .seed(1)
        .run()
        .unwrap_err();
    assert_eq!(failure.plan, Plan::default());
}
