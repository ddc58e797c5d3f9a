//! Every interleaving of two or three threads, by loom: the inbox's wake-ups and the lane queue as
//! the crate's own files, the call slab through the public `PeerMux`, under the lock and in the
//! steps of the endpoint.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p quorate-transport --test loom --target-dir
//! target/loom`. Without the flag it is empty.
#![cfg(loom)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the way tests do")]

// What the files below name as their crate's.
pub(crate) use quorate_transport::{
    ChannelId, ChannelStats, Frame, InboundCall, Lane, LinkEvent, MuxEffect, Peer, SendError,
    StreamId,
};

#[expect(dead_code, reason = "the models use a part of it")]
#[path = "../src/inbox.rs"]
mod inbox;
#[path = "../src/queue.rs"]
mod queue;
#[path = "../src/sync.rs"]
mod sync;

/// No planted bug is modelled.
mod mutant {
    pub(crate) const fn on(_name: &str) -> bool {
        false
    }
}

#[path = "loom/calls.rs"]
mod calls;
#[path = "loom/lane.rs"]
mod lane;
#[path = "loom/wakes.rs"]
mod wakes;

use loom::thread::{self, Thread};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls on this thread until it is ready, and sleeps in between: a lost wake-up is a deadlock,
/// which loom reports.
fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match poll(&mut cx) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}
