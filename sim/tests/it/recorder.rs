//! The recorder: its rules, its limit, its order.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_sim::specs::{CasRegister, RegisterOp, RegisterRet};
use quorate_sim::{Event, Outcome, Recorder, STEPS_MAX, SimTime, Verdict, linearizable};

type Register = Recorder<RegisterOp, RegisterRet>;

fn at(nanos: u64) -> SimTime {
    SimTime::from_nanos(nanos)
}

/// What a recorder says of its misuse; it works on as if nothing had been said.
fn refused(recorder: &Register, misuse: impl FnOnce(&Register)) -> String {
    let before = recorder.history();
    let cause = catch_unwind(AssertUnwindSafe(|| misuse(recorder))).unwrap_err();
    assert_eq!(recorder.history(), before, "a refused event leaves no trace");
    cause.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn misuse_panics_and_names_the_rule() {
    let recorder = Register::new();
    let open = recorder.invoke(at(5), 1, RegisterOp::Read);
    let text = refused(&recorder, |r| _ = r.invoke(at(6), 1, RegisterOp::Read));
    assert_eq!(text, "history: process 1 invokes while its operation #0 has not ended");
    let text = refused(&recorder, |r| r.fail(open, at(4)));
    assert_eq!(
        text,
        "history: an event at 0.000000004s follows one at 0.000000005s: time goes back"
    );
    recorder.unknown(open, at(9));
    let text = refused(&recorder, |r| r.ok(open, at(10), RegisterRet::Written));
    assert_eq!(text, "history: operation #0 ends twice");
    let text = refused(&recorder, |r| _ = r.invoke(at(8), 1, RegisterOp::Read));
    assert!(text.contains("time goes back"), "{text}");
    let other = Register::new();
    let text = refused(&other, |r| r.fail(open, at(9)));
    assert_eq!(text, "history: operation #0 was never invoked here");
}

#[test]
fn one_operation_too_many_ends_the_history_and_is_never_a_pass() {
    let recorder = Register::with_operations_max(2);
    let first = recorder.invoke(at(0), 1, RegisterOp::Write(1));
    let second = recorder.invoke(at(0), 2, RegisterOp::Read);
    recorder.ok(first, at(1), RegisterRet::Written);
    assert!(!recorder.is_full());
    let third = recorder.invoke(at(2), 1, RegisterOp::Write(2));
    // What comes now may be the work of what is not recorded.
    recorder.ok(second, at(3), RegisterRet::Value(Some(2)));
    recorder.ok(third, at(3), RegisterRet::Written);
    let history = recorder.history();
    assert!(recorder.is_full() && history.is_truncated());
    assert_eq!((history.len(), history.events().count()), (2, 3));
    let verdict = linearizable(&CasRegister, &history, STEPS_MAX);
    assert!(matches!(verdict, Verdict::Undecided { .. }), "{verdict}");
}

#[test]
fn what_is_illegal_in_a_truncated_history_is_illegal() {
    let recorder = Register::with_operations_max(1);
    let read = recorder.invoke(at(0), 1, RegisterOp::Read);
    recorder.ok(read, at(1), RegisterRet::Value(Some(2)));
    recorder.invoke(at(2), 1, RegisterOp::Read);
    let history = recorder.history();
    assert!(history.is_truncated());
    assert!(linearizable(&CasRegister, &history, STEPS_MAX).is_illegal());
}

/// A busy handler records what is later than what the next handler records.
#[test]
fn true_time_decides_then_the_order_of_recording() {
    let recorder = Register::new();
    let a = recorder.invoke(at(0), 1, RegisterOp::Read);
    recorder.ok(a, at(50), RegisterRet::Value(None));
    let b = recorder.invoke(at(20), 2, RegisterOp::Read);
    recorder.unknown(b, at(50));
    let c = recorder.invoke(at(50), 2, RegisterOp::Read);
    let events: Vec<Event> = recorder.history().events().collect();
    let wanted = [Event::Invoke(a), Event::Invoke(b), Event::End(a), Event::End(b)];
    assert_eq!(events, [&wanted[..], &[Event::Invoke(c)]].concat());
}

#[test]
fn clones_in_threads_write_one_history() {
    let recorder = Register::new();
    std::thread::scope(|scope| {
        for process in 0..4 {
            let recorder = recorder.clone();
            scope.spawn(move || {
                for n in 0..250 {
                    let id = recorder.invoke(at(n), process, RegisterOp::Read);
                    recorder.ok(id, at(n), RegisterRet::Value(None));
                }
            });
        }
    });
    let history = recorder.history();
    assert_eq!((history.len(), history.events().count()), (1_000, 2_000));
    let of = |process| history.operations().filter(|(_, o)| o.process == process).count();
    assert_eq!([of(0), of(1), of(2), of(3)], [250; 4]);
    assert!(history.operations().all(|(_, o)| matches!(o.outcome, Some((_, Outcome::Ok(_))))));
    assert!(linearizable(&CasRegister, &history, STEPS_MAX).is_linearizable());
}
