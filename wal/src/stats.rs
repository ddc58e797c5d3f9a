//! Counters, and a plain snapshot of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A snapshot of counters and gauges.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use quorate_wal::{Config, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// wal.append_blocking(b"x")?;
/// let stats = wal.stats();
/// assert_eq!((stats.batches, stats.groups, stats.syncs), (1, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Batches staged, a single append being one.
    pub batches: u64,
    /// Operations in them: records, blocks, cells, marks.
    pub records: u64,
    /// Bytes that users put into them.
    pub payload_bytes: u64,
    /// Bytes of all frames written, headers and padding included.
    pub bytes_written: u64,
    /// Groups written.
    pub groups: u64,
    /// Frames written.
    pub frames: u64,
    /// Syncs of segments.
    pub syncs: u64,
    /// Syncs that took longer than `slow_sync_after`.
    pub slow_syncs: u64,
    /// Groups by size: index `i` counts groups of 2^i to 2^(i+1)−1 batches, the last all above.
    pub group_batches: [u64; 12],
    /// Syncs by duration: index `i` counts those of 2^i to 2^(i+1)−1 µs, the first all below 2,
    /// the last all above. Nothing with a driver by hand, which has no clock.
    pub sync_us: [u64; 24],
    /// Writes of segments by duration, likewise.
    pub write_us: [u64; 24],
    /// Waiters woken because what they waited for was reached.
    pub wakes: u64,
    /// Events that did not fit the queue.
    pub events_dropped: u64,
    /// Most bytes that were staged at once.
    pub staged_bytes_max: u64,
    /// Bytes staged now.
    pub staged_bytes: u64,
    /// Writes refused with `Busy`.
    pub busy: u64,
    /// Writes refused with `NoSpace`.
    pub no_space: u64,
    /// Segments now.
    pub segments: u64,
    /// Segments prepared and not used now.
    pub segments_prepared: u64,
    /// Segments that readers hold now.
    pub segments_pinned: u64,
    /// Moves to another segment.
    pub rolls: u64,
    /// Segments prepared.
    pub prepared: u64,
    /// Files of old segments that became new ones, or the reserve.
    pub recycled: u64,
    /// Segments deleted.
    pub unlinked: u64,
    /// Blocks, cells and low marks of streams written again to free an old segment.
    pub carried: u64,
    /// Bytes of the blocks and cells among them.
    pub carried_bytes: u64,
    /// How often the reserve was used.
    pub reserve_uses: u64,
    /// Preparations that failed for lack of space.
    pub prepare_failures: u64,
    /// Writes of MANIFEST.
    pub marks: u64,
    /// Streams now.
    pub streams: u64,
    /// Live blocks now.
    pub blocks: u64,
    /// Frames read back from files.
    pub frames_read: u64,
    /// Reads that failed their checksum.
    pub verify_failures: u64,
    /// Readers and tailers open now.
    pub readers: u64,
    /// Futures registered now.
    pub waiters: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) payload_bytes: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) slow_syncs: AtomicU64,
    pub(crate) group_batches: [AtomicU64; 12],
    pub(crate) sync_us: [AtomicU64; 24],
    pub(crate) write_us: [AtomicU64; 24],
    pub(crate) wakes: AtomicU64,
    pub(crate) events_dropped: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) no_space: AtomicU64,
    pub(crate) rolls: AtomicU64,
    pub(crate) prepared: AtomicU64,
    pub(crate) recycled: AtomicU64,
    pub(crate) unlinked: AtomicU64,
    pub(crate) carried: AtomicU64,
    pub(crate) carried_bytes: AtomicU64,
    pub(crate) reserve_uses: AtomicU64,
    pub(crate) prepare_failures: AtomicU64,
    pub(crate) frames_read: AtomicU64,
    pub(crate) verify_failures: AtomicU64,
    pub(crate) readers: AtomicU64,
}

/// Adds to a counter; nothing is ordered by it.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Adds to a counter that only the leader changes, one at a time: cheaper than `add`.
pub(crate) fn tally(counter: &AtomicU64, n: u64) {
    counter.store(read(counter) + n, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    /// Counts a group of so many batches.
    pub(crate) fn group(&self, batches: u64) {
        tally(&self.groups, 1);
        let class = batches.max(1).ilog2().min(11);
        tally(&self.group_batches[class as usize], 1);
    }

    /// Counts a duration in its class.
    pub(crate) fn time(classes: &[AtomicU64; 24], elapsed: Duration) {
        let micros = elapsed.as_micros().max(1);
        tally(&classes[micros.ilog2().min(23) as usize], 1);
    }

    /// The counters; gauges are filled in by the caller.
    pub(crate) fn snapshot(&self) -> Stats {
        let mut group_batches = [0; 12];
        for (to, from) in group_batches.iter_mut().zip(&self.group_batches) {
            *to = read(from);
        }
        let (mut sync_us, mut write_us) = ([0; 24], [0; 24]);
        for (to, from) in sync_us.iter_mut().zip(&self.sync_us) {
            *to = read(from);
        }
        for (to, from) in write_us.iter_mut().zip(&self.write_us) {
            *to = read(from);
        }
        Stats {
            sync_us,
            write_us,
            wakes: read(&self.wakes),
            events_dropped: read(&self.events_dropped),
            records: read(&self.records),
            payload_bytes: read(&self.payload_bytes),
            batches: 0,
            bytes_written: read(&self.bytes_written),
            groups: read(&self.groups),
            frames: read(&self.frames),
            syncs: read(&self.syncs),
            slow_syncs: read(&self.slow_syncs),
            group_batches,
            busy: read(&self.busy),
            no_space: read(&self.no_space),
            rolls: read(&self.rolls),
            prepared: read(&self.prepared),
            recycled: read(&self.recycled),
            unlinked: read(&self.unlinked),
            carried: read(&self.carried),
            carried_bytes: read(&self.carried_bytes),
            reserve_uses: read(&self.reserve_uses),
            prepare_failures: read(&self.prepare_failures),
            frames_read: read(&self.frames_read),
            verify_failures: read(&self.verify_failures),
            readers: read(&self.readers),
            ..Stats::default()
        }
    }
}
