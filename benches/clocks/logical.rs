//! Lanes P6 to P8 and P10: vectors and sibling sets.

use crdts::{CmRDT as _, CvRDT as _, VClock};
use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_clocks::{DvvSet, VectorClock};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering as Memory};

/// Counts what is allocated, so that "no allocation" is a fact.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Memory::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) fn measure(table: &mut Table) {
    for actors in [3, 16, 64] {
        compare(table, actors);
    }
    for actors in [3, 16, 64] {
        merge(table, actors);
    }
    decode(table);
    sync(table);
}

/// A clock, one that knows an event more, as ours, as crdts' and as plain lists.
struct Pair {
    ours: [VectorClock<u64>; 2],
    crdts: [VClock<u64>; 2],
    plain: [Vec<(u64, u64)>; 2],
}

fn pair(actors: u64) -> Pair {
    let plain: Vec<(u64, u64)> = (0..actors).map(|a| (a * 7 + 1, a + 3)).collect();
    let mut later = plain.clone();
    later.last_mut().expect("actors").1 += 1;
    let plain = [plain, later];
    let ours = plain.each_ref().map(|list| list.to_vec());
    let ours = ours.map(VectorClock::from_entries);
    let crdts = plain.each_ref().map(|list| {
        let mut clock = VClock::new();
        list.iter().for_each(|(actor, n)| clock.apply(crdts::Dot::new(*actor, *n)));
        clock
    });
    Pair { ours, crdts, plain }
}

/// The floor: one pass over two sorted lists of the same actors.
fn pass(a: &[(u64, u64)], b: &[(u64, u64)]) -> Option<Ordering> {
    let (mut less, mut greater) = (false, false);
    for ((actor, n), (other, m)) in a.iter().zip(b) {
        if actor != other {
            return None;
        }
        less |= n < m;
        greater |= n > m;
    }
    match (less, greater) {
        (false, false) => Some(Ordering::Equal),
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (true, true) => None,
    }
}

fn compare(table: &mut Table, actors: u64) {
    let Pair { ours, crdts, plain } = pair(actors);
    assert_eq!(crdts[0].partial_cmp(&crdts[1]), pass(&plain[0], &plain[1]));
    assert_eq!(ours[0].compare(&ours[1]), quorate_clocks::Causality::Before);
    let b = std::hint::black_box::<usize>;
    table.measure(Lane {
        name: &format!("P6 compare, {actors} actors"),
        ours: Candidate::each("ours", || ours[b(0)].compare(&ours[b(1)])),
        floor: Candidate::each("one pass over arrays", || pass(&plain[b(0)], &plain[b(1)])),
        peers: vec![Candidate::each("crdts", || crdts[b(0)].partial_cmp(&crdts[b(1)]))],
        targets: vec![Target::OfPeer(0.4), Target::OfFloor(1.3)],
    });
}

fn merge(table: &mut Table, actors: u64) {
    let Pair { ours: [older, mut newer], crdts, plain } = pair(actors);
    let before = ALLOCATIONS.load(Memory::Relaxed);
    assert!(!newer.merge(&older));
    assert_eq!(ALLOCATIONS.load(Memory::Relaxed), before, "a dominated merge allocates");
    let b = std::hint::black_box::<usize>;
    let older = [older];
    table.measure(Lane {
        name: &format!("P7 merge a dominated clock, {actors} actors (0 allocations)"),
        ours: Candidate::each("ours", || newer.merge(&older[b(0)])),
        floor: Candidate::each("one pass over arrays", || pass(&plain[b(0)], &plain[b(1)])),
        peers: vec![Candidate::each("crdts clone + merge", || {
            let mut merged = crdts[b(1)].clone();
            merged.merge(crdts[b(0)].clone());
            merged
        })],
        targets: vec![Target::OfPeer(0.25)],
    });
}

fn decode(table: &mut Table) {
    let Pair { ours, plain, .. } = pair(16);
    let bytes = ours[0].encode().expect("16 entries");
    let bytes = std::hint::black_box(bytes);
    table.measure(Lane {
        name: "P8 decode a vector of 16 actors",
        ours: Candidate::each("ours", || VectorClock::<u64>::decode(&bytes)),
        floor: Candidate::each("copy of the entries", || plain[0].clone()),
        peers: vec![],
        targets: vec![Target::OfFloor(4.0)],
    });
}

/// Two servers that took writes at the same time: three actors, two values alive on each side, one
/// of them common.
fn sides<V: Clone + PartialEq>(value: impl Fn(u8) -> V) -> [DvvSet<u64, V>; 2] {
    let write =
        |server: Option<&DvvSet<u64, V>>, actor, n| DvvSet::new(value(n)).update(server, actor);
    let first = write(None, 1, 10);
    // Written by someone who had read the first value.
    let context = first.context();
    let common = DvvSet::with_context(&context, value(11)).update(Some(&first), 2);
    let (left, right) = (write(Some(&common), 3, 12), write(Some(&common), 1, 13));
    assert_eq!((left.len(), right.len(), left.sync(&right).len()), (2, 2, 3));
    assert_eq!(left.sync(&right).actors().len(), 3);
    [left, right]
}

fn sync(table: &mut Table) {
    let [left, right] = sides(|n| vec![n; 16]);
    table.measure(Lane {
        name: "P10 `DvvSet::sync`, 3 actors, 2 siblings of 16 bytes, concurrent",
        ours: Candidate::each("ours", || left.sync(&right)),
        floor: Candidate::each("clone of one set", || left.clone()),
        peers: vec![],
        targets: vec![Target::OfFloor(3.0)],
    });
    let [left, right] = sides(u64::from);
    table.measure(Lane {
        name: "P10 the same, siblings of one `u64`",
        ours: Candidate::each("ours", || left.sync(&right)),
        floor: Candidate::each("clone of one set", || left.clone()),
        peers: vec![],
        targets: vec![Target::OfFloor(3.0)],
    });
    let both = left.sync(&right);
    table.measure(Lane {
        name: "P10 the same, one side knows all",
        ours: Candidate::each("ours", || both.sync(&right)),
        floor: Candidate::each("clone of one set", || both.clone()),
        peers: vec![],
        targets: vec![Target::OfFloor(3.0)],
    });
}
