//! Limits: each ends the world with its name, and large worlds are possible.

use quorate_sim::*;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const CHANNEL: ChannelId = ChannelId::new(16);

fn id(n: u64) -> NodeId {
    NodeId::new(n)
}

struct Quiet;
impl Node for Quiet {}

fn world(config: SimConfigBuilder) -> Sim {
    let mut sim = Sim::new(config.build().unwrap());
    (1..=2).for_each(|n| sim.add(id(n), |_| Quiet));
    sim.run_for(MS).unwrap();
    sim
}

fn of(violation: Violation) -> (String, Option<NodeId>) {
    (violation.checker, violation.node)
}

#[test]
fn too_much_that_waits_is_an_overload() {
    let mut sim = world(SimConfig::lan(1).inbox_events_max(16));
    sim.apply(Fault::Pause { node: id(2) });
    for n in 0..=16 {
        let send = |_: &mut Quiet, ctx: &mut Ctx<'_>| ctx.send_datagram(id(2), CHANNEL, "x");
        sim.with_node(id(1), send).unwrap().unwrap();
        let ran = sim.run_for(Duration::from_secs(1));
        assert_eq!(ran.is_err(), n == 16, "{n}: {ran:?}");
    }
    let violation = sim.run_for(MS).unwrap_err();
    assert_eq!(of(violation), ("overload".to_owned(), Some(id(2))));
}

#[test]
fn too_much_to_come_is_a_limit() {
    let mut sim = world(SimConfig::lan(1).heap_events_max(1 << 10));
    let storm = |_: &mut Quiet, ctx: &mut Ctx<'_>| {
        (0..2_000).for_each(|n| ctx.complete_after(Cost::Fixed(Duration::from_secs(1)), n));
    };
    sim.with_node(id(1), storm).unwrap();
    let violation = sim.run_for(Duration::from_secs(2)).unwrap_err();
    assert!(violation.message.contains("1024"), "{violation}");
    assert_eq!(of(violation).0, "limit");
}

/// Without a cost of events a node can do things for ever at one moment.
#[test]
fn a_node_that_does_not_let_time_pass_is_a_livelock() {
    struct Restless;
    impl Node for Restless {
        fn poll_timeout(&self) -> Option<Monotonic> {
            Some(Monotonic::from_nanos(0))
        }
    }
    let mut sim = Sim::new(SimConfig::lan(1).event_cost(Duration::ZERO).build().unwrap());
    sim.add(id(1), |_| Quiet);
    sim.add(id(2), |_| Restless);
    let violation = sim.run_for(MS).unwrap_err();
    assert_eq!(of(violation), ("livelock".to_owned(), Some(id(2))));
}

#[test]
fn invariants_are_checked_after_every_handler_or_every_nth() {
    struct Counts(u32);
    impl Node for Counts {
        fn on_datagram(&mut self, _: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes) {
            self.0 += 1;
        }
        fn check(&self) -> Result<(), String> {
            if self.0 < 3 { Ok(()) } else { Err(format!("{} datagrams", self.0)) }
        }
    }
    for (every, at) in [(1, 3), (5, 4)] {
        let mut sim = Sim::new(SimConfig::lan(1).checks_every(every).build().unwrap());
        sim.add(id(1), |_| Quiet);
        sim.add(id(2), |_| Counts(0));
        let violation = loop {
            sim.with_node(id(1), |_: &mut Quiet, ctx| ctx.send_datagram(id(2), CHANNEL, "x"));
            if let Err(violation) = sim.run_for(Duration::from_secs(1)) {
                break violation;
            }
        };
        assert_eq!(violation.message, format!("{at} datagrams"));
        assert_eq!(of(violation), ("check".to_owned(), Some(id(2))));
    }
}

/// Each talks to two others: what a pair costs is paid by those who talk.
#[test]
fn ten_thousand_nodes() {
    struct Beat {
        next: Monotonic,
        heard: u32,
    }
    impl Node for Beat {
        fn on_datagram(&mut self, _: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes) {
            self.heard += 1;
        }
        fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
            let me = ctx.id().value();
            for far in [1, 77] {
                let to = id((me + far - 1) % 10_000 + 1);
                ctx.send_datagram(to, CHANNEL, "beat").unwrap();
            }
            self.next = ctx.now().saturating_add(Duration::from_millis(500));
        }
        fn poll_timeout(&self) -> Option<Monotonic> {
            Some(self.next)
        }
    }
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    (1..=10_000).for_each(|n| sim.add(id(n), |ctx| Beat { next: ctx.now(), heard: 0 }));
    sim.run_for(Duration::from_millis(700)).unwrap();
    let heard: u32 = (1..=10_000).map(|n| sim.node::<Beat>(id(n)).unwrap().heard).sum();
    assert!((38_000..=40_000).contains(&heard), "{heard}");
    sim.apply(Fault::Partition { shape: Shape::Halves, plane: Plane::Both });
    sim.run_for(Duration::from_millis(500)).unwrap();
    assert!(sim.coverage().class(Class::Partition).effective > 0);
}

/// A kernel keeps so much of what nobody reads, and no more.
#[test]
fn a_flood_of_datagrams_to_a_node_that_stands_still_is_lost_not_kept() {
    struct Counts(u64);
    impl Node for Counts {
        fn on_datagram(&mut self, _: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes) {
            self.0 += 1;
        }
    }
    const SENT: u64 = 30_000;
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    sim.add(id(1), |_| Quiet);
    sim.add(id(2), |_| Counts(0));
    sim.run_for(MS).unwrap();
    sim.apply(Fault::Pause { node: id(2) });
    for _ in 0..SENT / 100 {
        let send = |_: &mut Quiet, ctx: &mut Ctx<'_>| {
            (0..100).for_each(|_| ctx.send_datagram(id(2), CHANNEL, "x").unwrap());
        };
        sim.with_node(id(1), send).unwrap();
        sim.run_for(MS).unwrap();
    }
    sim.run_for(Duration::from_secs(1)).unwrap(); // nothing is on its way any more
    sim.apply(Fault::Resume { node: id(2) });
    sim.run_for(Duration::from_secs(1)).unwrap();
    let read = sim.node::<Counts>(id(2)).unwrap().0;
    assert_eq!(read, (1 << 20) / 65, "what fits into the buffer, and nothing more");
}

/// A deadline that moves all the time leaves no trail of events behind it.
#[test]
fn deadlines_that_come_and_go_do_not_pile_up() {
    struct Ticks(Monotonic);
    impl Node for Ticks {
        fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
            // Far away, and every time a little later.
            self.0 = ctx.now().saturating_add(Duration::from_secs(3_600));
            ctx.complete_after(Cost::Fixed(MS / 2), 0);
        }
        fn on_completion(&mut self, ctx: &mut Ctx<'_>, _: u64) {
            self.0 = ctx.now().saturating_add(MS / 2);
        }
        fn poll_timeout(&self) -> Option<Monotonic> {
            Some(self.0)
        }
    }
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    sim.add(id(1), |ctx| Ticks(ctx.now()));
    sim.run_for(Duration::from_secs(10)).unwrap();
    assert!(sim.handled() > 9_000, "{sim:?}");
    let waiting = format!("{sim:?}");
    let events: usize = waiting
        .split("events: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .and_then(|n| n.parse().ok())
        .unwrap();
    assert!(events <= 4, "{waiting}");
}
