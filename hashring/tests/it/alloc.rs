//! Lookups allocate nothing: a counting allocator, per thread.

use crate::contract::{cluster, ring, table};
use quorate_hashring::{Locate, Replicate};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // A thread that is ending has no counter any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is passed on to the system's allocator unchanged.
#[expect(unsafe_code, reason = "an allocator that counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread during a call.
pub(crate) fn allocations(run: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    run();
    COUNT.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))) > 0);
}

#[test]
fn lookups_allocate_nothing() {
    let topology = cluster(12);
    let (ring, table) = (ring(&topology), table(&topology));
    let mut sum = 0_usize;
    let allocated = allocations(|| {
        for key in 0..1_000_u32 {
            let key = key.to_le_bytes();
            sum += usize::from(ring.owner(&key).value()) + ring.replicas(&key).len();
            sum += usize::from(table.owner(&key).value()) + table.replicas(&key).len();
        }
    });
    assert!(sum > 0);
    assert_eq!(allocated, 0);
}

#[test]
fn routes_admissions_and_tallies_allocate_nothing() {
    use crate::clusters::{id, table, view};
    use quorate_hashring::{Gate, Quorum, Transition};
    let (first, next) = (view(4, &[&[1, 2, 3], &[1, 2, 3]]), table(4, &[&[1, 2, 4], &[1, 2, 3]]));
    let copying = Transition::begin(&first, next, Quorum::Majority).unwrap().poll_view().unwrap();
    let gate = Gate::new(id(1), first);
    gate.install(copying.clone()).unwrap();
    let mut reader = gate.reader();
    let mut reached = 0;
    let allocated = allocations(|| {
        for key in 0..1_000_u32 {
            let route = copying.route(&key.to_le_bytes());
            reached += copying.route_at(u64::from(key) << 60).tag.value();
            let mut tally = route.write.tally(Quorum::Majority);
            for at in route.write.nodes() {
                reached += u64::from(tally.ack(at) == quorate_hashring::Outcome::Reached);
            }
            drop(gate.admit(route.partition, route.tag).unwrap());
            assert!(gate.admit(route.partition, quorate_hashring::Epoch::new(9)).is_err());
            reached += reader.get().epoch().value();
        }
    });
    assert!(reached > 0);
    assert_eq!(allocated, 0);
}

#[test]
fn caches_of_ranges_allocate_nothing_to_find_one() {
    use quorate_hashring::{CacheConfig, NodeId, RangeCache, RangeId, RangeMap};
    let mut map = RangeMap::new(RangeId::new(0), &[NodeId::new(1)]).unwrap();
    for id in 1..200_u64 {
        let at = (id * 5).to_be_bytes();
        let range = map.locate(&at);
        map = map.split(range.id, range.epoch, &at, RangeId::new(id)).unwrap();
    }
    let mut cache = RangeCache::new(CacheConfig::default()).unwrap();
    for range in map.iter().step_by(2) {
        let _ = cache.learn(range.clone());
    }
    let (mut hits, mut holes) = (0, 0);
    let allocated = allocations(|| {
        for key in 0..1_000_u64 {
            match cache.locate(&key.to_be_bytes()) {
                Some(range) => hits += u64::from(range.id == map.locate(&key.to_be_bytes()).id),
                None => holes += 1,
            }
        }
    });
    assert!(hits > 400 && holes > 400, "{hits} and {holes}");
    assert_eq!((hits + holes, allocated), (1_000, 0));
}
