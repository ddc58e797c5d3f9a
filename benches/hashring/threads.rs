//! Lanes P7, P12 and P14: what threads share.

use crate::keys::{Keys, cluster, table};
use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_hashring::{BoundedLoad, Gate, Locate, NodeId, Partition, Ring, RingConfig, Rules};
use quorate_hashring::{Shared, View};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// Readings of a snapshot by one thread, `count` times.
type Read = Arc<dyn Fn(u64) + Send + Sync>;

/// `count` readings by two threads together, while a third publishes about every millisecond.
fn two_readers(read: &Read, publish: &(dyn Fn() + Sync), count: u64) -> u64 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                publish();
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read(count / 2))).collect();
        readers.into_iter().for_each(|reader| reader.join().expect("no panic"));
        done.store(true, Ordering::Relaxed);
        publisher.thread().unpark(); // its pause is no reader's time
    });
    count
}

/// Enough readings that starting threads does not count.
const READINGS: u64 = 64_000_000;

/// P7: a snapshot read by two threads while it is published at 1 kHz.
pub(crate) fn shared(lines: &mut Table) {
    let ours = Shared::new(7_u64);
    let reader = ours.reader();
    let read_ours: Read = Arc::new(move |count| {
        let mut reader = reader.clone();
        (0..count).for_each(|_| {
            std::hint::black_box(**reader.get());
        });
    });
    let swap = Arc::new(arc_swap::ArcSwap::from_pointee(7_u64));
    let read_swap: Read = {
        let swap = Arc::clone(&swap);
        Arc::new(move |count| {
            (0..count).for_each(|_| {
                std::hint::black_box(**swap.load());
            });
        })
    };
    let lock = Arc::new(RwLock::new(Arc::new(7_u64)));
    let read_lock: Read = {
        let lock = Arc::clone(&lock);
        Arc::new(move |count| {
            (0..count).for_each(|_| {
                let value = Arc::clone(&lock.read().expect("no panic"));
                std::hint::black_box(*value);
            });
        })
    };
    let alone = ours.reader();
    lines.measure(Lane {
        name: "P7 reading a snapshot, 2 threads, published at 1 kHz",
        ours: Candidate::run("ours", |count| {
            let publish = || {
                ours.publish(Arc::new(7));
            };
            two_readers(&read_ours, &publish, count)
        })
        .of(READINGS),
        floor: Candidate::run("one thread × 2, nobody publishes", |count| {
            let mut reader = alone.clone();
            (0..count / 2).for_each(|_| {
                std::hint::black_box(**reader.get());
            });
            count
        })
        .of(READINGS),
        peers: vec![
            Candidate::run("arc-swap", |count| {
                two_readers(&read_swap, &|| swap.store(Arc::new(7)), count)
            })
            .of(READINGS / 8),
            Candidate::run("RwLock<Arc<_>>", |count| {
                let publish = || *lock.write().expect("no panic") = Arc::new(7);
                two_readers(&read_lock, &publish, count)
            })
            .of(READINGS / 32),
        ],
        targets: vec![Target::OfFloor(1.0 / 0.9), Target::Of(0, 1.0), Target::Of(1, 1.0 / 3.0)],
    });
}

/// P12: a pick and the return of its permit.
pub(crate) fn bounded(lines: &mut Table) {
    let topology = cluster(100, 1);
    let ring = Ring::build(&topology, &Rules::new(1), &RingConfig::default()).expect("feasible");
    let ours = BoundedLoad::new(ring.clone(), 1_250).expect("in range");
    let counters: Vec<AtomicU32> = (0..100).map(|_| AtomicU32::new(0)).collect();
    let total = AtomicU64::new(0);
    for (held, name) in [(0, "nothing else held"), (20_000, "20,000 held")] {
        let others: Vec<_> = (0..held).map(|key: u32| ours.pick(&key.to_le_bytes())).collect();
        let (mut a, mut b) = (Keys::new(), Keys::new());
        let targets = if held == 0 { vec![Target::OfFloor(1.5)] } else { Vec::new() };
        lines.measure(Lane {
            name: &format!("P12 bounded pick and drop, one thread, {name}"),
            ours: Candidate::each("ours", || ours.pick(a.next()).node()),
            floor: Candidate::each("ring (P3) + four atomics", || {
                let owner = usize::from(ring.owner(b.next()).value());
                total.fetch_add(1, Ordering::AcqRel);
                counters[owner].fetch_add(1, Ordering::AcqRel);
                counters[owner].fetch_sub(1, Ordering::AcqRel);
                total.fetch_sub(1, Ordering::AcqRel);
                owner
            }),
            peers: Vec::new(),
            targets,
        });
        drop(others);
    }
}

/// P14: admitting an operation and ending it.
pub(crate) fn gate(lines: &mut Table) {
    let topology = cluster(5, 1);
    let view = View::initial(table(&topology, 8, 3));
    let (gate, tag) = (Gate::new(NodeId::new(1), view.clone()), view.epoch());
    let one = topology.index_of(NodeId::new(1)).expect("it is there");
    let mine: Vec<Partition> = view.table().held_by(one).collect();
    let counter = AtomicU64::new(0);
    let mut at = 0;
    lines.measure(Lane {
        name: "P14 admit and drop, one thread",
        ours: Candidate::each("ours", || {
            at = (at + 1) % mine.len();
            gate.admit(mine[at], tag).is_ok()
        }),
        floor: Candidate::each("two atomics", || {
            counter.fetch_add(1, Ordering::AcqRel);
            counter.fetch_sub(1, Ordering::AcqRel)
        }),
        peers: Vec::new(),
        targets: vec![Target::OfFloor(3.0)],
    });
}
