//! Hazards of judging histories.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_sim::specs::{CasRegister, QueueOp, QueueRet, RegisterOp, RegisterRet};
use quorate_sim::{
    Bytes, ChannelId, ClientWork, ClosedLoop, Ctx, History, InboundCall, Node, NodeId, Outcome,
    Peer, Recorder, Rng, STEPS_MAX, Sim, SimConfig, SimTime, Spec, Verdict, linearizable,
    linearizable_steps, specs,
};

use crate::linearizable::agreement::compare;
use crate::linearizable::models::{Op, Register, Ret};

fn at(nanos: u64) -> SimTime {
    SimTime::from_nanos(nanos)
}

fn judge(recorder: &Recorder<RegisterOp, RegisterRet>) -> Verdict {
    linearizable(&CasRegister, &recorder.history(), STEPS_MAX)
}

/// A write that timed out and was seen: it did not fail, and no verdict may rest on that it did.
#[test]
fn h11_what_timed_out_may_still_happen() {
    for seen in [None, Some(1)] {
        for unknown in [true, false] {
            let recorder = Recorder::new();
            let write = recorder.invoke(at(0), 1, RegisterOp::Write(1));
            if unknown {
                recorder.unknown(write, at(1));
            } else {
                recorder.fail(write, at(1));
            }
            // At once it was not seen, much later perhaps.
            let early = recorder.invoke(at(2), 2, RegisterOp::Read);
            recorder.ok(early, at(3), RegisterRet::Value(None));
            let late = recorder.invoke(at(1_000), 2, RegisterOp::Read);
            recorder.ok(late, at(1_001), RegisterRet::Value(seen));
            let verdict = judge(&recorder);
            assert_eq!(verdict.is_linearizable(), unknown || seen.is_none(), "{verdict}");
            let took_effect = verdict.into_order().is_ok_and(|order| order.contains(&write));
            assert_eq!(took_effect, unknown && seen.is_some());
        }
    }
}

/// But it happens at most once, and not before it was invoked.
#[test]
fn h11_what_timed_out_happens_once_and_not_before_its_time() {
    let recorder = Recorder::new();
    let early = recorder.invoke(at(0), 2, RegisterOp::Read);
    recorder.ok(early, at(1), RegisterRet::Value(Some(1)));
    let write = recorder.invoke(at(2), 1, RegisterOp::Write(1));
    recorder.unknown(write, at(3));
    assert!(judge(&recorder).is_illegal());

    let recorder = Recorder::new();
    let write = recorder.invoke(at(0), 1, RegisterOp::Write(1));
    recorder.unknown(write, at(1));
    for (time, value) in [(2, Some(1)), (4, Some(2)), (6, Some(1))] {
        let read = recorder.invoke(at(time), 2, RegisterOp::Read);
        recorder.ok(read, at(time + 1), RegisterRet::Value(value));
        if value == Some(1) && time == 2 {
            let other = recorder.invoke(at(time + 1), 3, RegisterOp::Write(2));
            recorder.ok(other, at(time + 2), RegisterRet::Written);
        }
    }
    assert!(judge(&recorder).is_illegal());
}

/// Writes once, to a server that may not be there.
#[derive(Clone)]
struct WriteTo(u64);

impl ClientWork for WriteTo {
    type Op = RegisterOp;
    type Ret = RegisterRet;
    fn servers(&self, _: &RegisterOp) -> Vec<NodeId> {
        vec![NodeId::new(self.0)]
    }
    fn next(&mut self, _: &mut Rng) -> RegisterOp {
        RegisterOp::Write(1)
    }
    fn request(&mut self, _: &RegisterOp) -> Bytes {
        Bytes::from_static(b"write")
    }
    fn read(&mut self, _: &RegisterOp, _: &Bytes) -> RegisterRet {
        RegisterRet::Written
    }
}

/// Takes every call and answers it, or keeps it for good.
struct Server {
    answers: bool,
    kept: Vec<InboundCall>,
}

impl Node for Server {
    fn on_call(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes, call: InboundCall) {
        if self.answers {
            ctx.reply(call, "written");
        } else {
            self.kept.push(call);
        }
    }
}

/// A client that says nothing of its own about answers: what nobody answered is unknown, and only
/// what was certainly never done has failed.
#[test]
fn h11_a_client_takes_no_silence_for_a_failure() {
    for (server, answers, expected) in [
        (1, true, Outcome::Ok(RegisterRet::Written)),
        (1, false, Outcome::Unknown),
        (9, false, Outcome::Fail),
    ] {
        let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
        let recorder = Recorder::new();
        sim.add(NodeId::new(1), move |_| Server { answers, kept: Vec::new() });
        let of_client = recorder.clone();
        sim.add_client(NodeId::new(2), move |ctx| {
            ClosedLoop::new(ctx, WriteTo(server), of_client.clone())
        });
        sim.run_for(Duration::from_secs(20)).unwrap();
        let history = recorder.history();
        let ended: Vec<_> = history.operations().filter_map(|(_, op)| op.outcome.clone()).collect();
        assert!(ended.len() > 10, "{ended:?}");
        assert!(ended.iter().all(|(_, outcome)| *outcome == expected), "{ended:?}");
        // Whatever may still happen is the business of a process of its own.
        let processes: BTreeSet<_> = history.operations().map(|(_, op)| op.process).collect();
        assert_eq!(processes.len() > 1, expected == Outcome::Unknown);
    }
}

/// Enqueues that all overlap, dequeued in an order that starts impossibly late.
fn hard(width: u64) -> History<QueueOp, QueueRet> {
    let recorder = Recorder::new();
    let ids: Vec<_> =
        (0..width).map(|n| recorder.invoke(at(0), n, QueueOp::Enqueue(n.cast_signed()))).collect();
    for id in ids {
        recorder.ok(id, at(1), QueueRet::Enqueued);
    }
    let take = recorder.invoke(at(2), 0, QueueOp::Dequeue);
    recorder.ok(take, at(3), QueueRet::Dequeued(Some(-1)));
    recorder.history()
}

#[test]
fn h12_a_search_that_gives_up_is_no_pass() {
    let history = hard(14);
    for steps_max in [0, 1, 1_000, 200_000] {
        let (verdict, steps) = linearizable_steps(&specs::Queue, &history, steps_max);
        assert_eq!(verdict, Verdict::Undecided { steps }, "of {steps_max}");
        assert!(!verdict.is_linearizable() && !verdict.is_illegal());
        assert!(verdict.clone().into_order().is_err());
        // The bound is looked at once a configuration: of so many operations at most.
        assert!((steps_max..steps_max + 100).contains(&steps), "{steps} of {steps_max}");
    }
    assert!(linearizable(&specs::Queue, &hard(6), STEPS_MAX).is_illegal(), "it can be decided");
}

/// One partition that was given up makes all of it undecided, unless another one is illegal.
#[test]
fn h12_one_partition_that_gives_up_is_no_pass() {
    use quorate_sim::specs::{Kv, KvOp, KvRet};
    let recorder = Recorder::new();
    for key in ["x", "y"] {
        for n in 0..3 {
            let id = recorder.invoke(at(0), 1, KvOp::write(key, n));
            recorder.ok(id, at(0), KvRet::Done);
        }
    }
    let (verdict, _) = linearizable_steps(&Kv, &recorder.history(), 4);
    assert!(matches!(verdict, Verdict::Undecided { .. }), "{verdict}");
    let (verdict, _) = linearizable_steps(&Kv, &recorder.history(), 100);
    assert!(verdict.is_linearizable());

    // What is illegal stays so; only that the prefix is the shortest is not certain then.
    let read = recorder.invoke(at(0), 1, KvOp::read("x"));
    recorder.ok(read, at(0), KvRet::Value(None));
    for (steps, certain) in [(6, false), (100, true)] {
        let (verdict, _) = linearizable_steps(&Kv, &recorder.history(), steps);
        let Verdict::Illegal(why) = verdict else { panic!("{verdict}") };
        assert_eq!((why.is_shortest(), why.events()), (certain, 14), "{why}");
    }
}

/// A copy of the history in which each operation is what `change` makes of it.
fn changed(
    history: &History<Op<Register>, Ret<Register>>,
    change: impl Fn(Outcome<RegisterRet>) -> Option<Outcome<RegisterRet>>,
    overlapping: bool,
) -> History<RegisterOp, RegisterRet> {
    let recorder = Recorder::new();
    let mut ids = Vec::new();
    let end = at(u64::MAX);
    for (process, (_, operation)) in (0..).zip(history.operations()) {
        let outcome = operation.outcome.clone().unwrap_or((end, Outcome::Unknown));
        let begin = if overlapping { SimTime::ZERO } else { operation.invoked };
        ids.push((recorder.invoke(begin, process, operation.op), outcome));
    }
    ids.sort_by_key(|(_, (time, _))| *time);
    for (id, (time, outcome)) in ids {
        let time = if overlapping { end } else { time };
        match change(outcome) {
            Some(Outcome::Ok(ret)) => recorder.ok(id, time, ret),
            Some(Outcome::Fail) => recorder.fail(id, time),
            Some(Outcome::Unknown) => recorder.unknown(id, time),
            None => {}
        }
    }
    recorder.history()
}

/// The comparison with the oracle sees each of these wrong checkers, and soon; it passes the
/// right one.
#[test]
fn h13_wrong_checkers_are_seen() {
    let right = |history: &_| linearizable(&CasRegister, history, STEPS_MAX);
    assert!(compare::<Register>(0..300, right).is_ok());
    type Check = fn(&History<RegisterOp, RegisterRet>) -> Verdict;
    let wrong: [(&str, Check); 7] = [
        ("says yes to everything", |history| Verdict::Linearizable {
            order: history.operations().map(|(id, _)| id).collect(),
        }),
        ("says yes, with no order", |_| Verdict::Linearizable { order: Vec::new() }),
        ("gives up", |_| Verdict::Undecided { steps: 9 }),
        ("takes what is unknown for failed", |history| {
            let failed = |o| Some(if o == Outcome::Unknown { Outcome::Fail } else { o });
            linearizable(&CasRegister, &changed(history, failed, false), STEPS_MAX)
        }),
        ("takes what failed for unknown", |history| {
            let unknown = |o| Some(if o == Outcome::Fail { Outcome::Unknown } else { o });
            linearizable(&CasRegister, &changed(history, unknown, false), STEPS_MAX)
        }),
        ("does not look at time", |history| {
            linearizable(&CasRegister, &changed(history, Some, true), STEPS_MAX)
        }),
        ("believes a failed comparison never happened", |history| {
            let refused = Outcome::Ok(RegisterRet::Swapped(false));
            let dropped = |o| Some(if o == refused { Outcome::Fail } else { o });
            linearizable(&CasRegister, &changed(history, dropped, false), STEPS_MAX)
        }),
    ];
    for (name, check) in wrong {
        let found = compare::<Register>(0..2_000, check);
        let told = found.err().unwrap_or_else(|| panic!("a checker that {name} passes"));
        assert!(told.contains("replay: QUORATE_SEED="), "{told}");
    }
}

/// A model that changes its mind is refused when its order is replayed.
#[test]
fn h13_an_order_that_does_not_replay_is_no_verdict() {
    struct Fickle(AtomicBool);
    impl Spec for Fickle {
        type State = bool;
        type Op = ();
        type Ret = ();
        fn initial(&self) -> bool {
            false
        }
        fn apply(&self, _: &bool, (): &(), _: Option<&()>) -> Option<bool> {
            self.0.swap(false, Ordering::Relaxed).then_some(true)
        }
    }
    let recorder = Recorder::new();
    let id = recorder.invoke(at(0), 1, ());
    recorder.ok(id, at(1), ());
    let history = recorder.history();
    let judged = std::panic::catch_unwind(|| {
        linearizable(&Fickle(AtomicBool::new(true)), &history, STEPS_MAX)
    });
    assert!(judged.is_err());
}

/// The same question takes the same steps on every machine and however busy it is: golden.
#[test]
fn h20_h30_verdicts_depend_on_steps_only() {
    let history = hard(7);
    let needed = linearizable_steps(&specs::Queue, &history, STEPS_MAX);
    assert!(needed.0.is_illegal());
    assert_eq!(needed.1, GOLDEN_STEPS);
    let again = std::thread::scope(|scope| {
        let spawn = |_| scope.spawn(|| linearizable_steps(&specs::Queue, &history, STEPS_MAX));
        let threads: Vec<_> = (0..8).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(again.iter().all(|found| *found == needed));
    // As many steps as it takes are enough; half of them are not, ever.
    let enough = linearizable_steps(&specs::Queue, &history, GOLDEN_STEPS + 1);
    assert_eq!(enough, needed);
    let half = linearizable(&specs::Queue, &history, GOLDEN_STEPS / 2);
    assert!(matches!(half, Verdict::Undecided { .. }));
}

const GOLDEN_STEPS: u64 = 18_739;

/// A client that crashes does not know: what it had asked for is unknown, not failed.
#[test]
fn h27_a_crashed_client_leaves_its_operation_unknown() {
    let recorder = Recorder::new();
    let write = recorder.invoke(at(0), 1, RegisterOp::Write(1));
    recorder.abandon(at(5), 1);
    recorder.abandon(at(5), 1); // twice is once
    let ended = recorder.history().operation(write).unwrap().outcome.clone();
    assert_eq!(ended, Some((at(5), Outcome::Unknown)));
    // What its destructor says is nobody's word.
    recorder.fail(write, at(6));
    assert_eq!(recorder.history().operation(write).unwrap().outcome, ended);
    // In its next life it goes on.
    let read = recorder.invoke(at(7), 1, RegisterOp::Read);
    recorder.ok(read, at(8), RegisterRet::Value(Some(1)));
    assert!(judge(&recorder).is_linearizable());
}

/// The same for a node whose death the world knows of: nothing that it says afterwards counts,
/// and its next incarnation finds its process free.
#[test]
fn h27_the_recorder_of_a_dead_node_is_ignored() {
    let shared = Recorder::new();
    let alive = Arc::new(AtomicBool::new(true));
    let node = shared.while_alive(Arc::clone(&alive));
    let write = node.invoke(at(0), 1, RegisterOp::Write(1));
    alive.store(false, Ordering::Release);
    node.fail(write, at(3));
    let ghost = node.invoke(at(3), 1, RegisterOp::Write(2));
    node.ok(ghost, at(3), RegisterRet::Written);
    assert_eq!((shared.history().len(), shared.history().events().count()), (1, 1));

    let next = shared.while_alive(Arc::new(AtomicBool::new(true)));
    let read = next.invoke(at(9), 1, RegisterOp::Read);
    next.ok(read, at(10), RegisterRet::Value(Some(1)));
    let history = shared.history();
    let ended = history.operation(write).unwrap().outcome.clone();
    assert_eq!(ended, Some((at(9), Outcome::Unknown)));
    assert!(judge(&shared).is_linearizable());
}
