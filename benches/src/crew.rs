//! Many writers: threads that live as long as a lane, or tasks on one thread.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// What every writer does again and again; it is told which one it is.
pub type Op = Arc<dyn Fn(usize) + Send + Sync>;

/// Threads that wait at a barrier between turns.
pub struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    barrier: Barrier,
    stop: AtomicBool,
    end: AtomicBool,
    done: AtomicU64,
}

impl Crew {
    /// So many threads that do `op`.
    pub fn new(writers: usize, op: &Op) -> Self {
        let shared = Arc::new(Shared {
            barrier: Barrier::new(writers + 1),
            stop: AtomicBool::new(false),
            end: AtomicBool::new(false),
            done: AtomicU64::new(0),
        });
        let spawn = |writer| {
            let (shared, op) = (Arc::clone(&shared), Arc::clone(op));
            std::thread::spawn(move || shared.work(writer, &op))
        };
        let threads = (0..writers).map(spawn).collect();
        Self { shared, threads }
    }

    /// All work for `time`; nanoseconds for each operation of all together.
    pub fn turn(&mut self, time: Duration) -> f64 {
        let shared = &self.shared;
        shared.done.store(0, Ordering::SeqCst);
        shared.stop.store(false, Ordering::SeqCst);
        let begun = Instant::now();
        shared.barrier.wait();
        std::thread::sleep(time);
        shared.stop.store(true, Ordering::SeqCst);
        shared.barrier.wait();
        begun.elapsed().as_secs_f64() * 1e9 / shared.done.load(Ordering::SeqCst) as f64
    }
}

impl Shared {
    fn work(&self, writer: usize, op: &Op) {
        loop {
            self.barrier.wait();
            if self.end.load(Ordering::SeqCst) {
                return;
            }
            let mut done = 0;
            while !self.stop.load(Ordering::Relaxed) {
                op(writer);
                done += 1;
            }
            self.done.fetch_add(done, Ordering::SeqCst);
            self.barrier.wait();
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        self.shared.barrier.wait();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

struct Unpark(Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::Release);
        self.0.unpark();
    }
}

/// Runs one future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
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

type Task<'a> = Pin<Box<dyn Future<Output = u64> + 'a>>;

struct Ready {
    queue: Arc<Mutex<Vec<usize>>>,
    thread: Thread,
    task: usize,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        let mut queue = self.queue.lock().expect("no panic under it");
        queue.push(self.task);
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.thread.unpark();
        }
    }
}

/// Runs tasks on this thread until each answers how many operations it did; their sum.
pub fn run_tasks(tasks: Vec<Task<'_>>) -> u64 {
    let queue = Arc::new(Mutex::new((0..tasks.len()).collect::<Vec<_>>()));
    let thread = std::thread::current();
    let waker = |task| -> Waker {
        Arc::new(Ready { queue: queue.clone(), thread: thread.clone(), task }).into()
    };
    let mut left = tasks.len();
    let mut tasks: Vec<(Option<Task<'_>>, Waker)> =
        tasks.into_iter().enumerate().map(|(i, task)| (Some(task), waker(i))).collect();
    let mut total = 0;
    while left > 0 {
        let ready = std::mem::take(&mut *queue.lock().expect("no panic under it"));
        if ready.is_empty() {
            std::thread::park();
        }
        for i in ready {
            let (slot, waker) = &mut tasks[i];
            let Some(task) = slot else { continue };
            if let Poll::Ready(done) = task.as_mut().poll(&mut Context::from_waker(waker)) {
                (*slot, total, left) = (None, total + done, left - 1);
            }
        }
    }
    total
}

/// `op` in so many tasks for `time`; nanoseconds for each operation of all together.
pub fn task_turn<F: Future>(writers: usize, time: Duration, op: impl Fn() -> F) -> f64 {
    let begun = Instant::now();
    let op = &op;
    let task = |_| -> Task<'_> {
        Box::pin(async move {
            let mut done = 0;
            while begun.elapsed() < time {
                op().await;
                done += 1;
            }
            done
        })
    };
    let total = run_tasks((0..writers).map(task).collect());
    begun.elapsed().as_secs_f64() * 1e9 / total as f64
}
