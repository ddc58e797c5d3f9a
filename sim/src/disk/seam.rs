//! What only a world needs of a disk.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use quorate_wal::vfs::MemVfs;

use super::SimDisk;
use super::config::DiskConfig;
use super::latency::Cost;
use super::state::{Shared, State, Streams};

impl SimDisk {
    /// The disk of a node.
    pub(crate) fn of_node(seed: u64, node: u64, config: DiskConfig) -> Self {
        Self { shared: Shared::new(State::new(config, MemVfs::new(), Streams::new(seed, node))) }
    }

    /// How long this would take, drawn from the model: for work that is done when it is due.
    pub(crate) fn time(&self, cost: Cost) -> Duration {
        self.shared.lock().time(cost)
    }

    /// From now on work of this disk takes so many per cent of its time.
    pub(crate) fn slow(&self, percent: u32) {
        self.shared.lock().slow_percent = percent;
    }

    /// A stall that waits for an operation, which counts: whoever waits before he operates takes
    /// it.
    pub(crate) fn take_stall(&self) -> Duration {
        self.shared.lock().take_stall()
    }

    /// So much of what the next operations cost was waited for before.
    pub(crate) fn prepay(&self, time: Duration) {
        self.shared.lock().prepaid = time;
    }

    /// From now on what operations cost moves `now` on, and only the calling thread may use the
    /// disk; others get errors, and [`foreign_thread`](Self::foreign_thread) names the first one.
    pub(crate) fn bind(&self, now: &Arc<AtomicU64>) {
        let mut state = self.shared.lock();
        state.now = Some(Arc::clone(now));
        state.owner = Some(std::thread::current().id());
    }

    /// The thread that tried to use a disk of a world.
    pub(crate) fn foreign_thread(&self) -> Option<String> {
        self.shared.lock().foreign.clone()
    }

    /// An empty disk is put in the place of this one, at which the next process begins; whether
    /// there was something on it.
    pub(crate) fn wipe(&self) -> bool {
        let state: &mut State = &mut self.shared.lock();
        let was_empty = state.medium.files().is_empty();
        let fresh = State::new(state.config, MemVfs::new(), state.streams.clone());
        state.next_life(fresh.medium);
        state.stored_bound = 0;
        !was_empty
    }
}

#[cfg(test)]
mod tests {
    use quorate_wal::vfs::{OpenMode, Vfs};
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn nodes_have_disks_of_their_own() {
        let config = DiskConfig::default();
        let entropy = |node| SimDisk::of_node(7, node, config).vfs().entropy().unwrap();
        assert_eq!(entropy(1), entropy(1));
        assert_ne!(entropy(1), entropy(2));
        let disk = SimDisk::of_node(7, 1, config);
        assert_eq!(disk.time(Cost::Write(1_000)), Duration::from_micros(21));
        let (a, b) = (disk.time(Cost::Sync), disk.time(Cost::Sync));
        assert!(a != b && disk.take_cost().is_zero(), "asking costs nothing");
    }

    #[test]
    fn a_bound_disk_refuses_other_threads_and_names_them() {
        let disk = SimDisk::new(1, DiskConfig::default());
        let vfs = disk.vfs();
        let other = |vfs: crate::SimVfs| {
            let thread = std::thread::Builder::new().name("stray".to_owned());
            thread.spawn(move || vfs.list("".as_ref()).is_ok()).unwrap().join().unwrap()
        };
        assert!(other(vfs.clone()), "outside a world threads share it");
        let now = Arc::new(AtomicU64::new(7));
        disk.bind(&now);
        assert!(!other(vfs.clone()) && vfs.list("".as_ref()).is_ok());
        assert_eq!(disk.foreign_thread().as_deref(), Some("stray"));
        assert_eq!(now.load(Ordering::Relaxed), 20_007, "one read");
    }

    #[test]
    fn what_was_waited_for_takes_no_time_again() {
        let (disk, now) = (SimDisk::new(1, DiskConfig::default()), Arc::new(AtomicU64::new(0)));
        disk.bind(&now);
        disk.prepay(Duration::from_micros(50));
        disk.inject(crate::DiskFault::Stall(Duration::from_secs(1)));
        assert_eq!(disk.take_stall(), Duration::from_secs(1));
        assert_eq!((disk.take_stall(), disk.stats().stalls.effective), (Duration::ZERO, 1));
        for after in [0, 0, 10_000, 30_000] {
            disk.vfs().list("".as_ref()).unwrap(); // 20 µs
            assert_eq!(now.load(Ordering::Relaxed), after);
        }
        assert_eq!(disk.take_cost(), Duration::from_micros(80));
    }

    #[test]
    fn a_wiped_disk_is_empty_and_its_process_is_gone() {
        let disk = SimDisk::new(1, DiskConfig::default());
        assert!(!disk.wipe(), "there was nothing");
        let file = disk.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap();
        assert!(disk.wipe());
        assert!(file.write_at(b"x", 0).is_err() && disk.files().is_empty());
        disk.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap();
    }
}
