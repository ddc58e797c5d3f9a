//! Generations: durable before they are used.

use quorate_clocks::{
    DurableMark, FileMark, Generation, GenerationClock, MarkFalls, MarkKind, MemoryMark,
};

/// A mark whose storage fails when told to; what is durable outlives the clock.
#[derive(Debug, Default)]
struct Flaky {
    durable: u64,
    broken: bool,
    raises: u32,
}

impl DurableMark for Flaky {
    type Error = &'static str;

    fn get(&self) -> u64 {
        self.durable
    }

    fn raise(&mut self, to: u64) -> Result<(), &'static str> {
        self.raises += 1;
        if self.broken {
            return Err("disk full");
        }
        assert!(to >= self.durable);
        self.durable = to;
        Ok(())
    }
}

/// H21: a node that says a generation and crashes before it is durable says it again after the
/// restart, and two reigns have one number.
#[test]
fn h21_a_generation_is_durable_before_it_is_used() {
    let mut mark = Flaky::default();
    let mut clock = GenerationClock::new(&mut mark);
    assert_eq!(clock.bump(), Ok(Generation::new(1)));

    mark.broken = true;
    let mut clock = GenerationClock::new(&mut mark);
    assert_eq!(clock.bump(), Err("disk full"));
    assert_eq!(clock.current(), Generation::new(1), "2 is not durable");
    assert!(clock.check(Generation::new(1)).is_ok());
    assert_eq!(clock.adopt(Generation::new(9)), Err("disk full"));
    assert_eq!(clock.current(), Generation::new(1), "9 is not durable");
    assert_eq!(mark.durable, 1);

    mark.broken = false;
    let mut clock = GenerationClock::new(&mut mark);
    assert_eq!(clock.bump(), Ok(Generation::new(2)));
}

/// The same with a file: whoever restarts goes on above everything that was returned.
#[test]
fn generations_rise_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("generation");
    let mut last = Generation::NONE;
    for _ in 0..4 {
        let mark = FileMark::open_or_create(&path, MarkKind::Generation).unwrap();
        let mut clock = GenerationClock::new(mark);
        assert_eq!(clock.current(), last);
        for _ in 0..3 {
            let next = clock.bump().unwrap();
            assert!(next > last);
            last = next;
        }
    }
    assert_eq!(last, Generation::new(12));
}

#[test]
fn adopts_only_what_is_newer() {
    let mut mark = Flaky::default();
    let mut clock = GenerationClock::new(&mut mark);
    assert_eq!(clock.adopt(Generation::NONE), Ok(false));
    assert_eq!(clock.adopt(Generation::new(5)), Ok(true));
    assert_eq!(clock.adopt(Generation::new(5)), Ok(false));
    assert_eq!(clock.adopt(Generation::new(4)), Ok(false));
    assert_eq!(clock.current(), Generation::new(5));
    assert_eq!(clock.bump(), Ok(Generation::new(6)));
    assert_eq!((mark.durable, mark.raises), (6, 2), "no write where nothing changes");
}

#[test]
fn messages_of_older_generations_are_refused() {
    let clock = GenerationClock::new(MemoryMark::new(5));
    let stale = clock.check(Generation::new(4)).unwrap_err();
    assert_eq!((stale.remote, stale.current), (Generation::new(4), Generation::new(5)));
    assert!(clock.check(Generation::new(5)).is_ok());
    // A newer one is no error: `adopt` it.
    assert!(clock.check(Generation::new(6)).is_ok());
    assert_eq!(clock.current(), Generation::new(5));
}

/// After the last generation there is none, and none is used twice.
#[test]
fn the_last_generation_is_not_passed() {
    let mut clock = GenerationClock::new(MemoryMark::new(u64::MAX - 1));
    assert_eq!(clock.bump(), Ok(Generation::new(u64::MAX)));
    let falls = MarkFalls::check(u64::MAX, 0).unwrap_err();
    assert_eq!(clock.bump(), Err(falls));
    assert_eq!(clock.current(), Generation::new(u64::MAX));
}
