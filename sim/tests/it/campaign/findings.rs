//! What campaigns find, beside what checkers say: panics, a world that does not recover, and
//! nothing that was tested.

use super::subjects::{Beat, add_pair, pair};
use crate::toys::{self, Toy, ms, node};
use quorate_sim::*;

/// Whether the environment lets campaigns run as they are written here.
pub(super) fn plain() -> bool {
    let plain = ["QUORATE_SEED", "QUORATE_SEEDS", "QUORATE_REPLAY"]
        .iter()
        .all(|name| std::env::var_os(name).is_none());
    if !plain {
        println!("skipped: it counts seeds, and the environment says otherwise");
    }
    plain
}

fn violation(failure: Failure) -> Violation {
    match failure.kind {
        FailureKind::Violation(violation) => violation,
        other => panic!("{other:?}"),
    }
}

/// Where a workload panics or complains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Make,
    Setup,
    Boot,
    Message,
    Healed,
    Finish,
    Says,
    Never,
    LifeEnd,
}

struct Faulty(Wrong);

/// Panics at a message, or when it is dropped.
struct Fragile(Wrong, Beat);

impl Node for Fragile {
    fn on_message(&mut self, _: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {
        assert!(self.0 != Wrong::Message, "a panic in a message");
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.1.on_timeout(ctx);
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.1.poll_timeout()
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(self.0 != Wrong::LifeEnd, "a panic at the end");
    }
}

impl Workload for Faulty {
    fn setup(&mut self, sim: &mut Sim) {
        let wrong = self.0;
        assert!(wrong != Wrong::Setup, "a panic in setup");
        for (id, to) in [(1, 2), (2, 1)] {
            sim.add(node(id), move |ctx| {
                assert!(wrong != Wrong::Boot, "a panic in boot");
                Fragile(wrong, Beat::new(ctx, to))
            });
        }
    }

    fn healed(&mut self, _: &mut Sim) -> Result<bool, String> {
        assert!(self.0 != Wrong::Healed, "a panic in healed");
        if self.0 == Wrong::Says { Err("hopeless".into()) } else { Ok(self.0 != Wrong::Never) }
    }

    fn finish(&mut self, _: &mut Sim) -> Result<(), String> {
        assert!(self.0 != Wrong::Finish, "a panic in finish");
        Ok(())
    }
}

fn faulty(wrong: Wrong) -> Campaign<Faulty> {
    Campaign::new(&format!("faulty-{wrong:?}"), move |seed| {
        assert!(wrong != Wrong::Make || seed < 2, "a panic in make");
        Faulty(if seed < 2 { Wrong::LifeEnd } else { wrong })
    })
    .swarm(Swarm::quiet().only(&[Class::Crash]))
    .chaos(ms(2_000))
    .heal(ms(1_000))
    .seeds(10)
}

#[test]
fn panics_are_findings_with_a_seed() {
    if !plain() {
        return;
    }
    for (wrong, text, at) in [
        (Wrong::Make, "a panic in make", None),
        (Wrong::Setup, "a panic in setup", None),
        (Wrong::Boot, "a panic in boot", Some(())),
        (Wrong::Message, "a panic in a message", Some(())),
        (Wrong::Healed, "a panic in healed", None),
        (Wrong::Finish, "a panic in finish", None),
    ] {
        let failure = faulty(wrong).run().unwrap_err();
        assert_eq!(failure.seed, Some(2), "{wrong:?}");
        let found = violation(*failure);
        assert_eq!((&*found.checker, found.node.map(drop)), ("panic", at), "{found}");
        assert!(found.message.starts_with(text), "{found}");
        assert!(found.message.contains("findings.rs:"), "with its place: {found}");
    }
}

/// What destructors do when the world ends, or their node dies, concerns nobody.
#[test]
fn panics_of_destructors_are_none() {
    match faulty(Wrong::LifeEnd).run().map_err(|failure| failure.kind) {
        // Few deaths take something with them here, and none has to.
        Ok(_) | Err(FailureKind::Vacuous { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_world_that_does_not_recover_is_a_finding() {
    if !plain() {
        return;
    }
    let never = violation(*faulty(Wrong::Never).shrink(false).run().unwrap_err());
    assert_eq!((&*never.checker, never.at.to_string()), ("liveness", "3.000s".to_owned()));
    let says = violation(*faulty(Wrong::Says).run().unwrap_err());
    assert_eq!((&*says.checker, &*says.message), ("workload", "hopeless"));
}

/// The last look finds all nodes running, whatever happened to them in the end.
#[test]
fn all_nodes_run_when_the_world_is_looked_at_for_the_last_time() {
    let classes = [Class::Crash, Class::CrashMid, Class::Wipe, Class::DiskStall, Class::Pause];
    let make = |_| {
        Toy::new(|sim| sim.add(node(1), |ctx| Syncs(ctx.now()))).finish(|sim| {
            let seen = sim.with_node(node(1), |_: &mut Syncs, ctx| ctx.incarnation().value());
            assert!(seen.is_some(), "node 1 does not run");
        })
    };
    let swarm = Swarm::quiet().only(&classes).range(Class::Crash, 300_000_000..=2_000_000_000);
    let ran = toys::campaign("last-look", true, &classes, make).swarm(swarm.minority(1)).run();
    assert!(ran.is_ok(), "{}", ran.unwrap_err());
}

/// Writes and syncs all the time.
struct Syncs(Monotonic);

impl Node for Syncs {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        if let Ok(file) = toys::slots::open_or_create(&ctx.disk(), "file") {
            let _ = toys::slots::write_all(&*file, b"something", 0).and_then(|()| file.sync_all());
            let _ = toys::slots::write_all(&*file, b"something else", 600);
        }
        self.0 = ctx.now().saturating_add(ms(50));
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.0)
    }
}

/// Faults from outside reach nodes at once, also when nothing else ever happens.
#[test]
fn faults_from_outside_do_not_wait_for_an_event() {
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    sim.add(node(1), |_| Idle);
    sim.run_for(ms(1_000)).unwrap();
    sim.apply(Fault::Crash { node: node(1), disk: CrashDisk::KeepAll });
    assert!(sim.node::<Idle>(node(1)).is_none());
    sim.apply(Fault::Restart { node: node(1) });
    assert!(sim.node::<Idle>(node(1)).is_some());
}

struct Idle;

impl Node for Idle {}

/// What a node was busy with when it died does not keep its next life waiting.
#[test]
fn a_stall_ends_with_the_life_that_waits_for_it() {
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    sim.add(node(1), |ctx| Syncs(ctx.now()));
    sim.run_for(ms(1_000)).unwrap();
    sim.apply(Fault::Disk { node: node(1), fault: DiskFault::Stall(ms(60_000)) });
    sim.run_for(ms(1_000)).unwrap();
    sim.apply(Fault::Crash { node: node(1), disk: CrashDisk::KeepAll });
    sim.apply(Fault::Restart { node: node(1) });
    sim.run_for(ms(10)).unwrap();
    assert!(sim.node::<Syncs>(node(1)).is_some());
}

#[test]
fn what_was_not_tested_is_said() {
    if !plain() {
        return;
    }
    // No datagrams: nothing to lose.
    let failure =
        pair().swarm(Swarm::quiet().only(&[Class::Pause, Class::Loss])).run().unwrap_err();
    let expected = FailureKind::Vacuous { classes: vec![Class::Loss], marks: Vec::new() };
    assert_eq!((failure.kind, failure.seed), (expected, None));

    let failure = pair().require(&["heard", "a leader"]).run().unwrap_err();
    let text = failure.to_string();
    let expected = FailureKind::Vacuous { classes: Vec::new(), marks: vec!["a leader"] };
    assert_eq!(failure.kind, expected);
    assert!(text.contains("a leader was required and never reached"), "{text}");

    let report = pair().run().unwrap();
    assert!(report.coverage.mark("heard") > 100 && report.seeds == 40);
}

/// A quiet swarm has nothing that could be vacuous.
#[test]
fn no_faults_are_no_vacuity() {
    let quiet = Campaign::new("quiet", |_| Toy::new(add_pair)).swarm(Swarm::quiet()).seeds(3);
    let report = quiet.run().unwrap();
    assert_eq!(report.coverage.class(Class::Pause), Count::default());
}
