//! What makes calls, and how they are driven: closed loops at a depth.

use crate::side::Sides;
use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a server counts.
pub(crate) type Served = Arc<AtomicU64>;

/// One client's way to make a call and to hold the answer against what it should be.
pub(crate) trait Caller: Clone + Send + Sync + 'static {
    fn call(&self) -> impl Future<Output = ()> + Send;
}

/// What a turn of calls gave.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    /// Nanoseconds, one for each call; none from subjects that do not tell calls apart.
    pub(crate) latencies: Vec<u64>,
}

/// Calls one after the other until the time is over; at least one.
pub(crate) async fn one_by_one<C: Caller>(caller: C, end: Instant) -> Vec<u64> {
    let mut latencies = Vec::with_capacity(1 << 12);
    loop {
        let begun = Instant::now();
        caller.call().await;
        let now = Instant::now();
        latencies.push(u64::try_from((now - begun).as_nanos()).expect("shorter than ages"));
        if now >= end {
            return latencies;
        }
    }
}

/// `depth` tasks that do so.
async fn closed_loops<C: Caller>(caller: C, depth: usize, time: Duration) -> Taken {
    let begun = Instant::now();
    let end = begun + time;
    if depth == 1 {
        let latencies = one_by_one(caller, end).await;
        return Taken { count: latencies.len() as u64, elapsed: begun.elapsed(), latencies };
    }
    let start = |_| tokio::spawn(one_by_one(caller.clone(), end));
    let tasks: Vec<_> = (0..depth).map(start).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no panic in a caller"));
    }
    Taken { count: latencies.len() as u64, elapsed: begun.elapsed(), latencies }
}

/// A fixed number of calls, `depth` at a time, without a clock.
pub(crate) async fn counted_loops<C: Caller>(caller: C, depth: usize, each: u64) {
    let start = |_| {
        let caller = caller.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                caller.call().await;
            }
        })
    };
    let tasks: Vec<_> = (0..depth).map(start).collect();
    for task in tasks {
        task.await.expect("no panic in a caller");
    }
}

type Turn = Box<dyn FnMut(&Sides, usize, Duration) -> Taken>;
type Count = Box<dyn FnMut(&Sides, usize, u64)>;

/// Something that is measured in calls.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    turn: Turn,
    /// The same without a clock, if allocations can be counted in it.
    count: Option<Count>,
    served: Served,
    latencies: Rc<RefCell<Vec<u64>>>,
    _kept: Box<dyn Any>,
}

impl Subject {
    /// By its caller, the counter of its server, and whatever must live as long.
    pub(crate) fn new<C: Caller>(
        name: &'static str,
        caller: C,
        served: Served,
        kept: impl Any,
    ) -> Self {
        let again = caller.clone();
        let count: Count = Box::new(move |sides, depth, each| {
            sides.client.run(counted_loops(again.clone(), depth, each));
        });
        let turn = move |sides: &Sides, depth, time| {
            sides.client.run(closed_loops(caller.clone(), depth, time))
        };
        Self { count: Some(count), ..Self::raw(name, turn, served, kept) }
    }

    /// By a whole turn.
    pub(crate) fn raw(
        name: &'static str,
        turn: impl FnMut(&Sides, usize, Duration) -> Taken + 'static,
        served: Served,
        kept: impl Any,
    ) -> Self {
        let (turn, kept) = (Box::new(turn), Box::new(kept));
        Self { name, turn, count: None, served, latencies: Rc::default(), _kept: kept }
    }

    /// One turn; the server must have served what the client counted.
    pub(crate) fn turn(&mut self, sides: &Sides, depth: usize, time: Duration) -> Taken {
        let before = self.served.load(Ordering::SeqCst);
        let mut taken = (self.turn)(sides, depth, time);
        let served = self.served.load(Ordering::SeqCst) - before;
        assert_eq!(served, taken.count, "{} did other work than it says", self.name);
        self.latencies.borrow_mut().append(&mut taken.latencies);
        taken
    }

    /// So many calls in each of `depth` loops, without a clock.
    pub(crate) fn count(&mut self, sides: &Sides, depth: usize, each: u64) {
        let count = self.count.as_mut().expect("a subject that makes calls");
        count(sides, depth, each);
    }

    /// Latencies of all turns so far.
    pub(crate) fn latencies(&self) -> Rc<RefCell<Vec<u64>>> {
        self.latencies.clone()
    }
}
