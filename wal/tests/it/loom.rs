//! Every interleaving of two or three threads, by loom, over the crate's own `sync.rs` and
//! `waiters.rs`; the loops around them are those of `core.rs`, without the I/O.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p quorate-wal --release --test it --target-dir
//! target/loom loom_`

use std::sync::Arc as StdArc;
use std::task::{Wake, Waker};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::sync::{Lock, Parked, Signal};
use crate::waiters::{Goal, Progress};

/// A log without I/O: tickets are staged, a leader commits them.
struct Log {
    progress: Lock<Progress>,
    staged: Lock<u64>,
    /// Counts groups: two leaders at a time would be seen as a torn count.
    inside: AtomicUsize,
}

impl Log {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            progress: Lock::new(Progress::default()),
            staged: Lock::new(0),
            inside: AtomicUsize::new(0),
        })
    }

    fn stage(&self) -> u64 {
        let mut staged = self.staged.lock();
        *staged += 1;
        *staged
    }

    /// `Core::lead`, with a commit that cannot fail.
    fn lead(&self) {
        assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "one leader");
        let ticket = *self.staged.lock();
        assert_eq!(self.inside.fetch_sub(1, Ordering::SeqCst), 1);
        let mut progress = self.progress.lock();
        progress.durable_ticket = progress.durable_ticket.max(ticket);
        progress.leading = false;
        let ready = progress.take_ready();
        let heir = progress.take_heir();
        drop(progress);
        if let Some(heir) = heir {
            heir.look();
        }
        for waiter in ready {
            waiter.done();
        }
    }

    /// `Core::wait`.
    fn wait(&self, goal: Goal) -> bool {
        loop {
            let mut progress = self.progress.lock();
            if progress.reached(goal) {
                return true;
            }
            if progress.closed {
                return false;
            }
            if !progress.leading && !matches!(goal, Goal::Lsn(_)) {
                progress.leading = true;
                drop(progress);
                self.lead();
                continue;
            }
            let parked = Parked::mine();
            progress.park(goal, &parked);
            drop(progress);
            if parked.park() {
                return true;
            }
        }
    }
}

/// Who waits leads, or is led; leadership is handed over and nobody is forgotten.
#[test]
fn loom_leader_hand_over() {
    loom::model(|| {
        let log = Log::new();
        let other = log.clone();
        let thread = thread::spawn(move || {
            let ticket = other.stage();
            assert!(other.wait(Goal::Durable(ticket)));
        });
        let ticket = log.stage();
        assert!(log.wait(Goal::Durable(ticket)));
        thread.join().unwrap();
        let progress = log.progress.lock();
        assert_eq!((progress.durable_ticket, progress.leading), (2, false));
        assert!(!progress.has_waiters(u64::MAX));
    });
}

/// A waiter that registers while a group is published is woken, or sees it.
#[test]
fn loom_registration_against_publish() {
    loom::model(|| {
        let log = Log::new();
        let other = log.clone();
        let thread = thread::spawn(move || assert!(other.wait(Goal::Lsn(1))));
        {
            let mut progress = log.progress.lock();
            progress.durable_lsn = 1;
            let ready = progress.take_ready();
            drop(progress);
            ready.into_iter().for_each(crate::waiters::Waiter::done);
        }
        thread.join().unwrap();
        assert_eq!(log.progress.lock().waiters(), 0);
    });
}

struct Calls(std::sync::atomic::AtomicUsize);

impl Wake for Calls {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// A future that is dropped while its group is published leaves nothing behind and is woken at
/// most once; another one's waker is not touched.
#[test]
fn loom_drop_of_staged() {
    loom::model(|| {
        let log = Log::new();
        let (mine, theirs) = (StdArc::new(Calls(0.into())), StdArc::new(Calls(0.into())));
        let (key, other_key) = {
            let mut progress = log.progress.lock();
            let waker = Waker::from(mine.clone());
            let key = progress.register(Goal::Durable(1), None, &waker);
            let waker = Waker::from(theirs.clone());
            (key, progress.register(Goal::Durable(2), None, &waker))
        };
        let other = log.clone();
        let dropping = thread::spawn(move || other.progress.lock().forget(key));
        let mut progress = log.progress.lock();
        progress.durable_ticket = 1;
        let ready = progress.take_ready();
        drop(progress);
        ready.into_iter().for_each(crate::waiters::Waiter::done);
        dropping.join().unwrap();
        assert!(mine.0.load(std::sync::atomic::Ordering::SeqCst) <= 1);
        assert_eq!(theirs.0.load(std::sync::atomic::Ordering::SeqCst), 0);
        let mut progress = log.progress.lock();
        assert_eq!(progress.waiters(), 1);
        progress.forget(other_key);
        assert_eq!(progress.waiters(), 0);
    });
}

/// Who begins to wait while the log stops is answered.
#[test]
fn loom_poison_against_wait() {
    loom::model(|| {
        let log = Log::new();
        // Somebody leads, and will never publish.
        log.progress.lock().leading = true;
        let other = log.clone();
        let thread = thread::spawn(move || other.wait(Goal::Durable(1)));
        let mut progress = log.progress.lock();
        progress.closed = true;
        let all = progress.take_all();
        drop(progress);
        for waiter in all {
            waiter.look();
        }
        assert!(!thread.join().unwrap(), "answered, not with Ok");
        assert_eq!(log.progress.lock().waiters(), 0);
    });
}

/// Two that stage while a leader is at work: whoever the group did not hold is handed the lead.
#[test]
fn loom_two_parked_behind_a_leader() {
    loom::model(|| {
        let log = Log::new();
        let first = log.stage();
        log.progress.lock().leading = true;
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let log = log.clone();
                thread::spawn(move || {
                    let ticket = log.stage();
                    assert!(log.wait(Goal::Durable(ticket)));
                })
            })
            .collect();
        log.lead();
        for thread in threads {
            thread.join().unwrap();
        }
        let progress = log.progress.lock();
        assert!(progress.reached(Goal::Durable(first)) && progress.durable_ticket == 3);
    });
}

/// A reader pins a segment under the lock of the set; the recycler takes only what nobody holds.
#[test]
fn loom_recycle_against_reader() {
    loom::model(|| {
        let segment = Arc::new(AtomicUsize::new(0));
        let set = Arc::new(Lock::new(Some(segment)));
        let other = set.clone();
        let recycler = thread::spawn(move || {
            let mut set = other.lock();
            // As `SegmentSet::remove_oldest`: the count is looked at under the lock.
            if set.as_ref().is_some_and(|segment| Arc::strong_count(segment) == 1) {
                let segment = set.take().unwrap();
                drop(set);
                segment.store(1, Ordering::SeqCst);
            }
        });
        let pinned = set.lock().clone();
        if let Some(segment) = pinned {
            assert_eq!(segment.load(Ordering::SeqCst), 0, "recycled under a reader");
        }
        recycler.join().unwrap();
    });
}

/// Waits until the count is reached.
fn wait_for(shared: &(Lock<usize>, Signal), goal: usize) {
    let mut count = shared.0.lock();
    while *count < goal {
        count = shared.1.wait(count);
    }
}

/// A signal that makes no system call when nobody waits: no wait misses a change that was made
/// under its lock before the notice.
#[test]
fn loom_a_signal_reaches_whoever_waits() {
    for (waiters, notifiers) in [(1, 1), (1, 2), (2, 1)] {
        loom::model(move || {
            let shared = Arc::new((Lock::new(0), Signal::new()));
            let mut threads = Vec::new();
            for _ in 0..notifiers {
                let shared = Arc::clone(&shared);
                threads.push(thread::spawn(move || {
                    *shared.0.lock() += 1;
                    shared.1.notify_all();
                }));
            }
            for _ in 1..waiters {
                let shared = Arc::clone(&shared);
                threads.push(thread::spawn(move || wait_for(&shared, notifiers)));
            }
            wait_for(&shared, notifiers);
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}
