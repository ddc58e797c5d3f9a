//! What the suites share: small logs in memory, seeds, a tiny executor.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;

use quorate_wal::vfs::{MemVfs, Vfs};
use quorate_wal::{
    Batch, Config, ConfigBuilder, Driver, OpenError, RecoveryReport, StreamId, Turn, Wal,
};

/// The directory of a test log on a `MemVfs`.
pub(crate) fn dir() -> &'static Path {
    Path::new("log")
}

/// Segments of 16 KiB, no idle marks: small and quiet.
pub(crate) fn small() -> ConfigBuilder {
    Config::embedded()
        .segment_bytes(16 << 10)
        .batch_bytes_max(4 << 10)
        .staged_bytes_max(16 << 10)
        .frame_bytes(1 << 10)
        .mark_idle(std::time::Duration::ZERO)
}

/// The same without threads and clock: the same calls give the same bytes.
pub(crate) fn manual() -> ConfigBuilder {
    small().driver(Driver::manual(|| {}))
}

/// Does all work that is due.
pub(crate) fn settle(wal: &Wal) {
    while wal.turn() == Turn::Again {}
}

/// Prints past the capture of the test harness: figures of a campaign are for the log of the run.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
}

pub(crate) fn open_with(
    disk: &MemVfs,
    config: ConfigBuilder,
) -> Result<(Wal, RecoveryReport), OpenError> {
    Wal::open_on(Arc::new(disk.clone()), dir(), config.build().unwrap(), None)
}

pub(crate) fn open(disk: &MemVfs) -> (Wal, RecoveryReport) {
    open_with(disk, small()).unwrap()
}

/// A stream of the raft space.
pub(crate) fn group(id: u64) -> StreamId {
    StreamId::new(1, id)
}

pub(crate) fn records(records: &[&[u8]]) -> Batch {
    let mut batch = Batch::new();
    for record in records {
        batch.record(record);
    }
    batch
}

/// Paths of the segment files, oldest first.
pub(crate) fn segments(disk: &dyn Vfs) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = disk
        .list(dir())
        .unwrap()
        .into_iter()
        .filter(|item| item.name.to_string_lossy().ends_with(".qwal"))
        .map(|item| dir().join(item.name))
        .collect();
    names.sort();
    names
}

/// splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// The seeds of a campaign: `QUORATE_SEED` replays one, `QUORATE_SEEDS` multiplies the number.
pub(crate) fn seeds(default: u64) -> Vec<u64> {
    let read = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    if let Some(seed) = read("QUORATE_SEED") {
        return vec![seed];
    }
    let times = read("QUORATE_SEEDS").unwrap_or(1).max(1);
    (0..default * times).collect()
}

/// Prints how to replay when a seeded test panics.
pub(crate) struct Replay {
    pub(crate) test: &'static str,
    pub(crate) seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {seed}: replay with QUORATE_SEED={seed} cargo test -p quorate-wal --test it \
                 {test}",
                seed = self.seed,
                test = self.test
            );
        }
    }
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Runs one future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let unpark = Arc::new(Unpark { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Arc::clone(&unpark).into();
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        while !unpark.woken.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}
