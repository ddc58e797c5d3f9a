//! Handlers take time: the next one waits, and what they send leaves when they come to it.

use quorate_sim::*;
use quorate_wal::vfs::{OpenMode, Vfs};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const CHANNEL: ChannelId = ChannelId::new(16);

fn id(n: u64) -> NodeId {
    NodeId::new(n)
}

/// Busy for a while with everything that it hears.
struct Slow {
    busy: Duration,
    heard: Vec<(SimTime, u8)>,
    links: Vec<SimTime>,
    done: Vec<(SimTime, u64)>,
}

impl Slow {
    fn new(busy: Duration) -> Self {
        Self { busy, heard: Vec::new(), links: Vec::new(), done: Vec::new() }
    }
}

impl Node for Slow {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, body: Bytes) {
        self.heard.push((ctx.true_time(), body[0]));
        ctx.busy(self.busy);
    }

    fn on_link(&mut self, ctx: &mut Ctx<'_>, _: &LinkEvent) {
        self.links.push(ctx.true_time());
        ctx.busy(self.busy);
    }

    fn on_completion(&mut self, ctx: &mut Ctx<'_>, token: u64) {
        self.done.push((ctx.true_time(), token));
    }
}

fn world(busy: [Duration; 2]) -> Sim {
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    for (n, busy) in (1..).zip(busy) {
        sim.add(id(n), move |_| Slow::new(busy));
    }
    sim.run_for(MS).unwrap();
    sim
}

fn send(sim: &mut Sim, bodies: &'static [u8], pause: Duration) {
    let send = |_: &mut Slow, ctx: &mut Ctx<'_>| {
        for body in bodies {
            ctx.send(id(2), Lane::Data, CHANNEL, vec![*body]).unwrap();
            ctx.busy(pause);
        }
    };
    sim.with_node(id(1), send).unwrap();
}

fn gaps(heard: &[(SimTime, u8)]) -> Vec<Duration> {
    heard.windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect()
}

#[test]
fn what_arrives_meanwhile_waits_in_its_order() {
    let mut sim = world([Duration::ZERO, 100 * MS]);
    send(&mut sim, &[1, 2, 3, 4, 5], Duration::ZERO);
    sim.run_for(Duration::from_secs(2)).unwrap();
    let heard = &sim.node::<Slow>(id(2)).unwrap().heard;
    assert_eq!(heard.iter().map(|(_, body)| *body).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let cost = 100 * MS + Duration::from_micros(1);
    assert_eq!(gaps(heard), [cost; 4]);
}

#[test]
fn each_message_leaves_when_its_line_is_reached() {
    for met in [false, true] {
        let mut sim = world([Duration::ZERO; 2]);
        if met {
            send(&mut sim, &[0], Duration::ZERO);
            sim.run_for(Duration::from_secs(1)).unwrap();
        }
        send(&mut sim, &[1, 2, 3], 300 * MS);
        sim.run_for(Duration::from_secs(2)).unwrap();
        let heard = &sim.node::<Slow>(id(2)).unwrap().heard;
        let heard: Vec<_> = heard.iter().copied().filter(|(_, body)| *body > 0).collect();
        for gap in gaps(&heard) {
            assert!((250 * MS..350 * MS).contains(&gap), "{gap:?}, met {met}");
        }
    }
}

/// Both ends are told in one moment that their session is up: each has its own time.
#[test]
fn the_time_of_one_node_is_not_that_of_another() {
    let mut sim = world([Duration::from_secs(5); 2]);
    send(&mut sim, &[1], Duration::ZERO);
    sim.run_for(Duration::from_secs(20)).unwrap();
    let [one, other] = [1, 2].map(|n| sim.node::<Slow>(id(n)).unwrap().links[0]);
    assert_eq!(one, other);
}

#[test]
fn a_slow_node_takes_longer_for_everything() {
    let mut sim = world([Duration::ZERO, 10 * MS]);
    sim.apply(Fault::Slow { node: id(2), percent: 500 });
    send(&mut sim, &[1, 2, 3], Duration::ZERO);
    sim.run_for(Duration::from_secs(2)).unwrap();
    let cost = 50 * MS + Duration::from_micros(5);
    assert_eq!(gaps(&sim.node::<Slow>(id(2)).unwrap().heard), [cost; 2]);
}

#[test]
fn a_look_at_a_busy_node_comes_after_what_it_does() {
    let mut sim = world([Duration::ZERO; 2]);
    send(&mut sim, &[1], Duration::from_secs(1));
    let now = |_: &mut Slow, ctx: &mut Ctx<'_>| ctx.true_time().since(SimTime::ZERO);
    assert!(sim.with_node(id(1), now).unwrap() > Duration::from_secs(1));
    let again = sim.with_node(id(1), now).unwrap();
    assert!(again > Duration::from_secs(1), "still busy: {again:?}");
}

#[test]
fn the_disk_takes_its_time_from_the_handler() {
    let mut sim = world([Duration::ZERO; 2]);
    let write = |_: &mut Slow, ctx: &mut Ctx<'_>| {
        let began = ctx.true_time();
        let file = ctx.disk().open("log".as_ref(), OpenMode::CreateNew).unwrap();
        file.write_at(&[7; 1 << 20], 0).unwrap();
        let written = ctx.true_time();
        file.sync_data().unwrap();
        (written.since(began), ctx.true_time().since(written))
    };
    let (write, sync) = sim.with_node(id(1), write).unwrap();
    // 1 MiB at 1 GB/s; a sync of 0.2 to 10 ms.
    assert!((MS..2 * MS).contains(&write), "{write:?}");
    assert!((MS / 5..=10 * MS).contains(&sync), "{sync:?}");
}

#[test]
fn a_clock_that_a_node_keeps_shows_what_its_disk_and_it_have_cost() {
    let mut sim = world([Duration::ZERO; 2]);
    let second = Duration::from_secs(1);
    sim.apply(Fault::Disk { node: id(1), fault: DiskFault::Stall(20 * second) });
    let look = |_: &mut Slow, ctx: &mut Ctx<'_>| {
        let (clock, vfs) = (ctx.clock(), ctx.disk());
        let before = clock.monotonic();
        vfs.open("log".as_ref(), OpenMode::CreateNew).unwrap();
        let stalled = clock.monotonic().since(before);
        ctx.busy(10 * second);
        (stalled, clock.monotonic().since(before), ctx.now().since(before))
    };
    let (stalled, kept, own) = sim.with_node(id(1), look).unwrap();
    assert!(stalled.abs_diff(20 * second) < 10 * MS, "{stalled:?}");
    assert!(kept.abs_diff(30 * second) < 10 * MS && kept == own, "{kept:?} {own:?}");
}

#[test]
fn deferred_work_is_due_when_it_would_be_done_and_not_in_the_next_life() {
    let mut sim = world([Duration::ZERO; 2]);
    let later = |_: &mut Slow, ctx: &mut Ctx<'_>| {
        ctx.complete_after(Cost::Fixed(Duration::from_secs(1)), 1);
        ctx.complete_after(Cost::Sync, 2);
        ctx.complete_after(Cost::Fixed(Duration::from_secs(3)), 3);
        ctx.true_time()
    };
    let began = sim.with_node(id(1), later).unwrap();
    sim.run_for(Duration::from_secs(2)).unwrap();
    let done = sim.node::<Slow>(id(1)).unwrap().done.clone();
    assert_eq!(done.iter().map(|(_, token)| *token).collect::<Vec<_>>(), [2, 1]);
    let after = done[1].0.since(began);
    assert!((Duration::from_secs(1)..Duration::from_secs(1) + MS).contains(&after), "{after:?}");
    sim.apply(Fault::Crash { node: id(1), disk: CrashDisk::Random });
    sim.apply(Fault::Restart { node: id(1) });
    sim.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!(sim.node::<Slow>(id(1)).unwrap().done, [], "what was put off died with it");
}

#[test]
fn deferred_disk_work_waits_for_a_stalled_disk() {
    let mut sim = world([Duration::ZERO; 2]);
    let second = Duration::from_secs(1);
    sim.apply(Fault::Disk { node: id(1), fault: DiskFault::Stall(20 * second) });
    let later = |_: &mut Slow, ctx: &mut Ctx<'_>| {
        ctx.complete_after(Cost::Fixed(second), 1); // no work of the disk
        ctx.complete_after(Cost::Sync, 2);
        ctx.complete_after(Cost::Sync, 3); // behind the other one, or beside it
    };
    sim.with_node(id(1), later).unwrap();
    sim.run_for(19 * second).unwrap();
    let done = |sim: &Sim| {
        let done = &sim.node::<Slow>(id(1)).unwrap().done;
        done.iter().map(|(_, token)| *token).collect::<Vec<_>>()
    };
    assert_eq!(done(&sim), [3, 1]);
    sim.run_for(2 * second).unwrap();
    assert_eq!(done(&sim), [3, 1, 2]);
    assert_eq!(sim.coverage().class(Class::DiskStall).effective, 1);
}

#[test]
fn a_slow_node_takes_longer_for_its_disk() {
    let mut sim = world([Duration::ZERO; 2]);
    // The disk is made after the first fault, and before the others.
    for percent in [1_000, 100, 300] {
        let write = |_: &mut Slow, ctx: &mut Ctx<'_>| {
            let (began, name) = (ctx.true_time(), percent.to_string());
            let file = ctx.disk().open(name.as_ref(), OpenMode::CreateNew).unwrap();
            file.write_at(&[7; 3_000_000], 0).unwrap();
            ctx.true_time().since(began)
        };
        sim.apply(Fault::Slow { node: id(1), percent });
        let took = sim.with_node(id(1), write).unwrap();
        // 20 µs each, and 1 MB in a millisecond.
        assert_eq!(took, percent * Duration::from_micros(3_040) / 100);
    }
}

#[test]
fn what_a_slow_node_put_off_is_due_later() {
    let mut sim = world([Duration::ZERO; 2]);
    sim.apply(Fault::Slow { node: id(1), percent: 1_000 });
    let later = |_: &mut Slow, ctx: &mut Ctx<'_>| {
        ctx.complete_after(Cost::Fixed(MS), 1);
        ctx.complete_after(Cost::Write(1_000_000), 2);
        ctx.true_time()
    };
    let began = sim.with_node(id(1), later).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    let done = sim.node::<Slow>(id(1)).unwrap().done.iter();
    let after: Vec<_> = done.map(|(at, token)| (*token, at.since(began))).collect();
    let late = Duration::from_micros(20); // two handlers of a slow node
    for ((token, after), (put_off, due)) in
        after.into_iter().zip([(1, 10 * MS), (2, 10 * (MS + MS / 50))])
    {
        assert!(token == put_off && due <= after && after <= due + late, "{token}: {after:?}");
    }
}
