//! Durable appends against the floor of the same device, measured side by side in one process.
//!
//! Every lane is measured in short turns that alternate (floor, lane, floor, lane, ...), so that
//! a device that slows down slows both. Environment: `QUORATE_BENCH_DIR` names a directory on the
//! device to measure (default: cargo's target directory); never use tmpfs.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints, stops at the first error, and reads the clock"
)]

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use quorate_wal::{Batch, Config, Slot, StreamId, Wal};

const RECORD: [u8; 256] = [7; 256];
const ROUNDS: usize = 12;
const TURN: Duration = Duration::from_millis(250);
const FLOOR_FILE: u64 = 64 << 20;

/// A lane performs operations for about one turn; seconds for each operation.
trait Lane {
    fn name(&self) -> &'static str;
    fn turn(&mut self) -> f64;
}

/// One `pwrite` and one `fdatasync` after the other.
struct Floor {
    name: &'static str,
    file: File,
    offset: u64,
    wrap: bool,
}

impl Floor {
    fn prewritten(dir: &Path) -> Self {
        let file = create(&dir.join("floor-prewritten"));
        let zeros = vec![0; 1 << 20];
        for i in 0..FLOOR_FILE >> 20 {
            file.write_all_at(&zeros, i << 20).unwrap();
        }
        file.sync_all().unwrap();
        let name = "floor: pwrite 256 B + fdatasync, pre-written file";
        Self { name, file, offset: 0, wrap: true }
    }

    fn growing(dir: &Path) -> Self {
        let file = create(&dir.join("floor-growing"));
        let name = "floor: pwrite 256 B + fdatasync, growing file";
        Self { name, file, offset: 0, wrap: false }
    }
}

impl Lane for Floor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn turn(&mut self) -> f64 {
        let start = Instant::now();
        let mut n = 0;
        while start.elapsed() < TURN {
            self.file.write_all_at(&RECORD, self.offset).unwrap();
            self.file.sync_data().unwrap();
            // As far apart as the frames of single appends.
            self.offset += 304;
            if self.wrap && self.offset + 304 > FLOOR_FILE {
                self.offset = 0;
            }
            n += 1;
        }
        start.elapsed().as_secs_f64() / f64::from(n)
    }
}

struct Blocking(Wal);

impl Lane for Blocking {
    fn name(&self) -> &'static str {
        "append 256 B, 1 blocking writer"
    }

    fn turn(&mut self) -> f64 {
        let start = Instant::now();
        let mut n = 0;
        while start.elapsed() < TURN {
            self.0.append_blocking(&RECORD).unwrap();
            n += 1;
        }
        start.elapsed().as_secs_f64() / f64::from(n)
    }
}

struct Async(Wal);

impl Lane for Async {
    fn name(&self) -> &'static str {
        "append 256 B, 1 async writer"
    }

    fn turn(&mut self) -> f64 {
        let start = Instant::now();
        let mut n = 0;
        while start.elapsed() < TURN {
            block_on(self.0.append(&RECORD)).unwrap();
            n += 1;
        }
        start.elapsed().as_secs_f64() / f64::from(n)
    }
}

/// 64 threads that live as long as the lane and run when the barrier opens.
struct Threads {
    barrier: Arc<Barrier>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    handles: Vec<std::thread::JoinHandle<()>>,
    wal: Wal,
}

const WRITERS: usize = 64;

impl Threads {
    fn new(wal: Wal) -> Self {
        let barrier = Arc::new(Barrier::new(WRITERS + 1));
        let (stop, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let count = Arc::new(AtomicU64::new(0));
        let handles = (0..WRITERS)
            .map(|_| {
                let (wal, barrier, count) = (wal.clone(), barrier.clone(), count.clone());
                let (stop, end) = (stop.clone(), end.clone());
                std::thread::spawn(move || write_turns(&wal, &barrier, &stop, &end, &count))
            })
            .collect();
        Self { barrier, stop, count, end, handles, wal }
    }
}

/// One turn after the other, each between two openings of the barrier.
fn write_turns(
    wal: &Wal,
    barrier: &Barrier,
    stop: &AtomicBool,
    end: &AtomicBool,
    count: &AtomicU64,
) {
    loop {
        barrier.wait();
        if end.load(Ordering::SeqCst) {
            return;
        }
        while !stop.load(Ordering::Relaxed) {
            wal.append_blocking(&RECORD).unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
        barrier.wait();
    }
}

impl Lane for Threads {
    fn name(&self) -> &'static str {
        "append 256 B, 64 blocking writers"
    }

    fn turn(&mut self) -> f64 {
        self.count.store(0, Ordering::SeqCst);
        self.stop.store(false, Ordering::SeqCst);
        let start = Instant::now();
        self.barrier.wait();
        std::thread::sleep(TURN);
        self.stop.store(true, Ordering::SeqCst);
        self.barrier.wait();
        start.elapsed().as_secs_f64() / self.count.load(Ordering::SeqCst) as f64
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        self.barrier.wait();
        for handle in self.handles.drain(..) {
            handle.join().unwrap();
        }
        let stats = self.wal.stats();
        println!("64 threads: groups by size 2^i: {:?}", stats.group_batches);
    }
}

/// 64 tasks on this thread.
struct Tasks(Wal);

type Task = Pin<Box<dyn Future<Output = u64>>>;

struct Ready {
    queue: Arc<Mutex<Vec<usize>>>,
    thread: Thread,
    task: usize,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        let mut queue = self.queue.lock().unwrap();
        queue.push(self.task);
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.thread.unpark();
        }
    }
}

impl Lane for Tasks {
    fn name(&self) -> &'static str {
        "append 256 B, 64 async writers on one thread"
    }

    fn turn(&mut self) -> f64 {
        let start = Instant::now();
        let queue = Arc::new(Mutex::new((0..WRITERS).collect::<Vec<_>>()));
        let mut tasks: Vec<(Task, Waker)> = (0..WRITERS)
            .map(|task| {
                let wal = self.0.clone();
                let run = async move {
                    let mut n = 0_u64;
                    while start.elapsed() < TURN {
                        wal.append(&RECORD).await.unwrap();
                        n += 1;
                    }
                    n
                };
                let thread = std::thread::current();
                let ready = Ready { queue: queue.clone(), thread, task };
                (Box::pin(run) as Task, Arc::new(ready).into())
            })
            .collect();
        let (mut left, mut total) = (WRITERS, 0);
        while left > 0 {
            let ready = std::mem::take(&mut *queue.lock().unwrap());
            if ready.is_empty() {
                std::thread::park();
                continue;
            }
            for i in ready {
                let (task, waker) = &mut tasks[i];
                if let Poll::Ready(n) = task.as_mut().poll(&mut Context::from_waker(waker)) {
                    total += n;
                    left -= 1;
                    // A finished task is not polled again: it is not woken any more.
                }
            }
        }
        start.elapsed().as_secs_f64() / total as f64
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        println!("64 tasks: groups by size 2^i: {:?}", self.0.stats().group_batches);
    }
}

/// What a store of many Raft groups does in one turn of its loop: a block and the hard state of
/// every group, in one batch. Older entries are given up now and then.
struct Groups {
    wal: Wal,
    batch: Batch,
    next: u64,
}

const GROUPS: u64 = 64;

impl Lane for Groups {
    fn name(&self) -> &'static str {
        "batch of 64 groups: block of 256 B and 128 B of metadata each"
    }

    fn turn(&mut self) -> f64 {
        let slot = Slot::new(0).unwrap();
        let start = Instant::now();
        let mut n = 0;
        while start.elapsed() < TURN {
            self.batch.clear();
            for id in 1..=GROUPS {
                let group = StreamId::new(1, id);
                self.batch.extend(group, self.next, 1, 1, &RECORD);
                self.batch.meta(group, slot, &RECORD[..128]);
                if self.next.is_multiple_of(1000) {
                    self.batch.keep_from(group, self.next - 100);
                }
            }
            self.wal.commit_blocking(&self.batch).unwrap();
            self.next += 1;
            n += 1;
        }
        start.elapsed().as_secs_f64() / f64::from(n)
    }
}

struct Unpark(Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::Release);
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let unpark = Arc::new(Unpark(std::thread::current(), AtomicBool::new(false)));
    let waker = Arc::clone(&unpark).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        while !unpark.1.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

fn create(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap()
}

fn open(dir: &Path, name: &str) -> Wal {
    let config = Config::server().segment_bytes(32 << 20).build().unwrap();
    Wal::open(dir.join(name), config).unwrap().0
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Alternates floor and lane; medians of both, and of the ratio within a round.
fn pair(floor: &mut dyn Lane, lane: &mut dyn Lane) -> (f64, f64, f64) {
    let (mut floors, mut lanes, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    floor.turn();
    lane.turn();
    for _ in 0..ROUNDS {
        let (f, l) = (floor.turn(), lane.turn());
        floors.push(f);
        lanes.push(l);
        ratios.push(l / f);
    }
    (median(&mut floors), median(&mut lanes), median(&mut ratios))
}

fn main() {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let root = std::env::var("QUORATE_BENCH_DIR").unwrap_or(target);
    let dir = PathBuf::from(root).join(format!("qwal-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut floor = Floor::prewritten(&dir);
    let mut rows = Vec::new();
    {
        let mut growing = Floor::growing(&dir);
        let (f, g, ratio) = pair(&mut floor, &mut growing);
        rows.push((floor.name(), f, f, 1.0, 1.0, "-"));
        rows.push((growing.name(), f, g, ratio, 1.0, "-"));
    }
    let groups = Groups { wal: open(&dir, "groups"), batch: Batch::new(), next: 1 };
    let lanes: [(Box<dyn Lane>, f64, &str); 5] = [
        (Box::new(Blocking(open(&dir, "blocking"))), 1.0, "<= 1.10"),
        (Box::new(Async(open(&dir, "async"))), 1.0, "<= 1.25"),
        (Box::new(groups), 1.0, "-"),
        (Box::new(Threads::new(open(&dir, "threads"))), 64.0, "<= 1.18 (0.85 x 64)"),
        (Box::new(Tasks(open(&dir, "tasks"))), 64.0, "<= 1.18 (0.85 x 64)"),
    ];
    for (mut lane, writers, target) in lanes {
        let (f, l, ratio) = pair(&mut floor, lane.as_mut());
        rows.push((lane.name(), f, l, ratio * writers, writers, target));
    }
    println!("| lane | floor, us | us per append | ratio to floor, per writer | target |");
    println!("|---|---|---|---|---|");
    for (name, floor, lane, ratio, _, target) in rows {
        println!("| {name} | {:.1} | {:.2} | {ratio:.2} | {target} |", floor * 1e6, lane * 1e6);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
