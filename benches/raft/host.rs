//! Where a group runs: a tokio runtime of its own, which goes on between turns.

use std::future::Future;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task;

/// How many threads a runtime has. Everyone is measured on both, and each counts with its better
/// one: who wins by staying on one processor and who by using two is not ours to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    One,
    Two,
}

pub(crate) const THREADS: [Threads; 2] = [Threads::Two, Threads::One];

impl Threads {
    /// A name for a contender that runs so.
    pub(crate) fn name(self, whose: &str) -> String {
        match self {
            Self::One => format!("{whose}, 1 thread"),
            Self::Two => format!("{whose}, 2 threads"),
        }
    }
}

/// A runtime on threads of its own.
pub(crate) struct Host {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    pub(crate) fn new(threads: Threads) -> Self {
        let mut builder = match threads {
            Threads::One => Builder::new_current_thread(),
            Threads::Two => Builder::new_multi_thread(),
        };
        if threads == Threads::Two {
            builder.worker_threads(2);
        }
        let runtime: Runtime = builder.enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        // Between turns, too: a group whose timers stood still would hold an election next.
        let thread = std::thread::spawn(move || drop(runtime.block_on(ended)));
        Self { handle, end: Some(end), thread: Some(thread) }
    }

    /// Runs a future there and waits for it here.
    pub(crate) fn run<F>(&self, work: F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let (tell, told) = std::sync::mpsc::channel();
        let running = self.handle.spawn(async move { drop(tell.send(work.await)) });
        let done = told.recv();
        drop(running);
        done.expect("the task did not panic")
    }

    /// Begins a future there.
    pub(crate) fn spawn<F>(&self, work: F) -> task::JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.handle.spawn(work)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
