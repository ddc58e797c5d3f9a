//! What counts as an effect (G2): without faults nothing does, and each class counts its own.

use quorate_sim::*;
use quorate_wal::vfs::{OpenMode, Vfs, VfsFile};
use std::sync::Arc;
use std::time::Duration;

/// Talks to its neighbours by lane and datagram, writes, and reads all of its clocks.
struct Busy {
    next: Monotonic,
    file: Arc<dyn VfsFile>,
    at: u64,
}

impl Busy {
    fn boot(ctx: &mut Ctx<'_>) -> Self {
        let vfs = ctx.disk();
        let name = format!("log{}", ctx.incarnation());
        let file = vfs.open(name.as_ref(), OpenMode::CreateNew).unwrap();
        vfs.sync_dir("".as_ref()).unwrap();
        Self { next: ctx.now(), file, at: 0 }
    }
}

impl Node for Busy {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let me = ctx.id().value();
        for to in (1..=3).filter(|to| *to != me).map(NodeId::new) {
            let _ = ctx.send(to, Lane::Data, ChannelId::new(16), vec![7; 2_000]);
            for _ in 0..5 {
                let _ = ctx.send_datagram(to, ChannelId::new(17), vec![7; 100]);
            }
        }
        let _ = self.file.write_at(&[7; 3_000], self.at);
        self.at += 3_000;
        if self.at.is_multiple_of(9_000) {
            let _ = self.file.sync_data();
        }
        let _ = (ctx.wall(), ctx.interval());
        self.next = ctx.now().saturating_add(Duration::from_millis(20));
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

fn world(seed: u64) -> Sim {
    // Packets sent one after the other overtake each other by jitter alone.
    let mut sim = Sim::new(SimConfig::lan(seed).build().unwrap());
    (1..=3).for_each(|id| sim.add(NodeId::new(id), Busy::boot));
    sim.run_for(Duration::from_secs(2)).unwrap();
    sim
}

fn effective(sim: &Sim) -> Vec<(Class, u64)> {
    let coverage = sim.coverage();
    let all = Class::ALL.into_iter().map(|class| (class, coverage.class(class).effective));
    all.filter(|(_, times)| *times > 0).collect()
}

#[test]
fn without_faults_nothing_counts() {
    for seed in 0..5 {
        let mut sim = world(seed);
        sim.run_for(Duration::from_secs(10)).unwrap();
        assert_eq!(effective(&sim), []);
        let coverage = sim.coverage();
        assert!(Class::ALL.into_iter().all(|class| coverage.class(class) == Count::default()));
    }
}

#[test]
fn each_class_counts_its_own_effects_alone() {
    let node = NodeId::new(2);
    let [from, to] = [1, 2].map(NodeId::new);
    let plane = Plane::Both;
    let cases = [
        (Class::Loss, Fault::Loss { ppm: 10_000 }, &[][..]),
        (Class::Duplicate, Fault::Duplicate { ppm: 10_000 }, &[Class::Reorder]),
        (Class::Corrupt, Fault::Corrupt { ppm: 10_000 }, &[]),
        (Class::Delay, Fault::Delay { percent: 300 }, &[Class::Reorder]),
        (Class::Clog, Fault::Clog { from, to, for_: Duration::from_millis(500) }, &[]),
        (Class::Partition, Fault::Partition { shape: Shape::Halves, plane }, &[]),
        (Class::OneWay, Fault::Block { from, to, plane }, &[]),
        (Class::Crash, Fault::Crash { node, disk: CrashDisk::Random }, &[Class::DiskTorn]),
        (Class::CrashMid, Fault::CrashMid { node, operations: 5 }, &[Class::DiskTorn]),
        (Class::Wipe, Fault::Wipe { node }, &[]),
        (Class::Pause, Fault::Pause { node }, &[]),
        (Class::Slow, Fault::Slow { node, percent: 500 }, &[]),
        (Class::ClockStep, Fault::ClockStep { node, by_ns: 1_000_000_000 }, &[]),
        (Class::ClockRate, Fault::ClockRate { node, ppm: 150 }, &[]),
        (Class::ClockBound, Fault::ClockBound { node, lie_ns: 1_000_000_000 }, &[]),
    ];
    for (class, fault, others) in cases {
        let mut sim = world(7);
        sim.apply(fault.clone());
        assert_eq!(sim.coverage().class(class).injected, 1, "{fault}");
        sim.run_for(Duration::from_secs(10)).unwrap();
        let found = effective(&sim);
        assert!(found.iter().any(|(of, _)| *of == class), "{fault}: {found:?}");
        let stray = found.iter().find(|(of, _)| *of != class && !others.contains(of));
        assert_eq!(stray, None, "{fault}");
    }
}

/// A fault that changes nothing is injected and has no effect. // H3
#[test]
fn a_fault_without_an_effect_is_not_counted_as_one() {
    let quiet = || {
        let mut sim = Sim::new(SimConfig::lan(7).build().unwrap());
        (1..=3).for_each(|id| sim.add(NodeId::new(id), |_| Idle));
        sim.run_for(Duration::from_secs(1)).unwrap();
        sim
    };
    struct Idle;
    impl Node for Idle {}
    let node = NodeId::new(2);
    let plane = Plane::Both;
    for fault in [
        Fault::Loss { ppm: 1_000_000 },
        Fault::Delay { percent: 300 },
        Fault::Partition { shape: Shape::Ring, plane },
        Fault::Crash { node, disk: CrashDisk::Random },
        Fault::CrashMid { node, operations: 1 },
        Fault::Wipe { node },
        Fault::Pause { node },
        Fault::Slow { node, percent: 500 },
        Fault::ClockStep { node, by_ns: 1_000_000_000 },
        Fault::ClockRate { node, ppm: 150 },
        Fault::ClockBound { node, lie_ns: 1_000_000_000 },
    ] {
        let mut sim = quiet();
        sim.apply(fault.clone());
        sim.run_for(Duration::from_secs(10)).unwrap();
        assert_eq!(effective(&sim), [], "{fault}");
    }
    let mut sim = quiet();
    sim.apply(Fault::BreakSessions { node, silent: false });
    assert_eq!(sim.coverage().class(Class::Break).skipped, 1, "there was none to break");
}

#[test]
fn a_break_counts_if_frames_were_on_their_way() {
    let node = NodeId::new(2);
    let mut broken = 0;
    for seed in 0..10 {
        for silent in [false, true] {
            let mut sim = world(seed);
            sim.apply(Fault::BreakSessions { node, silent });
            sim.run_for(Duration::from_secs(20)).unwrap();
            let found = effective(&sim);
            assert!(found.iter().all(|(class, _)| *class == Class::Break), "{found:?}");
            broken += u64::from(!found.is_empty());
        }
    }
    assert!(broken > 0);
}
