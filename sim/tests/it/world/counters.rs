//! Counters of faults say what changed, no more and no less. // H3

use quorate_sim::*;
use std::time::Duration;

struct Quiet;
impl Node for Quiet {}

const CHANNEL: ChannelId = ChannelId::new(16);
const S: Duration = Duration::from_secs(1);

fn id(n: u64) -> NodeId {
    NodeId::new(n)
}

fn world(config: SimConfigBuilder) -> Sim {
    let mut sim = Sim::new(config.build().unwrap());
    (1..=3).for_each(|n| sim.add(id(n), |_| Quiet));
    sim.run_for(S).unwrap();
    sim
}

fn send(sim: &mut Sim, times: u32) {
    for _ in 0..times {
        let send = |_: &mut Quiet, ctx: &mut Ctx<'_>| ctx.send(id(2), Lane::Data, CHANNEL, "x");
        sim.with_node(id(1), send).unwrap().unwrap();
    }
    sim.run_for(S).unwrap();
}

fn crash(n: u64) -> Fault {
    Fault::Crash { node: id(n), disk: CrashDisk::Random }
}

fn effective(sim: &Sim, class: Class) -> u64 {
    sim.coverage().class(class).effective
}

#[test]
fn what_the_dead_had_not_read_is_lost() {
    for (frames, lost) in [(0, 0), (10, 1)] {
        let mut sim = world(SimConfig::lan(7));
        send(&mut sim, 1);
        sim.apply(Fault::Pause { node: id(2) });
        send(&mut sim, frames);
        sim.apply(crash(2));
        assert_eq!(effective(&sim, Class::Crash), lost);
    }
}

#[test]
fn who_has_nothing_to_do_is_not_slow() {
    for (cost, slow) in [(Duration::ZERO, false), (Duration::from_micros(1), true)] {
        let mut sim = world(SimConfig::lan(7).event_cost(cost));
        sim.apply(Fault::Slow { node: id(2), percent: 500 });
        send(&mut sim, 5);
        assert_eq!(effective(&sim, Class::Slow) > 0, slow);
        // Whoever waits for a node that would have been busy anyway does not wait for the fault.
        let mut sim = world(SimConfig::lan(7).event_cost(cost));
        sim.with_node(id(2), |_: &mut Quiet, ctx| ctx.busy(3 * S)).unwrap();
        sim.apply(Fault::Slow { node: id(2), percent: 500 });
        send(&mut sim, 5);
        assert_eq!(effective(&sim, Class::Slow), 0);
        sim.with_node(id(2), |_: &mut Quiet, ctx| ctx.busy(S)).unwrap();
        assert!(effective(&sim, Class::Slow) > 0, "this took longer");
    }
}

#[test]
fn datagrams_to_the_dead_are_lost_without_a_fault() {
    for (dead, lost) in [(false, 5), (true, 0)] {
        let mut sim = world(SimConfig::lan(7));
        if dead {
            sim.apply(crash(2));
        }
        sim.apply(Fault::Loss { ppm: 1_000_000 });
        for _ in 0..5 {
            let send = |_: &mut Quiet, ctx: &mut Ctx<'_>| ctx.send_datagram(id(2), CHANNEL, "x");
            sim.with_node(id(1), send).unwrap().unwrap();
        }
        sim.run_for(S).unwrap();
        assert_eq!(
            (effective(&sim, Class::Loss), sim.traffic(id(2), CHANNEL).messages_in),
            (lost, 0)
        );
    }
}

#[test]
fn what_applies_to_nothing_is_skipped() {
    let plane = Plane::Both;
    let groups = |groups: &[&[u64]]| {
        let groups = groups.iter().map(|group| group.iter().map(|n| id(*n)).collect());
        Fault::Partition { shape: Shape::Groups(groups.collect()), plane }
    };
    let (one, two, for_) = (id(1), id(2), S);
    for (fault, applies) in [
        (groups(&[&[77], &[78]]), false),
        (groups(&[&[1], &[78]]), false),
        (groups(&[&[1, 2]]), false),
        (groups(&[]), false),
        (groups(&[&[1, 77], &[2]]), true),
        (Fault::Block { from: one, to: one, plane }, false),
        (Fault::Block { from: one, to: two, plane }, true),
        (Fault::Clog { from: one, to: one, for_ }, false),
        (Fault::Clog { from: one, to: two, for_ }, true),
        (Fault::ClockStep { node: one, by_ns: 0 }, false),
        (Fault::ClockStep { node: one, by_ns: -1 }, true),
    ] {
        let mut sim = world(SimConfig::lan(7));
        sim.apply(fault.clone());
        sim.with_node(one, |_: &mut Quiet, ctx| _ = ctx.wall()).unwrap();
        let count = sim.coverage().class(fault.class().unwrap());
        let applied = (count.injected, count.skipped);
        assert_eq!(applied, if applies { (1, 0) } else { (0, 1) }, "{fault}");
        assert!(applies || count.effective == 0, "{fault}");
    }
}
