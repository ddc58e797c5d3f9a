//! Every interleaving of what threads of this driver share without a task of its own between them:
//! the mailbox, the published lease, the freshness of reads.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p quorate-raft --lib loom --target-dir
//! target/loom`

use super::leases::LeasePublisher;
use super::mailbox::{Mailbox, Report};
use super::reads::Freshness;
use crate::LogIndex;
use loom::sync::atomic::AtomicBool;
use loom::thread::{self, Thread};
use quorate_clocks::Monotonic;
use quorate_transport::NodeId;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

const fn at(nanos: u64) -> Monotonic {
    Monotonic::from_nanos(nanos)
}

const fn index(n: u64) -> LogIndex {
    LogIndex::new(n)
}

fn report(ok: bool) -> Report {
    Report::SnapshotSent { to: NodeId::new(1), ok }
}

/// Two threads report, one waits for both: a lost wake-up would let it sleep for ever, which loom
/// reports as a deadlock. Reports of one thread keep their order.
#[test]
fn the_mailbox_loses_no_wake_up() {
    loom::model(|| {
        let mailbox = Mailbox::default();
        let (one, other) = (mailbox.clone(), mailbox.clone());
        let first = thread::spawn(move || {
            one.push(report(true));
            one.push(report(false));
        });
        let second = thread::spawn(move || other.push(Report::Stored(Ok(()))));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let cx = Context::from_waker(&waker);
        let mut taken = Vec::new();
        while taken.len() < 3 {
            match mailbox.poll_take(&cx, &mut taken) {
                Poll::Ready(()) => {}
                Poll::Pending => thread::park(),
            }
        }
        let sent = taken.iter().filter_map(|report| match report {
            Report::SnapshotSent { ok, .. } => Some(*ok),
            _ => None,
        });
        assert_eq!(sent.collect::<Vec<_>>(), [true, false]);
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// Whoever finds the lease of a publication valid finds its commit index, or a newer one.
#[test]
fn a_lease_is_never_seen_with_an_older_commit_index() {
    loom::model(|| {
        let (publisher, lease) = LeasePublisher::new();
        publisher.store(Some(at(10)), index(5));
        let reader = thread::spawn(move || {
            // The first lease is over by then: valid is only the second.
            if let Some(seen) = lease.index(at(15)) {
                assert!(seen >= index(7), "{seen} with the lease of 7");
            }
            if let Some(seen) = lease.index(at(8)) {
                assert!(seen >= index(5), "{seen} with the lease of 5");
            }
        });
        publisher.store(Some(at(20)), index(7));
        reader.join().unwrap();
    });
}

/// Once anyone can have seen the vote of this node, which leaves after the lease was withdrawn, no
/// reader finds the lease. Nor once the owner is gone.
#[test]
fn a_lease_is_gone_before_the_vote_leaves() {
    for by_drop in [false, true] {
        loom::model(move || {
            let (publisher, lease) = LeasePublisher::new();
            publisher.store(Some(at(10)), index(5));
            let voted = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&voted);
            let reader = thread::spawn(move || {
                if seen.load(Ordering::Acquire) {
                    assert_eq!(lease.index(at(5)), None, "served after the vote left");
                }
            });
            if by_drop {
                drop(publisher);
            } else {
                publisher.store(None, index(5));
            }
            voted.store(true, Ordering::Release);
            reader.join().unwrap();
        });
    }
}

/// When a read was confirmed and up to where belong together; the newest confirmation stays,
/// whichever arrives last.
#[test]
fn freshness_never_mixes_two_confirmations() {
    loom::model(|| {
        let freshness = Arc::new(Freshness::default());
        let writers = [(1, 5), (2, 7)].map(|(begun, confirmed)| {
            let freshness = Arc::clone(&freshness);
            thread::spawn(move || freshness.confirmed(at(begun), index(confirmed)))
        });
        // As fresh as the second confirmation, with the state of the first.
        assert!(!freshness.covers(at(2), index(5)));
        for writer in writers {
            writer.join().unwrap();
        }
        assert!(freshness.covers(at(2), index(7)));
        assert!(!freshness.covers(at(2), index(6)));
    });
}
