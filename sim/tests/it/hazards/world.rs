//! Hazards of the world.

use crate::determinism::scenarios::Chatter;
use quorate_sim::*;
use quorate_wal::vfs::{OpenMode, Vfs};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const CHANNEL: ChannelId = ChannelId::new(16);

fn id(n: u64) -> NodeId {
    NodeId::new(n)
}

fn crash(node: u64) -> Fault {
    Fault::Crash { node: id(node), disk: CrashDisk::Random }
}

type Heard = Rc<RefCell<Vec<(u64, u64, Bytes)>>>;

/// Hears everything: the sender's life, its own, the body.
struct Ear(Heard);

impl Node for Ear {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: Lane, _: ChannelId, body: Bytes) {
        let lives = (from.incarnation.value(), ctx.incarnation().value());
        self.0.borrow_mut().push((lives.0, lives.1, body));
    }
    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: ChannelId, body: Bytes) {
        self.on_message(ctx, from, Lane::Data, CHANNEL, body);
    }
}

fn ears(config: SimConfigBuilder, nodes: u64) -> (Sim, Heard) {
    let mut sim = Sim::new(config.build().unwrap());
    let heard = Heard::default();
    for n in 1..=nodes {
        let heard = heard.clone();
        sim.add(id(n), move |_| Ear(heard.clone()));
    }
    sim.run_for(MS).unwrap();
    (sim, heard)
}

fn send(sim: &mut Sim, from: u64, to: u64, body: &'static [u8]) {
    let send = |_: &mut Ear, ctx: &mut Ctx<'_>| ctx.send(id(to), Lane::Data, CHANNEL, body);
    let _ = sim.with_node(id(from), send);
}

fn chatter(config: SimConfigBuilder, nodes: u64) -> Sim {
    let mut sim = Sim::new(config.build().unwrap());
    for n in 1..=nodes {
        sim.add(id(n), move |ctx| Chatter::boot(ctx, nodes, true, true));
    }
    sim
}

#[test]
fn h01_loss_does_not_touch_lanes() {
    let (mut sim, heard) = ears(SimConfig::lan(1), 2);
    sim.apply(Fault::Loss { ppm: 1_000_000 });
    sim.apply(Fault::Duplicate { ppm: 1_000_000 });
    for _ in 0..100 {
        send(&mut sim, 1, 2, b"x");
    }
    sim.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!(heard.borrow().len(), 100);
}

/// The only randomness of a node is the seed it is given: its own, and new in every life.
#[test]
fn h02_a_node_has_no_entropy_but_its_seeds() {
    let seeds = || {
        let (mut sim, _) = ears(SimConfig::lan(5), 2);
        let mut all = Vec::new();
        for _ in 0..3 {
            for n in [1, 2] {
                let two = |_: &mut Ear, ctx: &mut Ctx<'_>| [ctx.seed(), ctx.seed()];
                all.extend(sim.with_node(id(n), two).unwrap());
                sim.apply(crash(n));
                sim.apply(Fault::Restart { node: id(n) });
                sim.run_for(MS).unwrap();
            }
        }
        all
    };
    let all = seeds();
    assert_eq!(all, seeds());
    assert_eq!(BTreeSet::from_iter(&all).len(), 12, "no two are the same");
}

/// Datagrams that arrive at one moment come in any order, as the seed says.
#[test]
fn h04_what_happens_at_one_moment_happens_in_any_order() {
    let orders = |order| {
        let arrivals = (0..32).map(|seed| {
            let config = SimConfig::lan(seed).order(order).latency(Duration::ZERO, Duration::ZERO);
            let (mut sim, heard) = ears(config.event_cost(Duration::ZERO), 2);
            for body in [&b"a"[..], b"b", b"c"] {
                let send = |_: &mut Ear, ctx: &mut Ctx<'_>| ctx.send_datagram(id(2), CHANNEL, body);
                sim.with_node(id(1), send).unwrap().unwrap();
            }
            sim.run_for(MS).unwrap();
            let heard = heard.borrow();
            heard.iter().flat_map(|(.., body)| body.to_vec()).collect::<Vec<u8>>()
        });
        arrivals.collect::<BTreeSet<_>>()
    };
    assert_eq!(orders(Order::Random).len(), 6, "every order");
    assert_eq!(orders(Order::Fifo), BTreeSet::from([b"abc".to_vec()]));
}

#[test]
fn h05_an_idle_hour_costs_its_timers() {
    struct Tick(Monotonic);
    impl Node for Tick {
        fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
            self.0 = ctx.now().saturating_add(Duration::from_secs(60));
        }
        fn poll_timeout(&self) -> Option<Monotonic> {
            Some(self.0)
        }
    }
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    sim.add(id(1), |ctx| Tick(ctx.now().saturating_add(MS)));
    sim.add(id(2), |_| Ear(Heard::default()));
    sim.run_for(Duration::from_secs(3_600)).unwrap();
    // Two starts, sixty wakes.
    assert!((62..=63).contains(&sim.handled()), "{}", sim.handled());
}

/// One node draws once more, another pair talks once more: the rest sees the same as before.
#[test]
fn h06_a_draw_more_moves_nothing_else() {
    let run = |extra: bool| {
        let (mut sim, heard) = ears(SimConfig::lan(3).order(Order::Fifo), 4);
        let mut seen = Vec::new();
        for round in 0..50 {
            if extra {
                let draw = |_: &mut Ear, ctx: &mut Ctx<'_>| _ = ctx.seed();
                sim.with_node(id(3), draw).unwrap();
                let more = |_: &mut Ear, ctx: &mut Ctx<'_>| {
                    let _ = ctx.call(id(4), Lane::Data, CHANNEL, "more", MS);
                    ctx.send_datagram(id(4), CHANNEL, "more")
                };
                sim.with_node(id(3), more).unwrap().unwrap();
            }
            send(&mut sim, 1, 2, b"x");
            let mine = |_: &mut Ear, ctx: &mut Ctx<'_>| (ctx.seed(), ctx.wall());
            seen.push(sim.with_node(id(1), mine).unwrap());
            if round == 20 {
                sim.apply(crash(2));
                sim.apply(Fault::Restart { node: id(2) });
            }
            sim.run_for(Duration::from_micros(700)).unwrap();
        }
        let calls = |_: &mut Ear, ctx: &mut Ctx<'_>| {
            let first = ctx.seed();
            (
                first,
                ctx.call(id(2), Lane::Data, CHANNEL, "?", MS)
                    != ctx.call(id(9), Lane::Data, CHANNEL, "?", MS),
                ctx.seed(),
            )
        };
        let seeds = sim.with_node(id(1), calls);
        let heard: Vec<_> = heard.borrow().iter().filter(|of| *of.2 == *b"x").cloned().collect();
        (seen, heard, seeds, sim.traffic(id(2), CHANNEL))
    };
    assert_eq!(run(false), run(true));

    // Calls, and what they draw, leave the node's own seeds alone.
    let seeds = |calls: bool| {
        let (mut sim, _) = ears(SimConfig::lan(3), 2);
        let call = |_: &mut Ear, ctx: &mut Ctx<'_>| {
            let first = ctx.seed();
            if calls {
                let _ = ctx.call(id(2), Lane::Data, CHANNEL, "?", MS);
                let _ = ctx.call(id(9), Lane::Data, CHANNEL, "?", MS);
            }
            [first, ctx.seed()]
        };
        let drawn = [(); 3].map(|()| sim.with_node(id(1), call).unwrap());
        sim.run_for(Duration::from_secs(1)).unwrap();
        (drawn, sim.with_node(id(1), |_: &mut Ear, ctx| ctx.seed()))
    };
    assert_eq!(seeds(false), seeds(true));
}

/// Does all it can while it is dropped.
struct Clinging {
    vfs: Option<SimVfs>,
    call: Option<InboundCall>,
    dropped: Rc<Cell<u32>>,
}

impl Node for Clinging {
    fn on_call(&mut self, _: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes, call: InboundCall) {
        self.call = Some(call);
    }
}

impl Drop for Clinging {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
        if let Some(vfs) = &self.vfs {
            let file = vfs.open("of the dead".as_ref(), OpenMode::CreateNew);
            let written = file.and_then(|file| file.write_at(b"x", 0));
            assert!(written.is_err(), "the disk of the dead takes nothing");
        }
        panic!("a panic while it is dropped is nobody's");
    }
}

#[test]
fn h07_destructors_of_a_dead_node_come_to_nothing() {
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    let dropped = Rc::new(Cell::new(0));
    let mine = dropped.clone();
    sim.add(id(1), move |ctx| {
        let vfs = (ctx.incarnation().value() == 1).then(|| ctx.disk());
        Clinging { vfs, call: None, dropped: mine.clone() }
    });
    sim.add(id(2), |_| Ear(Heard::default()));
    sim.run_for(MS).unwrap();
    let call = |_: &mut Ear, ctx: &mut Ctx<'_>| {
        ctx.call(id(1), Lane::Data, CHANNEL, "?", Duration::from_secs(60))
    };
    let _token = sim.with_node(id(2), call).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    let sent = sim.traffic(id(1), CHANNEL);
    sim.apply(crash(1));
    assert_eq!(dropped.get(), 1);
    assert_eq!(sim.disk(id(1)).vfs().list("".as_ref()).unwrap().len(), 0);
    sim.apply(Fault::Restart { node: id(1) });
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(sim.traffic(id(1), CHANNEL), sent, "the dropped call was not answered");
    // Its second life dies like the first, inside the world.
    sim.apply(crash(1));
    assert_eq!(dropped.get(), 2);
}

/// The n-th operation of a handler is the last thing it does: what it wrote before may be there,
/// what it sent before has all left or not at all.
#[test]
fn h08_a_crash_in_the_middle_of_a_handler_tears_it() {
    let (mut left, mut kept) = ([0; 3], 0);
    for seed in 0..60 {
        let (mut sim, heard) = ears(SimConfig::lan(seed), 2);
        send(&mut sim, 1, 2, b"met");
        sim.run_for(Duration::from_secs(1)).unwrap();
        sim.apply(Fault::CrashMid { node: id(1), operations: 3 });
        let handler = |_: &mut Ear, ctx: &mut Ctx<'_>| {
            let file = ctx.disk().open("log".as_ref(), OpenMode::CreateNew).unwrap();
            ctx.send(id(2), Lane::Data, CHANNEL, "1").unwrap();
            ctx.send_datagram(id(2), CHANNEL, "2").unwrap();
            ctx.fact("before", 0, 0);
            file.write_at(b"first", 0).unwrap();
            assert!(file.write_at(b"second", 5).is_err(), "the third operation");
            assert_eq!(ctx.send(id(2), Lane::Data, CHANNEL, "3"), Err(SendError::Closed));
            assert!(ctx.send_datagram(id(2), CHANNEL, "4").is_err());
            ctx.reached("after its death");
        };
        sim.with_node(id(1), handler).unwrap();
        assert!(!sim.is_up(id(1)), "it died of it");
        sim.run_for(Duration::from_secs(30)).unwrap();
        let bodies: BTreeSet<Bytes> =
            heard.borrow().iter().map(|(.., body)| body.clone()).collect();
        assert!(!bodies.contains(&b"3"[..]) && !bodies.contains(&b"4"[..]));
        assert!(bodies.contains(&b"2"[..]) || !bodies.contains(&b"1"[..]), "all or nothing left");
        left[bodies.len() - 1] += 1;
        let coverage = sim.coverage();
        assert_eq!(coverage.class(Class::CrashMid).effective, 1);
        kept += sim.disk(id(1)).vfs().list("".as_ref()).unwrap().len();
    }
    // Where one has left and the other not heard, the word of the death came before it.
    assert!(left[0] > 15 && left[1] < 10 && left[2] > 15, "heard none, one, both: {left:?}");
    assert!(kept > 5 && kept < 55, "{kept} of 60 files");
}

/// A panic after the operation that killed the node is part of its dying.
#[test]
fn h08_a_panic_of_the_dying_is_no_finding() {
    struct Panics;
    impl Node for Panics {
        fn on_datagram(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes) {
            let _ = ctx.disk().open("log".as_ref(), OpenMode::CreateNew).unwrap();
        }
    }
    for mid in [true, false] {
        let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
        sim.add(id(1), |_| Panics);
        sim.add(id(2), |_| Ear(Heard::default()));
        sim.run_for(MS).unwrap();
        if mid {
            sim.apply(Fault::CrashMid { node: id(1), operations: 1 });
        }
        let run = |sim: &mut Sim| {
            let send = |_: &mut Ear, ctx: &mut Ctx<'_>| ctx.send_datagram(id(1), CHANNEL, "");
            sim.with_node(id(2), send).unwrap().unwrap();
            sim.run_for(Duration::from_secs(1))
        };
        assert_eq!(run(&mut sim), Ok(()));
        // Alive, it created the file; the second time that fails, and it panics.
        assert_eq!((sim.is_up(id(1)), run(&mut sim).is_err()), (!mid, !mid));
    }
}

#[test]
fn h15_a_pause_is_one_wake() {
    struct Tick(Monotonic, u32);
    impl Node for Tick {
        fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
            (self.0, self.1) = (self.0.saturating_add(100 * MS).max(ctx.now()), self.1 + 1);
        }
        fn poll_timeout(&self) -> Option<Monotonic> {
            Some(self.0)
        }
    }
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    sim.add(id(1), |ctx| Tick(ctx.now(), 0));
    sim.run_for(10 * MS).unwrap();
    sim.apply(Fault::Pause { node: id(1) });
    sim.run_for(Duration::from_secs(30)).unwrap();
    sim.apply(Fault::Resume { node: id(1) });
    sim.run_for(Duration::ZERO).unwrap();
    assert_eq!(sim.node::<Tick>(id(1)).unwrap().1, 2);
}

#[test]
fn h16_no_rate_moves_a_clock_back_or_fires_a_timer_early() {
    struct Late(Monotonic, Vec<Duration>);
    impl Node for Late {
        fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
            let now = ctx.now();
            assert!(now >= self.0);
            self.1.push(now.since(self.0));
            self.0 = now.saturating_add(Duration::from_secs(10));
        }
        fn poll_timeout(&self) -> Option<Monotonic> {
            Some(self.0)
        }
    }
    for looks in [true, false] {
        let mut sim = Sim::new(SimConfig::chaos(1).build().unwrap());
        sim.add(id(1), |ctx| Late(ctx.now(), Vec::new()));
        let mut last = Monotonic::from_nanos(0);
        for i in 0..200 {
            sim.run_for(Duration::from_millis(777)).unwrap();
            sim.apply(Fault::ClockRate { node: id(1), ppm: [100_000, -100_000][i % 2] });
            // Whoever looks makes the world ask for the deadline: without that it moves as well.
            if looks {
                let now = sim.with_node(id(1), |_: &mut Late, ctx| ctx.now()).unwrap();
                assert!(now > last);
                last = now;
            }
        }
        let late = &sim.node::<Late>(id(1)).unwrap().1;
        // The look of the test keeps the node busy for a microsecond at most.
        let in_time = late.iter().all(|late| *late < Duration::from_micros(5));
        assert!(late.len() > 12 && in_time, "looks: {looks}, {late:?}");
    }
}

#[test]
fn h17_a_bounded_clock_can_lie() {
    let (mut sim, _) = ears(SimConfig::lan(1), 1);
    let holds = |sim: &mut Sim| {
        let look = |_: &mut Ear, ctx: &mut Ctx<'_>| {
            let truth = 1_735_689_600_000_000_000 + ctx.true_time().as_nanos();
            ctx.interval().contains(WallTime::from_nanos(truth))
        };
        sim.with_node(id(1), look).unwrap()
    };
    assert!(holds(&mut sim));
    sim.apply(Fault::ClockBound { node: id(1), lie_ns: 100_000_000 });
    assert!(!holds(&mut sim));
}

#[test]
fn h18_frames_of_an_old_session_are_not_for_the_new_life() {
    for seed in 0..40 {
        let config = SimConfig::lan(seed).latency(100 * MS, 100 * MS);
        let (mut sim, heard) = ears(config, 2);
        send(&mut sim, 1, 2, b"first");
        sim.run_for(Duration::from_secs(30)).unwrap();
        send(&mut sim, 1, 2, b"old");
        sim.run_for(MS).unwrap();
        let node = 1 + seed % 2;
        sim.apply(crash(node));
        sim.apply(Fault::Restart { node: id(node) });
        sim.run_for(Duration::from_secs(30)).unwrap();
        send(&mut sim, 1, 2, b"new");
        sim.run_for(Duration::from_secs(30)).unwrap();
        for (from, me, body) in &*heard.borrow() {
            let (from_expected, me_expected) = match (&**body, node) {
                (b"new", 1) => (2, 1),
                (b"new", _) => (1, 2),
                _ => (1, 1),
            };
            assert_eq!((*from, *me), (from_expected, me_expected), "{body:?}");
        }
    }
}

/// A seed means the same for ever: this world, drawn plan and all, has this hash. It changes only
/// with the simulator, as those of the determinism gate do.
#[test]
fn h20_a_small_world_is_golden() {
    let mut sim = chatter(SimConfig::lan(20), 2);
    sim.run_for(Duration::from_secs(1)).unwrap();
    let hash = format!("{:#018x}", sim.trace_hash());
    println!("h20 {hash}");
    expect_test::expect![["0xa962b6969e3b0d6e"]].assert_eq(&hash);
}

#[test]
fn h22_bodies_and_disk_operations_are_in_the_hash() {
    let run = |body: &'static str, sector: u64, times: usize| {
        let (mut sim, _) = ears(SimConfig::lan(1), 2);
        let act = |_: &mut Ear, ctx: &mut Ctx<'_>| {
            ctx.send(id(2), Lane::Data, CHANNEL, body).unwrap();
            let file = ctx.disk().open("log".as_ref(), OpenMode::CreateNew).unwrap();
            file.write_at(&[7; 10], sector * 512).unwrap();
            (0..times).for_each(|_| _ = ctx.now());
        };
        sim.with_node(id(1), act).unwrap();
        sim.trace_hash()
    };
    assert_eq!(run("a", 0, 0), run("a", 0, 0));
    let all = [run("a", 0, 0), run("b", 0, 0), run("a", 1, 0), run("a", 0, 1), run("a", 0, 2)];
    assert_eq!(BTreeSet::from(all).len(), 5, "{all:x?}");
}

/// Floating point differs between platforms: there is none but in what is shown to people.
#[test]
fn h23_nothing_is_computed_in_floating_point() {
    fn sources(dir: &std::path::Path, out: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, out);
            } else {
                out.push(path);
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 50);
    // How long a campaign took, for people.
    let shown = [root.join("campaign/report.rs")];
    for path in files.into_iter().filter(|path| !shown.contains(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in (1..).zip(code.lines()) {
            let code = line.split("//").next().unwrap();
            let floats = ["f32", "f64"].iter().any(|float| code.contains(float));
            assert!(!floats, "{}:{number}: {line}", path.display());
        }
    }
}

/// Shapes leave minorities too, whoever leads: no group needs to be a majority.
#[test]
fn h24_partitions_do_not_spare_majorities() {
    let (mut alone, mut without, mut sizes) = (0, 0, BTreeSet::new());
    for seed in 0..60 {
        let (mut sim, heard) = ears(SimConfig::lan(seed), 5);
        let groups = (1..=5).map(|n| vec![id(n)]).collect();
        let split = seed % 3 == 0;
        let shape = if split { Shape::Groups(groups) } else { Shape::Halves };
        sim.apply(Fault::Partition { shape, plane: Plane::Both });
        for n in 2..=5 {
            send(&mut sim, 1, n, b"x");
        }
        sim.run_for(Duration::from_secs(2)).unwrap();
        let hears = heard.borrow().len();
        alone += u32::from(!split && hears < 2);
        without += u32::from(split && hears == 0);
        if !split {
            sizes.insert(hears + 1);
        }
    }
    assert_eq!(sizes, BTreeSet::from([1, 2, 3, 4]), "of a half, that of one node");
    assert!(alone >= 10 && without == 20, "{alone} minorities, {without} without a majority");
}

/// A heal comes to one pair after the other, and sessions that died are dialed again.
#[test]
fn h25_a_heal_is_no_reset() {
    let (mut sim, heard) = ears(SimConfig::lan(1), 6);
    (2..=6).for_each(|n| send(&mut sim, 1, n, b"before"));
    sim.run_for(Duration::from_secs(2)).unwrap();
    sim.apply(Fault::Partition { shape: Shape::Isolate(id(1)), plane: Plane::Both });
    (2..=6).for_each(|n| send(&mut sim, 1, n, b"lost"));
    sim.run_for(Duration::from_secs(20)).unwrap();
    sim.apply(Fault::Heal { swizzle: true });
    let mut open = Vec::new();
    for _ in 0..50 {
        let ping = |_: &mut Ear, ctx: &mut Ctx<'_>| {
            (2..=6).for_each(|n| ctx.send_datagram(id(n), CHANNEL, "ping").unwrap());
        };
        sim.with_node(id(1), ping).unwrap();
        let before = heard.borrow().len();
        sim.run_for(100 * MS).unwrap();
        open.push(heard.borrow().len() - before);
    }
    assert!(open[0] < 5 && open[49] == 5, "{open:?}");
    assert!(open.iter().any(|n| (1..5).contains(n)), "one after the other: {open:?}");
    (2..=6).for_each(|n| send(&mut sim, 1, n, b"after"));
    sim.run_for(Duration::from_secs(2)).unwrap();
    let count = |body: &[u8]| heard.borrow().iter().filter(|(.., of)| **of == *body).count();
    assert_eq!((count(b"before"), count(b"lost"), count(b"after")), (5, 0, 5));
}

#[test]
fn h26_every_start_is_a_new_incarnation() {
    let (mut sim, _) = ears(SimConfig::lan(1), 1);
    let life = |sim: &mut Sim| sim.with_node(id(1), |_: &mut Ear, ctx| ctx.incarnation());
    let mut last = life(&mut sim).unwrap();
    for fault in [crash(1), Fault::Wipe { node: id(1) }, crash(1)] {
        sim.apply(fault);
        sim.apply(Fault::Restart { node: id(1) });
        sim.run_for(MS).unwrap();
        let now = life(&mut sim).unwrap();
        assert!(now > last, "also after a wipe");
        last = now;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Boot,
    Link,
    Message,
    Datagram,
    Timeout,
    Completion,
    Poll,
    Check,
}
struct Bomb(At);
impl Bomb {
    fn may_panic(&self, at: At) {
        assert!(self.0 != at, "the bomb goes off");
    }
}
impl Node for Bomb {
    fn on_message(&mut self, _: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {
        self.may_panic(At::Message);
    }
    fn on_datagram(&mut self, _: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes) {
        self.may_panic(At::Datagram);
    }
    fn on_link(&mut self, _: &mut Ctx<'_>, _: &LinkEvent) {
        self.may_panic(At::Link);
    }
    fn on_timeout(&mut self, _: &mut Ctx<'_>) {
        self.may_panic(At::Timeout);
    }
    fn on_completion(&mut self, _: &mut Ctx<'_>, _: u64) {
        self.may_panic(At::Completion);
    }
    fn poll_timeout(&self) -> Option<Monotonic> {
        self.may_panic(At::Poll);
        (self.0 == At::Timeout).then_some(Monotonic::from_nanos(0))
    }
    fn check(&self) -> Result<(), String> {
        self.may_panic(At::Check);
        Ok(())
    }
}

#[test]
fn h28_no_panic_of_a_handler_is_swallowed() {
    let calls = [At::Link, At::Message, At::Datagram, At::Completion];
    for at in [At::Boot, At::Timeout, At::Poll, At::Check].into_iter().chain(calls) {
        let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
        sim.add(id(1), move |ctx| {
            let bomb = Bomb(at);
            bomb.may_panic(At::Boot);
            ctx.complete_after(Cost::Sync, 1);
            bomb
        });
        sim.add(id(2), |_| Ear(Heard::default()));
        let mut ran = sim.run_for(MS);
        if ran.is_ok() {
            send(&mut sim, 2, 1, b"x");
            let send = |_: &mut Ear, ctx: &mut Ctx<'_>| ctx.send_datagram(id(1), CHANNEL, "");
            sim.with_node(id(2), send).unwrap().unwrap();
            ran = sim.run_for(Duration::from_secs(2));
        }
        let violation = ran.unwrap_err();
        assert_eq!((violation.checker.as_str(), violation.node), ("panic", Some(id(1))));
        assert!(violation.message.starts_with("the bomb goes off at "), "{violation}");
        assert!(violation.message.contains("world.rs:"), "{violation}");
    }
}

/// What a world keeps does not grow with its time: sessions, events, inboxes.
#[test]
fn h29_a_long_life_takes_no_more_memory_than_a_short_one() {
    let mut sim = chatter(SimConfig::lan(1).session_timeout(Duration::from_secs(1)), 3);
    let mut sizes = Vec::new();
    for round in 0..60 {
        for node in 1..=3 {
            sim.apply(Fault::BreakSessions { node: id(node), silent: round % 2 == 0 });
        }
        if round % 5 == 0 {
            sim.apply(crash(1 + round % 3));
            sim.apply(Fault::Restart { node: id(1 + round % 3) });
        }
        sim.run_for(Duration::from_secs(2)).unwrap();
        let text = format!("{sim:?}");
        let number = |name: &str| -> u64 {
            let rest = text.split(&format!("{name}: ")).nth(1).unwrap();
            rest.split([',', ' ']).next().unwrap().parse().unwrap()
        };
        sizes.push((number("events"), number("sessions")));
    }
    // Three pairs of three lanes, and those of which one end has not heard yet.
    assert!(sizes.iter().all(|(events, sessions)| *events < 500 && *sessions <= 27), "{sizes:?}");
    assert_eq!(sim.trace_tail(usize::MAX).lines().count(), 4_096);
}
