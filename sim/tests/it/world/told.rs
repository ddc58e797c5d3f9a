//! What nodes say reaches the checkers when its moment comes, in the order of true time.

use quorate_sim::*;
use quorate_wal::vfs::{OpenMode, Vfs};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

struct Mute;
impl Node for Mute {}

const S: Duration = Duration::from_secs(1);

/// Keys of facts, and 0 for a death, as they were told.
type Told = Rc<RefCell<Vec<(SimTime, u64)>>>;

/// Writes down what it is told; the key 13 is wrong.
struct Listens(Told);
impl Checker for Listens {
    fn name(&self) -> String {
        "listens".into()
    }
    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        match said.what {
            Observed::Fact { key, .. } => self.0.borrow_mut().push((said.at, key)),
            Observed::Crashed => self.0.borrow_mut().push((said.at, 0)),
            Observed::Reached { mark: "wrong" } => return Err("wrong".into()),
            _ => {}
        }
        Ok(())
    }
}

fn id(n: u64) -> NodeId {
    NodeId::new(n)
}

fn world(seed: u64, checker: impl Checker) -> Sim {
    let mut sim = Sim::new(SimConfig::lan(seed).event_cost(Duration::ZERO).build().unwrap());
    (1..=2).for_each(|n| sim.add(id(n), |_| Mute));
    sim.add_checker(checker);
    sim.run_for(S).unwrap();
    sim
}

fn listened(seed: u64) -> (Sim, Told) {
    let told = Told::default();
    (world(seed, Listens(Rc::clone(&told))), told)
}

fn on(sim: &mut Sim, node: u64, f: impl FnOnce(&mut Ctx<'_>)) {
    sim.with_node(id(node), |_: &mut Mute, ctx| f(ctx)).unwrap();
}

fn fact(sim: &mut Sim, node: u64, busy: Duration, key: u64) {
    on(sim, node, |ctx| {
        ctx.busy(busy);
        ctx.fact("said", key, 0);
    });
}

fn keys(told: &Told) -> Vec<u64> {
    told.borrow().iter().map(|(_, key)| *key).collect()
}

#[test]
fn in_the_order_of_true_time() {
    let (mut sim, told) = listened(1);
    fact(&mut sim, 1, 10 * S, 3);
    fact(&mut sim, 2, Duration::ZERO, 1);
    assert_eq!(keys(&told), [1], "at its moment, not before");
    sim.run_for(4 * S).unwrap();
    fact(&mut sim, 2, 6 * S, 4); // at the moment of 3, and said after it
    fact(&mut sim, 1, Duration::ZERO, 5); // comes after what the node does
    sim.run_for(5 * S).unwrap();
    assert_eq!(keys(&told), [1]);
    sim.run_for(S).unwrap();
    assert_eq!(keys(&told), [1, 3, 4, 5]);
    // Nothing else is to come: a step goes there.
    fact(&mut sim, 1, S, 6);
    let before = sim.now();
    assert_eq!((sim.step(), sim.now().since(before)), (Ok(None), S));
    assert_eq!(keys(&told), [1, 3, 4, 5, 6]);
}

/// A holder that gives up at the end of a long handler holds until then; who takes over at the end
/// of one did not hold before.
#[test]
fn beliefs_overlap_in_true_time() {
    let hold = |ctx: &mut Ctx<'_>, d| {
        let until = ctx.now().saturating_add(d);
        ctx.believe("lease", 0, until);
    };
    let mut sim = world(7, Exclusive::new("lease"));
    on(&mut sim, 1, |ctx| {
        hold(ctx, 100 * S);
        ctx.busy(10 * S);
        ctx.disown("lease", 0);
    });
    sim.run_for(4 * S).unwrap();
    on(&mut sim, 2, |ctx| hold(ctx, S));
    let found = sim.run_for(20 * S).unwrap_err();
    assert_eq!((found.at, sim.now()), (SimTime::ZERO.saturating_add(5 * S), found.at));
    assert!(found.message.contains("nodes 1 and 2 both hold lease[0] at 5"), "{found}");

    let mut sim = world(7, Exclusive::new("lease"));
    on(&mut sim, 1, |ctx| {
        ctx.busy(10 * S);
        hold(ctx, 10 * S);
    });
    sim.run_for(4 * S).unwrap();
    on(&mut sim, 2, |ctx| hold(ctx, S));
    sim.run_for(20 * S).unwrap();
}

#[test]
fn the_dead_did_not_say_what_was_to_come() {
    for (lives, heard) in [(5 * S, vec![1, 2, 0]), (10 * S, vec![1, 2, 3, 0])] {
        let (mut sim, told) = listened(1);
        on(&mut sim, 1, |ctx| {
            ctx.fact("said", 1, 0);
            ctx.busy(4 * S);
            ctx.fact("said", 2, 0);
            ctx.busy(4 * S);
            ctx.fact("said", 3, 0);
        });
        fact(&mut sim, 2, 11 * S, 9); // others live on
        sim.run_for(lives).unwrap();
        sim.apply(Fault::Crash { node: id(1), disk: CrashDisk::Random });
        sim.apply(Fault::Restart { node: id(1) });
        assert_eq!(keys(&told), heard);
        sim.run_for(20 * S).unwrap();
        assert_eq!(keys(&told).split_off(heard.len()), [9]);
    }
}

/// A death between two operations of the disk: with what was sent goes what was said.
#[test]
fn who_dies_in_a_handler_said_all_or_nothing() {
    let (mut all, mut nothing) = (0, 0);
    for seed in 0..40 {
        let (mut sim, told) = listened(seed);
        sim.apply(Fault::CrashMid { node: id(1), operations: 1 });
        on(&mut sim, 1, |ctx| {
            ctx.busy(S);
            ctx.fact("said", 1, 0);
            ctx.send_datagram(id(2), ChannelId::new(16), "sent").unwrap();
            let made = ctx.disk().open("f".as_ref(), OpenMode::CreateNew);
            assert!(made.is_err());
            ctx.fact("said", 2, 0);
        });
        sim.run_for(5 * S).unwrap();
        let sent = sim.traffic(id(2), ChannelId::new(16)).messages_in;
        assert_eq!(keys(&told), if sent == 1 { vec![1, 0] } else { vec![0] }, "seed {seed}");
        (all, nothing) = (all + sent, nothing + 1 - sent);
    }
    assert!(all > 5 && nothing > 5, "{all} {nothing}");
}

#[test]
fn the_end_of_a_run_loses_nothing() {
    let (mut sim, told) = listened(1);
    fact(&mut sim, 1, 10 * S, 2);
    fact(&mut sim, 2, 5 * S, 1);
    let before = sim.now();
    // The last word: what a busy node has not come to yet is told all the same.
    let (mut end, late) = listened(1);
    on(&mut end, 1, |ctx| {
        ctx.busy(S);
        ctx.reached("wrong");
    });
    assert_eq!(end.finish().unwrap_err().checker, "listens");
    assert_eq!((sim.finish(), sim.now()), (Ok(()), before));
    assert_eq!((keys(&told), keys(&late)), (vec![1, 2], vec![]));
}

/// Panics when it is told to.
struct Fragile;
impl Node for Fragile {
    fn on_completion(&mut self, ctx: &mut Ctx<'_>, _: u64) {
        ctx.busy(3 * S);
        ctx.fact("said", 1, 0);
        panic!("broken");
    }
}

/// A world that stops has heard what was said before, and what was wrong first is what is found.
#[test]
fn what_was_said_before_a_panic_is_heard() {
    for (wrong, found, heard) in [
        (None, "panic", vec![7, 1]),
        (Some(S), "listens", vec![]),
        (Some(4 * S), "panic", vec![7, 1]),
    ] {
        let told = Told::default();
        let mut sim = world(1, Listens(Rc::clone(&told)));
        sim.add(id(3), |ctx| {
            ctx.complete_after(Cost::Fixed(S), 0);
            Fragile
        });
        on(&mut sim, 1, |ctx| {
            let began = ctx.true_time();
            if let Some(wrong) = wrong {
                ctx.busy(S + wrong);
                ctx.reached("wrong");
            }
            if ctx.true_time().since(began) < 2 * S {
                ctx.busy(S);
                ctx.fact("said", 7, 0);
            }
        });
        if wrong == Some(4 * S) {
            fact(&mut sim, 2, 2 * S, 7);
        }
        let violation = sim.run_for(20 * S).unwrap_err();
        assert_eq!((&*violation.checker, keys(&told)), (found, heard), "{wrong:?}");
    }
}
