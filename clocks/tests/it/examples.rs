//! Each example runs.

#[path = "../../examples/causal_trace.rs"]
mod causal_trace;
#[path = "../../examples/commit_wait.rs"]
mod commit_wait;
#[path = "../../examples/doctor.rs"]
mod doctor;
#[path = "../../examples/hlc.rs"]
mod hlc;
#[path = "../../examples/injected.rs"]
mod injected;
#[path = "../../examples/restart.rs"]
mod restart;
#[path = "../../examples/siblings.rs"]
mod siblings;

use quorate_clocks::{
    ErrorCode, FixedError, KernelNtp, ManualBounded, ManualClock, Unbounded, WallTime,
};
use std::time::Duration;

#[test]
fn causal_trace_can_be_drawn() {
    causal_trace::main().unwrap();
    let text = String::from_utf8(causal_trace::trace(Vec::new()).unwrap()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("client {\"client\":1}"));
    assert_eq!(lines.next(), Some("put x = 1"));
    let events: Vec<_> = crate::shiviz::check_trace(&text).into_iter().collect();
    assert_eq!(
        events,
        [("client".to_owned(), 3), ("follower".to_owned(), 3), ("leader".to_owned(), 5)]
    );
}

#[test]
fn commit_wait_runs() {
    match commit_wait::main() {
        Ok(()) => {}
        // This machine's kernel decides: a wide bound, or a container that forbids asking.
        Err(commit_wait::Refused::TooWide(width)) => {
            assert!(width > Duration::from_millis(500));
        }
        Err(commit_wait::Refused::NoBound(why)) => {
            assert!(matches!(why, Unbounded::Source(ErrorCode::Os(_))), "{why}");
        }
    }
}

/// A kernel's bound that is too wide is refused, not swapped for the operator's word.
#[test]
fn commit_wait_does_not_swap_a_wide_bound_for_the_operators_word() {
    use commit_wait::{Bounds, Refused};
    let ms = Duration::from_millis;
    let time = ManualClock::new(WallTime::from_nanos(1_700_000_000_000_000_000));
    let word = FixedError::new(time.clone(), ms(2));
    let manual = ManualBounded::new(time.clone(), ms(251));
    let bounds = Bounds { kernel: manual.clone(), word: word.clone() };
    let width = || bounds.interval().map(|now| now.width());
    assert_eq!(width(), Err(Refused::TooWide(ms(502))));
    manual.set_error(ms(250));
    assert_eq!(width(), Ok(ms(500)));
    manual.lose_sync();
    assert_eq!(width(), Ok(ms(4)));
    manual.disrupt();
    assert_eq!(width(), Err(Refused::NoBound(Unbounded::Disrupted)));
    for (code, expected) in [
        (ErrorCode::Unsupported, Ok(ms(4))),
        (ErrorCode::Os(1), Err(Refused::NoBound(Unbounded::Source(ErrorCode::Os(1))))),
    ] {
        let kernel = KernelNtp::with_source(time.clone(), move || Err(Unbounded::Source(code)));
        let bounds = Bounds { kernel, word: word.clone() };
        assert_eq!(bounds.interval().map(|now| now.width()), expected);
    }
}

#[test]
fn doctor_runs() {
    doctor::main();
}

#[test]
fn hlc_runs() {
    hlc::main().unwrap();
}

#[test]
fn injected_runs() {
    injected::main();
}

#[test]
fn restart_runs() {
    restart::main().unwrap();
}

#[test]
fn siblings_runs() {
    siblings::main();
}
