//! Hazards of async nodes.

use quorate_sim::*;
use quorate_transport::{Frame, SessionId, Task, sleep};
use quorate_wal::Turn;
use quorate_wal::vfs::{OpenMode, Vfs};
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

const NODE: NodeId = NodeId::new(1);
const SECOND: Duration = Duration::from_secs(1);

fn world(order: Order, seed: u64) -> Sim {
    Sim::new(SimConfig::lan(seed).order(order).build().unwrap())
}

/// Two tasks that are woken together: in which order they ran.
fn raced(order: Order, seed: u64) -> Vec<u32> {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let of_node = Arc::clone(&ran);
    let mut sim = world(order, seed);
    sim.add_async(NODE, move |host| {
        let runtime = host.runtime();
        for number in 0..4 {
            let (ran, rt) = (Arc::clone(&of_node), host.runtime());
            runtime.spawn(
                "racer",
                Box::pin(async move {
                    let at = Duration::from_millis(10);
                    sleep(&*rt, at).await;
                    ran.lock().unwrap().push(number);
                }),
            );
        }
        Box::pin(pending())
    });
    sim.run_for(SECOND).unwrap();
    let ran = ran.lock().unwrap().clone();
    assert_eq!(ran.len(), 4);
    ran
}

/// Syncs in a worker one after the other, and beats beside it: how many of each in ten seconds.
fn synced(stalled: bool) -> (u32, u64, u64) {
    let turns = Arc::new(AtomicU32::new(0));
    let of_node = Arc::clone(&turns);
    let mut sim = world(Order::Random, 1);
    sim.add_async(NODE, move |host| {
        let turns = Arc::clone(&of_node);
        let file = host.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap();
        let unpark = host.worker("syncs", move || {
            file.sync_data().unwrap();
            turns.fetch_add(1, Ordering::Relaxed);
            Turn::Again
        });
        unpark.unpark();
        Box::pin(async move {
            loop {
                sleep(&*host.runtime(), Duration::from_millis(10)).await;
                host.reached("beat");
            }
        })
    });
    sim.run_for(SECOND).unwrap();
    let (before, beats) = (turns.load(Ordering::Relaxed), sim.coverage().mark("beat"));
    if stalled {
        sim.apply(Fault::Disk { node: NODE, fault: DiskFault::Stall(20 * SECOND) });
    }
    sim.run_for(10 * SECOND).unwrap();
    let (after, coverage) = (turns.load(Ordering::Relaxed), sim.coverage());
    let effective = coverage.class(Class::DiskStall).effective;
    (after - before, coverage.mark("beat") - beats, effective)
}

#[test]
fn h03_a_stall_that_counts_stops_the_worker_that_it_hit() {
    let (turns, beats, effective) = synced(false);
    assert!(turns > 1_000 && beats > 990, "{turns} turns, {beats} beats");
    assert_eq!(effective, 0);
    let (turns, beats, effective) = synced(true);
    assert!(turns == 0 && beats > 990, "{turns} turns, {beats} beats");
    assert_eq!(effective, 1);
}

#[test]
fn h04_tasks_that_are_ready_together_run_in_any_order() {
    assert_eq!(raced(Order::Fifo, 1), [0, 1, 2, 3]);
    let seen: std::collections::BTreeSet<Vec<u32>> =
        (0..50).map(|seed| raced(Order::Random, seed)).collect();
    assert!(seen.len() > 10, "only {} orders", seen.len());
    assert_eq!(raced(Order::Random, 7), raced(Order::Random, 7));
}

/// Says when it is dropped, and tries to leave traces.
struct Grave {
    host: Host,
    dropped: Arc<AtomicBool>,
}

impl Drop for Grave {
    fn drop(&mut self) {
        let vfs = self.host.vfs();
        assert!(vfs.open("grave".as_ref(), OpenMode::CreateNew).is_err());
        let sent = self.host.transport().send(
            NodeId::new(2),
            Lane::Data,
            Frame::message(ChannelId::new(16), &b"ghost"[..]),
        );
        assert_eq!(sent, Err(SendError::Closed));
        self.host.reached("spoke from the grave");
        self.host.runtime().spawn("ghost", Box::pin(async {}));
        assert!(!self.host.alive().load(Ordering::Relaxed));
        self.dropped.store(true, Ordering::Relaxed);
    }
}

#[test]
fn h07_tasks_of_a_dead_node_have_no_effect_when_they_are_dropped() {
    let dropped = Arc::new(AtomicBool::new(false));
    let of_node = Arc::clone(&dropped);
    let mut sim = world(Order::Random, 3);
    sim.add_async(NODE, move |host| {
        let grave = Grave { host, dropped: Arc::clone(&of_node) };
        Box::pin(async move {
            let _grave = grave;
            pending::<()>().await;
        })
    });
    sim.add(NodeId::new(2), |_| Quiet);
    sim.run_for(SECOND).unwrap();
    sim.apply(Fault::Crash { node: NODE, disk: CrashDisk::KeepAll });
    assert!(dropped.load(Ordering::Relaxed), "tasks are dropped with their node");
    sim.run_for(SECOND).unwrap();
    assert_eq!(sim.coverage().mark("spoke from the grave"), 0);
    assert_eq!(sim.traffic(NodeId::new(2), ChannelId::new(16)).messages_in, 0);
    assert!(sim.disk(NODE).files().is_empty());
}

struct Quiet;
impl Node for Quiet {}

struct Sink;

impl quorate_transport::Sink for Sink {
    fn on_frame(&self, _: Peer, _: Lane, _: SessionId, _: Frame) {}
    fn on_event(&self, _: LinkEvent) {}
    fn on_unsent(&self, _: NodeId, _: Lane, _: &mut dyn Iterator<Item = Frame>) {}
}

#[test]
fn h08_tasks_die_in_the_middle_of_a_poll() {
    let mut kept = [0, 0];
    for seed in 0..40 {
        let mut sim = world(Order::Random, seed);
        sim.add_async(NODE, |host| {
            Box::pin(async move {
                sleep(&*host.runtime(), SECOND).await;
                let send = |text: &'static [u8]| {
                    let frame = Frame::message(ChannelId::new(16), text);
                    host.transport().send(NodeId::new(2), Lane::Data, frame)
                };
                host.transport().start(Arc::new(Sink)).unwrap();
                assert_eq!(send(b"before"), Ok(()));
                let file = host.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap();
                assert!(file.write_at(b"never", 0).is_err(), "the second operation");
                assert_eq!(send(b"after"), Err(SendError::Closed));
                host.reached("after");
                panic!("as part of dying");
            })
        });
        sim.add(NodeId::new(2), |_| Quiet);
        sim.run_for(SECOND / 2).unwrap();
        sim.apply(Fault::CrashMid { node: NODE, operations: 2 });
        sim.run_for(SECOND * 30).unwrap();
        assert!(!sim.is_up(NODE));
        assert_eq!(sim.coverage().mark("after"), 0);
        assert_eq!(sim.coverage().class(Class::CrashMid).effective, 1);
        let out = sim.traffic(NODE, ChannelId::new(16)).messages_out;
        kept[usize::try_from(out.min(1)).unwrap()] += 1;
    }
    assert!(kept[1] > 0, "what was sent before may have left");
}

#[test]
fn h16_no_rate_moves_the_clock_of_a_task_back_or_wakes_it_early() {
    let mut sim = Sim::new(SimConfig::chaos(1).build().unwrap());
    sim.add_async(NODE, |host| {
        Box::pin(async move {
            let rt = host.runtime();
            loop {
                let deadline = rt.now().saturating_add(10 * SECOND);
                sleep(&*rt, 10 * SECOND).await;
                let now = rt.now();
                assert!(now >= deadline, "early by {:?}", deadline.since(now));
                let late = now.since(deadline);
                assert!(late < Duration::from_micros(10), "late by {late:?}");
                host.reached("woken");
            }
        })
    });
    for i in 0..200 {
        sim.run_for(Duration::from_millis(777)).unwrap();
        sim.apply(Fault::ClockRate { node: NODE, ppm: [100_000, -100_000][i % 2] });
    }
    let woken = sim.coverage().mark("woken");
    assert!((15..=16).contains(&woken), "{woken} sleeps of 10 s in 155 s");
}

#[test]
fn h21_threads_of_a_node_are_refused_by_name() {
    let mut sim = world(Order::Random, 1);
    let stolen: Arc<Mutex<Option<Waker>>> = Arc::default();
    let of_node = Arc::clone(&stolen);
    sim.add_async(NODE, move |_| {
        let stolen = Arc::clone(&of_node);
        Box::pin(poll_fn(move |cx| {
            *stolen.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        }))
    });
    sim.run_for(SECOND).unwrap();
    let waker = stolen.lock().unwrap().take().unwrap();
    let thread = std::thread::Builder::new().name("stray".into());
    let panicked = thread.spawn(move || waker.wake()).unwrap().join().unwrap_err();
    let text = panicked.downcast_ref::<String>().unwrap();
    assert!(text.contains("thread stray wakes a task of a simulated node"), "{text}");
    let violation = sim.run_for(SECOND).unwrap_err();
    assert_eq!(violation.to_string(), "thread at 1.000s on node 1: thread stray used the node");
}

/// A node that writes in a thread of its own.
struct Threaded;

impl Node for Threaded {
    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes) {
        let vfs = ctx.disk();
        let thread = std::thread::Builder::new().name("flusher".into());
        let write = move || vfs.open("f".as_ref(), OpenMode::CreateNew).is_ok();
        assert!(!thread.spawn(write).unwrap().join().unwrap(), "refused");
    }
}

#[test]
fn h21_a_disk_is_the_world_threads() {
    let mut sim = world(Order::Random, 1);
    sim.add(NODE, |_| Threaded);
    sim.add(NodeId::new(2), |_| Quiet);
    sim.run_for(SECOND).unwrap();
    sim.with_node::<Quiet, _>(NodeId::new(2), |_, ctx| {
        ctx.send_datagram(NODE, ChannelId::new(16), "go").unwrap();
    });
    let violation = sim.run_for(SECOND).unwrap_err();
    assert_eq!((violation.checker.as_str(), violation.node), ("thread", Some(NODE)));
    assert!(violation.message.contains("flusher"), "{violation}");
}

#[test]
fn h21_the_clock_of_the_executor_is_the_only_one() {
    // What a task waits is virtual time, to the microsecond.
    let mut sim = world(Order::Random, 1);
    sim.add_async(NODE, |host| {
        Box::pin(async move {
            let rt = host.runtime();
            let before = rt.now();
            sleep(&*rt, SECOND).await;
            let waited = rt.now().since(before);
            assert!(waited >= SECOND && waited < SECOND + Duration::from_millis(1), "{waited:?}");
            host.reached("slept");
        })
    });
    sim.run_for(SECOND * 2).unwrap();
    assert_eq!(sim.coverage().mark("slept"), 1);
}

#[test]
fn h28_a_panic_in_a_task_is_a_finding() {
    let mut sim = world(Order::Random, 1);
    sim.add_async(NODE, |host| {
        let runtime = host.runtime();
        runtime.spawn("broken", Box::pin(async { panic!("index {} is gone", 7) }));
        Box::pin(pending())
    });
    let violation = sim.run_for(SECOND).unwrap_err();
    assert_eq!((violation.checker.as_str(), violation.node), ("panic", Some(NODE)));
    let text = &violation.message;
    assert!(text.starts_with("index 7 is gone at ") && text.contains("tasks.rs:"), "{text}");
    assert_eq!(sim.run_for(SECOND), Err(violation), "the world stands still");
}

#[test]
fn a_task_that_wakes_itself_for_ever_is_a_livelock() {
    let mut sim = world(Order::Random, 1);
    sim.add_async(NODE, |_| {
        Box::pin(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }))
    });
    let violation = sim.run_for(SECOND * 10).unwrap_err();
    assert_eq!((violation.checker.as_str(), violation.node), ("livelock", Some(NODE)));
}

#[test]
fn a_worker_with_a_slow_disk_does_not_stop_the_rest_of_the_node() {
    let turns = Arc::new(AtomicU32::new(0));
    let of_node = Arc::clone(&turns);
    let disk = DiskConfig::ssd()
        .sync_latency(Duration::from_millis(200), Duration::from_millis(200))
        .build()
        .unwrap();
    let mut sim = Sim::new(SimConfig::lan(1).disk(disk).build().unwrap());
    sim.add_async(NODE, move |host| {
        let turns = Arc::clone(&of_node);
        let vfs = host.vfs();
        let file = vfs.open("f".as_ref(), OpenMode::CreateNew).unwrap();
        let unpark = host.worker("disk", move || {
            file.write_at(b"x", 0).unwrap();
            file.sync_data().unwrap();
            turns.fetch_add(1, Ordering::Relaxed);
            Turn::Park
        });
        Box::pin(async move {
            let rt = host.runtime();
            while host.alive().load(Ordering::Relaxed) {
                unpark.unpark();
                sleep(&*rt, Duration::from_millis(10)).await;
                host.reached("went on");
            }
        }) as Task
    });
    sim.run_for(SECOND).unwrap();
    let (turns, beats) = (turns.load(Ordering::Relaxed), sim.coverage().mark("went on"));
    assert!((3..=5).contains(&turns), "{turns} turns of 200 ms in a second");
    assert!((95..=100).contains(&beats), "{beats} beats of 10 ms in a second");
}

#[test]
fn a_crash_in_the_time_of_a_worker_leaves_its_work_undone() {
    let mut sim = world(Order::Random, 5);
    sim.add_async(NODE, |host| {
        let vfs = host.vfs();
        let unpark = host.worker("disk", move || {
            vfs.open("done".as_ref(), OpenMode::CreateNew).unwrap();
            Turn::Done
        });
        unpark.unpark();
        Box::pin(pending())
    });
    // Syncs take 200 µs at least.
    sim.run_for(Duration::from_micros(150)).unwrap();
    sim.apply(Fault::Crash { node: NODE, disk: CrashDisk::KeepAll });
    sim.run_for(SECOND).unwrap();
    assert!(sim.disk(NODE).files().is_empty());
}
