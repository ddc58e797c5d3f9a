//! Reports and failures do not depend on how many threads there are.

use super::child::run;
use super::findings::plain;
use super::subjects::from_thirteen;

#[test]
fn reports_are_the_same_with_any_number_of_threads() {
    let one = run("pair", &[("QUORATE_JOBS", "1")]);
    assert_eq!((&*one.kind, &*one.seed), ("passed", "40"), "{one:?}");
    for jobs in ["2", "7"] {
        assert_eq!(run("pair", &[("QUORATE_JOBS", jobs)]), one);
    }
    // And the hash says something: of other seeds it is another.
    assert_ne!(run("pair", &[("QUORATE_SEEDS", "39")]).hash, one.hash);
}

#[test]
fn failures_are_the_same_with_any_number_of_threads() {
    let one = run("from-thirteen", &[("QUORATE_JOBS", "1")]);
    assert_eq!((&*one.kind, &*one.seed), ("violation", "13"), "{one:?}");
    for jobs in ["2", "7"] {
        assert_eq!(run("from-thirteen", &[("QUORATE_JOBS", jobs)]), one);
    }
}

/// Though seeds behind it fail long before it does.
#[test]
fn the_lowest_seed_that_fails_is_reported() {
    if !plain() {
        return;
    }
    for _ in 0..5 {
        let failure = from_thirteen().shrink(false).run().unwrap_err();
        assert_eq!(failure.seed, Some(13));
    }
    let caught = from_thirteen().shrink(false).must_fail(40).unwrap();
    assert_eq!((caught.seed, caught.seeds_tried), (13, 14));
}
