//! What takes time in an async node, and who sees it.

use quorate_sim::*;
use quorate_transport::sleep;
use quorate_wal::Turn;
use quorate_wal::vfs::{OpenMode, Vfs};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

const NODE: NodeId = NodeId::new(1);
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn world(config: SimConfigBuilder) -> Sim {
    Sim::new(config.build().unwrap())
}

#[test]
fn a_task_that_sleeps_is_woken_whatever_happens_to_its_clock() {
    for fault in [
        Fault::ClockStep { node: NODE, by_ns: 1_000_000 },
        Fault::ClockRate { node: NODE, ppm: 100 },
        Fault::ClockBound { node: NODE, lie_ns: 100 },
    ] {
        let mut sim = world(SimConfig::lan(7));
        sim.add_async(NODE, |host| {
            Box::pin(async move {
                loop {
                    sleep(&*host.runtime(), 100 * MS).await;
                    host.reached("tick");
                }
            })
        });
        sim.run_for(SECOND).unwrap();
        sim.apply(fault.clone());
        sim.run_for(10 * SECOND).unwrap();
        let ticks = sim.coverage().mark("tick");
        assert!((108..=110).contains(&ticks), "{ticks} ticks in 11 s with {fault}");
    }
}

const STALL: Duration = Duration::from_secs(20);

fn stall() -> Fault {
    Fault::Disk { node: NODE, fault: DiskFault::Stall(STALL) }
}

#[test]
fn a_clock_shows_at_once_what_the_disk_has_cost() {
    let mut sim = world(SimConfig::lan(1));
    sim.add_async(NODE, |host| {
        Box::pin(async move {
            let rt = host.runtime();
            let file = host.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap();
            sleep(&*rt, 2 * SECOND).await;
            let (before, began) = (rt.now(), host.true_time());
            file.sync_data().unwrap();
            let (after, ended) = (rt.now(), host.true_time());
            assert!(ended.since(began) >= STALL && ended.since(began) < STALL + 20 * MS);
            let error = ended.since(began).abs_diff(after.since(before));
            assert!(error < 10 * MS, "the clock shows {:?}", after.since(before));
            assert_eq!(after, rt.now());
            host.reached("synced");
        })
    });
    sim.run_for(SECOND).unwrap();
    sim.apply(stall());
    sim.run_for(3 * STALL).unwrap();
    assert_eq!(sim.coverage().mark("synced"), 1);
}

/// A task is busy with its disk while a worker of its node takes turns.
#[test]
fn a_worker_sees_no_clock_behind_what_a_task_has_seen() {
    let mut sim = world(SimConfig::lan(1));
    sim.add_async(NODE, |host| {
        Box::pin(async move {
            let last = Arc::new(Mutex::new(host.clock().monotonic()));
            let (of_worker, clock, by) = (Arc::clone(&last), host.clock(), host.clone());
            let unpark = host.worker("reader", move || {
                let (before, now) = (*of_worker.lock().unwrap(), clock.monotonic());
                assert!(now >= before, "back by {:?}", before.since(now));
                by.reached("turn");
                Turn::Again
            });
            unpark.unpark();
            let file = host.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap();
            loop {
                (0..20).for_each(|_| file.sync_data().unwrap());
                *last.lock().unwrap() = host.clock().monotonic();
                sleep(&*host.runtime(), 50 * MS).await;
            }
        })
    });
    sim.run_for(10 * SECOND).unwrap();
    assert!(sim.coverage().mark("turn") > 50);
}

/// A worker whose turns do so many syncs of 200 ms, unparked all the time, beside a task that says
/// when it is told of a turn.
fn with_worker(syncs: u32) -> Sim {
    let disk = DiskConfig::ssd().sync_latency(200 * MS, 200 * MS).build().unwrap();
    let mut sim = world(SimConfig::lan(1).disk(disk));
    sim.add_async(NODE, move |host| {
        let turned = Arc::new(Mutex::new((false, None::<Waker>)));
        let (of_worker, by) = (Arc::clone(&turned), host.clone());
        let file = host.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap();
        let unpark = host.worker("syncs", move || {
            (0..syncs).for_each(|_| file.sync_data().unwrap());
            by.reached("turn");
            let mut state = of_worker.lock().unwrap();
            state.0 = true;
            state.1.iter().for_each(Waker::wake_by_ref);
            Turn::Park
        });
        Box::pin(poll_fn(move |cx| {
            let mut state = turned.lock().unwrap();
            if std::mem::take(&mut state.0) {
                host.reached("told");
            }
            state.1 = Some(cx.waker().clone());
            unpark.unpark();
            Poll::<()>::Pending
        }))
    });
    sim
}

fn marks(sim: &Sim) -> (u64, u64) {
    (sim.coverage().mark("turn"), sim.coverage().mark("told"))
}

#[test]
fn who_is_woken_by_a_long_turn_is_woken_at_its_end() {
    let mut sim = with_worker(1);
    sim.run_for(210 * MS).unwrap();
    assert_eq!(marks(&sim), (1, 1), "a turn of one sync is what was waited for");
    let mut sim = with_worker(3);
    sim.run_for(590 * MS).unwrap();
    assert_eq!(marks(&sim), (1, 0), "its last sync is not over");
    sim.run_for(20 * MS).unwrap();
    assert_eq!(marks(&sim), (1, 1));
    sim.run_for(10 * SECOND).unwrap();
    assert_eq!(marks(&sim).1, 17, "turns of 600 ms, none lost");
}

#[test]
fn a_crash_while_a_worker_waits_for_a_stalled_disk_leaves_its_work_undone() {
    let mut sim = with_worker(1);
    sim.run_for(100 * MS).unwrap();
    sim.apply(stall()); // its turn would be in 100 ms
    sim.run_for(STALL).unwrap();
    assert_eq!(marks(&sim), (0, 0));
    assert_eq!(sim.coverage().class(Class::DiskStall).effective, 1);
    sim.apply(Fault::Crash { node: NODE, disk: CrashDisk::KeepAll });
    sim.run_for(STALL).unwrap();
    assert_eq!(marks(&sim), (0, 0));
}

/// Pending once, and ready at once.
async fn again() {
    let mut polled = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn disk_work_in_a_task_is_no_livelock_however_long_it_takes() {
    let mut sim = world(SimConfig::lan(7));
    sim.add_async(NODE, |host| {
        Box::pin(async move {
            let file = host.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap();
            for _ in 0..120_000 {
                file.write_at(b"x", 0).unwrap();
                again().await;
            }
            host.reached("done");
        })
    });
    sim.run_for(60 * SECOND).unwrap();
    assert_eq!(sim.coverage().mark("done"), 1);
}

/// Appends that are awaited, one after the other: a turn, a poll, a turn, a poll.
fn with_log(disk: DiskConfig, config: SimConfigBuilder) -> Sim {
    let mut sim = world(config.disk(disk));
    sim.add_async(NODE, |host| {
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let of_worker = Arc::clone(&waker);
        let unpark = host.worker("log", move || {
            of_worker.lock().unwrap().iter().for_each(Waker::wake_by_ref);
            Turn::Park
        });
        Box::pin(poll_fn(move |cx| {
            *waker.lock().unwrap() = Some(cx.waker().clone());
            unpark.unpark();
            host.reached("append");
            Poll::<()>::Pending
        }))
    });
    sim
}

#[test]
fn appends_to_a_log_are_no_livelock_however_many() {
    let quick = DiskConfig::ssd().sync_latency(MS / 1_000, MS / 1_000).build().unwrap();
    for disk in [quick, DiskConfig::instant().build().unwrap()] {
        let mut sim = with_log(disk, SimConfig::lan(7));
        sim.run_for(SECOND / 2).unwrap();
        let appends = sim.coverage().mark("append");
        assert!(appends > 200_000, "{appends}");
    }
}

#[test]
fn turns_that_take_no_time_are_a_livelock() {
    let instant = DiskConfig::instant().build().unwrap();
    let mut sim = with_log(instant, SimConfig::lan(7).event_cost(Duration::ZERO));
    let violation = sim.run_for(SECOND).unwrap_err();
    assert_eq!((violation.checker.as_str(), violation.node), ("livelock", Some(NODE)));
}

#[test]
fn workers_of_a_slow_node_are_slow() {
    let mut sim = with_worker(1);
    sim.apply(Fault::Slow { node: NODE, percent: 500 });
    sim.run_for(10_500 * MS).unwrap();
    assert_eq!(marks(&sim), (10, 10), "turns of a second");
    sim.apply(Fault::Slow { node: NODE, percent: 100 });
    sim.run_for(10_000 * MS).unwrap();
    assert_eq!(marks(&sim).0, 10 + 48, "one slow one was begun");
}

#[test]
fn a_worker_that_is_unparked_late_in_a_poll_takes_no_turn_before() {
    let mut sim = world(SimConfig::lan(1));
    sim.add_async(NODE, |host| {
        host.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap(); // stalls
        let by = host.clone();
        let _ = host.worker("late", move || {
            by.reached("turn");
            Turn::Park
        });
        Box::pin(std::future::pending())
    });
    sim.apply(stall());
    sim.run_for(STALL).unwrap();
    assert_eq!(sim.coverage().mark("turn"), 0);
    sim.run_for(10 * MS).unwrap();
    assert_eq!(sim.coverage().mark("turn"), 1);
}
