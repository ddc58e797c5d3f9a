//! Crashes, starts, wipes, clients: who lives, and in which life.

use quorate_sim::*;
use quorate_wal::vfs::{OpenMode, Vfs};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const NODE: NodeId = NodeId::new(1);
const CLIENT: NodeId = NodeId::new(2);

fn crash(node: NodeId) -> Fault {
    Fault::Crash { node, disk: CrashDisk::Random }
}

/// Knows its life, when it began, and what was on its disk then.
struct Life {
    life: u64,
    began: SimTime,
    files: usize,
}

impl Life {
    fn boot(ctx: &mut Ctx<'_>) -> Self {
        let files = ctx.disk().list("".as_ref()).unwrap().len();
        Self { life: ctx.incarnation().value(), began: ctx.true_time(), files }
    }
}

impl Node for Life {}

fn world() -> Sim {
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    sim.add(NODE, Life::boot);
    sim.add_client(CLIENT, Life::boot);
    sim.run_for(MS).unwrap();
    sim
}

fn life(sim: &Sim) -> Option<u64> {
    sim.node::<Life>(NODE).map(|node| node.life)
}

#[test]
fn a_start_needs_no_other_event() {
    let mut sim = world();
    for expected in 2..10 {
        sim.apply(crash(NODE));
        assert_eq!((sim.is_up(NODE), life(&sim)), (false, None));
        sim.run_for(MS).unwrap();
        sim.apply(Fault::Restart { node: NODE });
        let now = sim.now();
        sim.run_for(Duration::from_secs(1)).unwrap();
        assert_eq!(life(&sim), Some(expected), "a life of its own");
        let began = sim.node::<Life>(NODE).unwrap().began;
        assert!(began.since(now) < MS, "at once");
    }
}

#[test]
fn a_new_life_is_not_busy_with_the_work_of_the_old() {
    let mut sim = world();
    sim.with_node(NODE, |_: &mut Life, ctx| ctx.busy(Duration::from_secs(100))).unwrap();
    sim.apply(crash(NODE));
    sim.apply(Fault::Restart { node: NODE });
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(life(&sim), Some(2));
}

#[test]
fn what_has_nothing_to_apply_to_is_skipped() {
    let mut sim = world();
    let nobody = NodeId::new(9);
    sim.apply(Fault::Restart { node: NODE });
    sim.apply(Fault::Restart { node: nobody });
    sim.apply(Fault::Resume { node: NODE });
    sim.run_for(MS).unwrap();
    assert_eq!(life(&sim), Some(1), "a live node is not started again");
    for fault in [
        crash(nobody),
        Fault::Wipe { node: nobody },
        Fault::Pause { node: nobody },
        Fault::ClockStep { node: nobody, by_ns: 1 },
        Fault::Block { from: NODE, to: nobody, plane: Plane::Both },
        Fault::Clog { from: nobody, to: NODE, for_: MS },
        Fault::Partition { shape: Shape::Isolate(nobody), plane: Plane::Both },
        Fault::Partition { shape: Shape::IsolateMarked("leader".into()), plane: Plane::Both },
        Fault::CrashMarked { mark: "leader".into(), disk: CrashDisk::KeepAll, down: MS },
        Fault::PauseMarked { mark: "leader".into(), for_: MS },
        Fault::BreakSessions { node: NODE, silent: true },
    ] {
        let class = fault.class().unwrap();
        let before = sim.coverage().class(class).skipped;
        sim.apply(fault.clone());
        let count = sim.coverage().class(class);
        assert_eq!((count.injected, count.skipped), (0, before + 1), "{fault}");
    }
    sim.apply(crash(NODE));
    for fault in
        [crash(NODE), Fault::Pause { node: NODE }, Fault::CrashMid { node: NODE, operations: 1 }]
    {
        let class = fault.class().unwrap();
        let before = sim.coverage().class(class).skipped;
        sim.apply(fault.clone());
        assert_eq!(sim.coverage().class(class).skipped, before + 1, "{fault} of the dead");
    }
}

#[test]
fn who_reached_a_mark_last_is_hunted_and_comes_back() {
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    let nodes = [1, 2, 3].map(NodeId::new);
    nodes.iter().for_each(|node| sim.add(*node, Life::boot));
    let second = Duration::from_secs(1);
    let wrong = |sim: &Sim| nodes.into_iter().filter(|n| !sim.is_up(*n)).collect::<Vec<_>>();
    for leader in [2, 3, 1, 2].map(NodeId::new) {
        sim.run_for(second).unwrap();
        sim.with_node(leader, |_: &mut Life, ctx| ctx.reached("now leads")).unwrap();
        let (crash, pause) = (sim.now(), sim.now().saturating_add(3 * second));
        let steps = "now%20leads disk=keep-all down=2.000s";
        let plan = format!("{crash} crash-marked {steps}\n{pause} pause-marked now%20leads for=1s");
        sim.plan(plan.parse().unwrap());
        sim.run_for(second).unwrap();
        assert_eq!(wrong(&sim), [leader], "it is down, and no one else");
        sim.run_for(second + second / 2).unwrap();
        assert_eq!(wrong(&sim), [], "it came back by itself");
        let stands = |sim: &mut Sim| {
            let before = sim.coverage().class(Class::Pause).skipped;
            sim.apply(Fault::Pause { node: leader });
            sim.coverage().class(Class::Pause).skipped > before
        };
        sim.run_for(second).unwrap();
        assert!(stands(&mut sim), "a node that stands still cannot be stopped");
        sim.run_for(second).unwrap();
        assert!(!stands(&mut sim), "it went on by itself");
        sim.apply(Fault::Resume { node: leader });
    }
    let [crash, pause] = [Class::Crash, Class::Pause].map(|class| sim.coverage().class(class));
    assert_eq!((crash.injected, crash.skipped), (4, 0));
    assert_eq!((pause.injected, pause.skipped), (8, 4));
}

/// The step that would have ended it finds nothing to do.
#[test]
fn a_hunted_node_may_be_back_before_its_time() {
    let mut sim = world();
    sim.with_node(NODE, |_: &mut Life, ctx| ctx.reached("leader")).unwrap();
    let down = Duration::from_secs(2);
    sim.apply(Fault::CrashMarked { mark: "leader".into(), disk: CrashDisk::KeepAll, down });
    sim.apply(Fault::Restart { node: NODE });
    sim.run_for(2 * down).unwrap();
    assert_eq!(life(&sim), Some(2));
}

fn keep_a_file(sim: &mut Sim, node: NodeId) {
    let write = |_: &mut Life, ctx: &mut Ctx<'_>| {
        let vfs = ctx.disk();
        vfs.open("kept".as_ref(), OpenMode::CreateNew).unwrap().sync_all().unwrap();
        vfs.sync_dir("".as_ref()).unwrap();
    };
    sim.with_node(node, write).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
}

#[test]
fn a_wipe_leaves_an_empty_disk_and_a_crash_does_not() {
    for (fault, files) in [(crash(NODE), 1), (Fault::Wipe { node: NODE }, 0)] {
        let mut sim = world();
        keep_a_file(&mut sim, NODE);
        sim.apply(fault);
        assert!(!sim.is_up(NODE));
        sim.apply(Fault::Restart { node: NODE });
        sim.run_for(MS).unwrap();
        assert_eq!((life(&sim), sim.node::<Life>(NODE).unwrap().files), (Some(2), files));
    }
}

#[test]
fn clients_are_spared() {
    let mut sim = world();
    keep_a_file(&mut sim, CLIENT);
    for fault in [
        crash(CLIENT),
        Fault::Wipe { node: CLIENT },
        Fault::CrashMid { node: CLIENT, operations: 1 },
        Fault::Disk { node: CLIENT, fault: DiskFault::LyingSync },
    ] {
        let class = fault.class();
        sim.apply(fault.clone());
        if let Some(class) = class {
            assert_eq!(sim.coverage().class(class).skipped, 1, "{fault}");
        }
    }
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(sim.node::<Life>(CLIENT).unwrap().life, 1);
    assert_eq!((sim.nodes(), sim.members()), (vec![NODE, CLIENT], vec![NODE]));
}

#[test]
fn a_plan_happens_in_the_order_of_its_times_and_the_past_at_once() {
    let mut sim = world();
    sim.run_for(Duration::from_secs(5)).unwrap();
    let at = |seconds| SimTime::ZERO.saturating_add(Duration::from_secs(seconds));
    let steps = vec![
        (at(7), Fault::Restart { node: NODE }),
        (at(1), crash(NODE)),
        (at(2), Fault::Restart { node: NODE }),
        (at(6), crash(NODE)),
    ];
    sim.plan(Plan { steps });
    let five = sim.now();
    let mut lives = Vec::new();
    for _ in 0..8 {
        sim.run_for(Duration::from_millis(500)).unwrap();
        lives.push(life(&sim));
    }
    let (two, three) = (Some(2), Some(3));
    assert_eq!(lives, [two, None, None, three, three, three, three, three]);
    assert_eq!(sim.now(), five.saturating_add(Duration::from_secs(4)));
}

#[test]
fn a_node_is_found_by_its_type_while_it_is_up() {
    struct Other;
    impl Node for Other {}
    let mut sim = world();
    assert!(sim.node::<Other>(NODE).is_none() && sim.node::<Life>(NODE).is_some());
    assert!(sim.with_node(NODE, |_: &mut Other, _| ()).is_none());
    assert!(sim.node::<Life>(NodeId::new(9)).is_none());
    sim.apply(crash(NODE));
    assert!(sim.with_node(NODE, |_: &mut Life, _| ()).is_none());
}

#[test]
#[should_panic(expected = "node 1 was added twice")]
fn a_node_is_added_once() {
    world().add(NODE, Life::boot);
}

#[test]
#[should_panic(expected = "checkers are added before the first step")]
fn a_checker_hears_everything() {
    world().add_checker(AtMostOne::new("leader"));
}

#[test]
fn a_node_may_come_later() {
    let mut sim = world();
    sim.run_for(Duration::from_secs(3)).unwrap();
    sim.add(NodeId::new(7), Life::boot);
    sim.run_for(MS).unwrap();
    let began = sim.node::<Life>(NodeId::new(7)).unwrap().began;
    assert!(began.since(SimTime::ZERO) >= Duration::from_secs(3));
}
