//! Each checker: a world in which it must fail, and one in which it must not.

use crate::toys::{Toy, campaign, ms, node};
use quorate_sim::*;

/// Says what it is told to say.
struct Mute;

impl Node for Mute {}

/// Three nodes that do nothing by themselves, for one checker.
fn world(checker: impl Checker) -> Sim {
    let mut sim = Sim::new(SimConfig::lan(7).extreme_clocks(true).build().unwrap());
    (1..=3).for_each(|id| sim.add(node(id), |_| Mute));
    sim.add_checker(checker);
    sim.run_for(ms(10)).unwrap();
    sim
}

/// Facts by node, key and value; what the checker says of them.
fn facts(checker: impl Checker, facts: &[(u64, &'static str, u64, u128)]) -> Result<(), String> {
    let mut sim = world(checker);
    for (id, name, key, value) in facts {
        fact(&mut sim, *id, name, *key, *value);
        let _ = sim.run_for(ms(1)); // one after the other; the end says what was wrong
    }
    end(&mut sim)
}

fn fact(sim: &mut Sim, id: u64, name: &'static str, key: u64, value: u128) {
    sim.with_node(node(id), |_: &mut Mute, ctx| ctx.fact(name, key, value)).unwrap();
}

/// The verdict, with the name of who gave it.
fn end(sim: &mut Sim) -> Result<(), String> {
    let ended = sim.run_for(ms(1)).and_then(|()| sim.finish());
    ended.map_err(|found| format!("{}: {}", found.checker, found.message))
}

fn restart(sim: &mut Sim, id: u64) {
    sim.run_for(ms(1)).unwrap(); // what it says it says before
    sim.apply(Fault::Crash { node: node(id), disk: CrashDisk::KeepAll });
    sim.apply(Fault::Restart { node: node(id) });
}

#[track_caller]
fn fails(ended: Result<(), String>, with: &str) {
    let found = ended.unwrap_err();
    assert!(found.contains(with), "{found}");
}

#[test]
fn at_most_one_value_of_a_key() {
    let check = |said: &[_]| facts(AtMostOne::new("leader"), said);
    let leader = |by, term, who| (by, "leader", term, who);
    check(&[leader(1, 1, 1), leader(1, 1, 1), leader(2, 2, 2), leader(3, 2, 2)]).unwrap();
    check(&[leader(1, 1, 1), (2, "other", 1, 2)]).unwrap();
    fails(check(&[leader(1, 1, 1), leader(2, 1, 2)]), "at-most-one leader: leader[1] is 1 for");
}

#[test]
fn agreement_of_nodes_and_of_lives() {
    let check = |said: &[_]| facts(Agreement::new("entry"), said);
    check(&[(1, "entry", 5, 9), (2, "entry", 5, 9), (2, "entry", 6, 8)]).unwrap();
    fails(check(&[(1, "entry", 5, 9), (2, "entry", 5, 8)]), "nodes 1 and 2 disagree");

    // Replayed after a restart: the same is right, another is not.
    for (again, right) in [(9, true), (8, false)] {
        let mut sim = world(Agreement::new("entry"));
        fact(&mut sim, 1, "entry", 5, 9);
        restart(&mut sim, 1);
        fact(&mut sim, 1, "entry", 5, again);
        let ended = end(&mut sim);
        assert_eq!(ended.is_ok(), right, "{ended:?}");
        assert!(right || ended.unwrap_err().contains("said it in life 1 and life 2"));
    }
}

#[test]
fn monotone_within_a_life_and_across_lives() {
    let check = |said: &[_]| facts(Monotone::new("term"), said);
    check(&[(1, "term", 0, 3), (2, "term", 0, 1), (1, "term", 1, 2), (1, "term", 0, 3)]).unwrap();
    fails(check(&[(1, "term", 0, 3), (1, "term", 0, 2)]), "monotone term: term[0] of node 1 fell");
    // Not only against the newest of another key.
    fails(check(&[(1, "term", 0, 3), (1, "term", 1, 9), (1, "term", 0, 2)]), "fell from 3");

    let after_restart = |checker: Box<dyn FnOnce() -> Sim>| {
        let mut sim = checker();
        fact(&mut sim, 1, "term", 0, 3);
        restart(&mut sim, 1);
        fact(&mut sim, 1, "term", 0, 2);
        end(&mut sim)
    };
    after_restart(Box::new(|| world(Monotone::new("term")))).unwrap();
    let durable = after_restart(Box::new(|| world(MonotoneDurable::new("term"))));
    fails(durable, "fell from 3 in life 1 to 2 in life 2");
    facts(MonotoneDurable::new("term"), &[(1, "term", 0, 2), (1, "term", 0, 3)]).unwrap();
}

#[test]
fn dense_keys() {
    let check = |said: &[_]| facts(Dense::new("applied"), said);
    let applied = |by, key| (by, "applied", key, 0);
    check(&[applied(1, 7), applied(2, 1), applied(1, 8), applied(2, 2), applied(1, 9)]).unwrap();
    fails(
        check(&[applied(1, 7), applied(1, 9)]),
        "dense applied: applied of node 1 goes from 7 to 9",
    );
    fails(check(&[applied(1, 7), applied(1, 7)]), "goes from 7 to 7");
    fails(check(&[applied(1, 7), applied(1, 6)]), "goes from 7 to 6");
    fails(check(&[applied(1, u64::MAX), applied(1, 0)]), "goes from");
    let mut sim = world(Dense::new("applied"));
    fact(&mut sim, 1, "applied", 7, 0);
    restart(&mut sim, 1);
    fact(&mut sim, 1, "applied", 3, 0);
    fact(&mut sim, 1, "applied", 4, 0);
    end(&mut sim).unwrap();
}

#[test]
fn durable_keys_are_with_the_living() {
    let world = || {
        let mut sim = world(Durable::new("acked", "present"));
        fact(&mut sim, 3, "acked", 5, 1);
        sim
    };
    fails(end(&mut world()), "durable acked: 1 acknowledged keys are on no living node: [5]");
    let mut sim = world();
    fact(&mut sim, 1, "present", 5, 1);
    end(&mut sim).unwrap();
    // It has it no more.
    fact(&mut sim, 1, "present", 5, 0);
    fails(end(&mut sim), "on no living node: [5]");
    // Another one has.
    fact(&mut sim, 2, "present", 5, 1);
    end(&mut sim).unwrap();
    // But that one dies, and its next life does not say so.
    sim.apply(Fault::Crash { node: node(2), disk: CrashDisk::KeepAll });
    fails(end(&mut sim), "on no living node");
    sim.apply(Fault::Restart { node: node(2) });
    fails(end(&mut sim), "on no living node");
    fact(&mut sim, 2, "present", 5, 1);
    end(&mut sim).unwrap();
    // A node that stands still lives.
    sim.apply(Fault::Pause { node: node(2) });
    end(&mut sim).unwrap();
    // What nobody acknowledged may be anywhere or nowhere.
    facts(Durable::new("acked", "present"), &[(1, "present", 9, 1)]).unwrap();
}

#[test]
fn conserved_at_cuts() {
    let check = |said: &[_]| facts(Conserved::new("balance", 10), said);
    let (a, b) = ((1, "balance", 1, 7), (2, "balance", 2, 3));
    let cut = (3, "cut", 0, 0);
    check(&[a, b, cut, (1, "balance", 1, 5), (2, "balance", 2, 5), cut]).unwrap();
    // Between two cuts, and after the last one, everything goes.
    check(&[a, b, cut, (1, "balance", 1, 99)]).unwrap();
    fails(check(&[a, b, (1, "balance", 1, 6), cut]), "conserved balance: balance of 2 keys is 9");
    fails(check(&[a, cut]), "balance of 1 keys is 7, not 10");
    fails(check(&[a, (2, "balance", 2, u128::MAX), cut]), "is too much, not 10");
}

/// The holder believes for a second of its own clock; `then` happens; half a second later, or as
/// much as it says, another one believes.
fn two_holders(
    before: &[Fault],
    after: &[Fault],
    wait: u64,
    then: impl FnOnce(&mut Sim),
) -> Result<(), String> {
    let mut sim = world(Exclusive::new("lease"));
    before.iter().for_each(|fault| sim.apply(fault.clone()));
    let believe = |sim: &mut Sim, id| {
        let second = |_: &mut Mute, ctx: &mut Ctx<'_>| {
            let until = ctx.now().saturating_add(ms(1_000));
            ctx.believe("lease", 0, until);
        };
        sim.with_node(node(id), second).unwrap();
    };
    believe(&mut sim, 1);
    after.iter().for_each(|fault| sim.apply(fault.clone()));
    then(&mut sim);
    let waited = sim.run_for(ms(wait));
    waited.map_err(|found| found.message)?;
    believe(&mut sim, 2);
    end(&mut sim)
}

#[test]
fn exclusive_beliefs() {
    let (n1, keep) = (node(1), CrashDisk::KeepAll);
    let none = |_: &mut Sim| {};
    fails(two_holders(&[], &[], 500, none), "exclusive lease: nodes 1 and 2 both hold lease[0]");
    two_holders(&[], &[], 1_001, none).unwrap();

    // Who stands still will act when it goes on; the dead will not.
    fails(two_holders(&[], &[Fault::Pause { node: n1 }], 500, none), "both hold");
    two_holders(&[], &[Fault::Pause { node: n1 }], 1_001, none).unwrap();
    two_holders(&[], &[Fault::Crash { node: n1, disk: keep }], 500, none).unwrap();
    let again = [Fault::Crash { node: n1, disk: keep }, Fault::Restart { node: n1 }];
    two_holders(&[], &again, 500, none).unwrap();

    // It says that it holds it no more, or for a shorter time.
    let disowns = |sim: &mut Sim| {
        sim.with_node(node(1), |_: &mut Mute, ctx| ctx.disown("lease", 0)).unwrap();
    };
    two_holders(&[], &[], 500, disowns).unwrap();
    let shortens = |sim: &mut Sim| {
        let shorter = |_: &mut Mute, ctx: &mut Ctx<'_>| {
            let until = ctx.now().saturating_add(ms(100));
            ctx.believe("lease", 0, until);
        };
        sim.with_node(node(1), shorter).unwrap();
    };
    two_holders(&[], &[], 500, shortens).unwrap();
    let ended = |sim: &mut Sim| {
        let over = |_: &mut Mute, ctx: &mut Ctx<'_>| {
            let until = ctx.now();
            ctx.believe("lease", 0, until);
        };
        sim.with_node(node(1), over).unwrap();
    };
    two_holders(&[], &[], 500, ended).unwrap();
    // Another key, or another name, is another thing.
    let other = |sim: &mut Sim| {
        disowns(sim);
        let others = |_: &mut Mute, ctx: &mut Ctx<'_>| {
            let until = ctx.now().saturating_add(ms(9_000));
            ctx.believe("lease", 1, until);
            ctx.believe("lock", 0, until);
        };
        sim.with_node(node(1), others).unwrap();
    };
    two_holders(&[], &[], 500, other).unwrap();
}

/// A belief ends on the clock of the believer, whatever that does meanwhile.
#[test]
fn exclusive_beliefs_end_on_the_clock_of_the_believer() {
    let rate = |ppm| [Fault::ClockRate { node: node(1), ppm }];
    let none = |_: &mut Sim| {};
    fails(two_holders(&rate(-100_000), &[], 1_100, none), "both hold");
    two_holders(&rate(-100_000), &[], 1_112, none).unwrap();
    fails(two_holders(&rate(100_000), &[], 900, none), "both hold");
    two_holders(&rate(100_000), &[], 910, none).unwrap();
    // The rate changes while it holds.
    fails(two_holders(&rate(100_000), &rate(-100_000), 1_100, none), "both hold");
    two_holders(&rate(-100_000), &rate(100_000), 910, none).unwrap();
    // A wall clock that jumps changes nothing.
    let step = [Fault::ClockStep { node: node(1), by_ns: 3_600_000_000_000 }];
    fails(two_holders(&[], &step, 500, none), "both hold");
}

/// Two clients: one writes 3, and is told so or not; later the other reads.
fn written_and_read(told: bool, read: Option<i64>, operations_max: u32) -> Result<(), String> {
    let recorder = Recorder::with_operations_max(operations_max);
    let mut sim = world(Linearizable::new(specs::CasRegister, &recorder));
    let write = recorder.invoke(sim.now(), 1, specs::RegisterOp::Write(3));
    sim.run_for(ms(5)).unwrap();
    if told {
        recorder.ok(write, sim.now(), specs::RegisterRet::Written);
        sim.run_for(ms(5)).unwrap();
    }
    let asked = recorder.invoke(sim.now(), 2, specs::RegisterOp::Read);
    sim.run_for(ms(5)).unwrap();
    recorder.ok(asked, sim.now(), specs::RegisterRet::Value(read));
    end(&mut sim)
}

#[test]
fn linearizable_histories() {
    written_and_read(true, Some(3), 2).unwrap();
    fails(written_and_read(true, None, 2), "linearizable: not linearizable: the first 4 events");
    // What has no outcome yet may have happened, or not.
    written_and_read(false, Some(3), 2).unwrap();
    written_and_read(false, None, 2).unwrap();
    fails(written_and_read(false, Some(4), 2), "linearizable: not linearizable");
    // H12: there is more than it can see, so nothing is shown.
    fails(written_and_read(true, Some(3), 1), "linearizable: undecided");
}

/// Reaches its mark at these times, in milliseconds.
struct Marks;

impl Node for Marks {
    fn on_completion(&mut self, ctx: &mut Ctx<'_>, _: u64) {
        ctx.reached("mark");
    }
}

/// Ten seconds of chaos, then the heal.
fn eventually(marks: &'static [u64]) -> Result<Report, Box<Failure>> {
    let setup = move |sim: &mut Sim| {
        sim.add(node(1), move |ctx| {
            for at in marks {
                ctx.complete_after(Cost::Fixed(ms(*at)), 0);
            }
            Marks
        });
        sim.add_checker(Eventually::new("mark", ms(2_000)));
    };
    campaign("eventually", true, &[], move |_| Toy::new(setup))
        .chaos(ms(10_000))
        .shrink(false)
        .seed(1)
        .run()
}

#[test]
fn eventually_is_judged_after_the_heal() {
    // Never before the heal, soon after it: nothing was promised before.
    eventually(&[11_000]).unwrap();
    eventually(&[1_000, 9_999, 11_900]).unwrap();
    // Often before the heal counts for nothing.
    let before = eventually(&[1_000, 5_000, 9_000]).unwrap_err();
    assert_eq!(before.checker(), Some("eventually mark"), "{before}");
    assert!(before.to_string().contains("of the heal"), "{before}");
    let late = eventually(&[12_500]).unwrap_err();
    assert_eq!(late.checker(), Some("eventually mark"), "{late}");
    // Other nodes go on and on: it is not waited for longer than its time.
    let never = eventually(&[]).unwrap_err();
    assert_eq!(never.checker(), Some("eventually mark"), "{never}");
}
