//! Every combination of answers, once each.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_sim::{Gen, exhaust};

/// Runs all, and demands that each run is another one.
fn all<T: Ord>(mut run: impl FnMut(&mut Gen) -> T) -> u64 {
    let mut seen = BTreeSet::new();
    let found = exhaust(1_000_000, |answers| {
        let what = run(answers);
        assert!(seen.insert((answers.answers(), what)), "twice the same");
    });
    assert!(found.complete);
    assert_eq!(found.runs, u64::try_from(seen.len()).unwrap());
    found.runs
}

#[test]
fn known_shapes_have_their_counts() {
    assert_eq!(all(|_| ()), 1, "no question is one run");
    assert_eq!(all(|g| (g.below(0), g.below(1))), 1, "what has one answer is no question");
    assert_eq!(all(|g| (g.below(2), g.below(3))), 6);
    assert_eq!(all(|g| [g.flip(); 10]), 2);
    assert_eq!(all(|g| [(); 10].map(|()| g.flip())), 1_024);
    for (len, runs) in [(0, 1), (1, 1), (2, 2), (3, 6), (4, 24), (6, 720)] {
        let mut orders = BTreeSet::new();
        let found = all(|g| {
            let mut of: Vec<u8> = (0..len).collect();
            g.shuffle(&mut of);
            orders.insert(of.clone());
            of
        });
        assert_eq!((found, orders.len()), (runs, usize::try_from(runs).unwrap()));
    }
}

#[test]
fn questions_may_depend_on_answers() {
    // 1 + 2 + 3 + 4.
    assert_eq!(all(|g| (g.below(4) + 1, ())), 4);
    let triangle = |g: &mut Gen| {
        let n = g.below(4) + 1;
        (n, g.below(n))
    };
    assert_eq!(all(triangle), 10);
    // Flips until the first no, six at most.
    assert_eq!(all(|g| (0..6).take_while(|_| g.flip()).count()), 7);
    // Every tree of choices of depth 3, where a flip says whether to go on.
    fn grow(g: &mut Gen, depth: u32) -> u64 {
        if depth == 0 || !g.flip() { 1 } else { grow(g, depth - 1) + grow(g, depth - 1) }
    }
    // t(0) = 1, t(d) = 1 + t(d-1)².
    assert_eq!(all(|g| grow(g, 3)), 26);
}

#[test]
fn it_stops_where_it_is_told_and_says_so() {
    let found = exhaust(5, |g| _ = g.below(6));
    assert_eq!((found.runs, found.complete), (5, false));
    let found = exhaust(6, |g| _ = g.below(6));
    assert_eq!((found.runs, found.complete), (6, true));
    let found = exhaust(0, |_| panic!("not run"));
    assert_eq!((found.runs, found.complete), (0, false));
}

fn panics(run: impl FnMut(&mut Gen)) -> String {
    let cause = catch_unwind(AssertUnwindSafe(|| exhaust(100, run))).unwrap_err();
    cause.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_run_that_fails_tells_its_answers() {
    let run = |g: &mut Gen| {
        let (a, b) = (g.below(3), g.flip());
        assert!(!(a == 1 && b), "found it");
    };
    assert_eq!(panics(run), "run 4 failed with the answers [1, 1]: found it");
    let mut again = Gen::answering(&[1, 1]);
    assert!(catch_unwind(AssertUnwindSafe(|| run(&mut again))).is_err());
}

#[test]
fn a_run_that_depends_on_something_else_is_refused() {
    let mut runs = 0;
    let text = panics(|g| {
        runs += 1;
        let n = if runs == 1 { 2 } else { 3 };
        let _ = (g.below(n), g.flip());
    });
    assert!(text.contains("question 0 had 2 answers, now it has 3"), "{text}");
    let mut runs = 0;
    let text = panics(|g| {
        runs += 1;
        if runs == 1 {
            let _ = (g.flip(), g.flip());
        }
    });
    assert!(text.contains("the run asked 0 questions, before it asked 2"), "{text}");
}
