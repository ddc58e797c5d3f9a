//! Time, and messages that are lost, late and doubled.

use crate::random::Random;
use quorate_hashring::{Epoch, Partition, Reject};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What happens at some time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// To a replica.
    Request(Request),
    /// A replica applies what it admitted.
    Apply {
        node: usize,
        life: u32,
        work: u64,
    },
    /// To the client of an operation.
    Answer {
        op: usize,
        node: usize,
        answer: Result<u64, Reject>,
    },
    /// The client gives those up that have not answered.
    Timeout {
        op: usize,
    },
    /// A client begins its next operation.
    Next {
        client: usize,
    },
    /// A committed view reaches a replica.
    View {
        node: usize,
        at: usize,
    },
    /// A view is on the disk of a replica.
    Durable {
        node: usize,
        life: u32,
        at: usize,
    },
    /// A replica reports to the authorities, deletes what it may, and sometimes asks for views.
    Tick {
        node: usize,
    },
    /// A report reaches the authorities.
    Ack {
        node: usize,
        epoch: Epoch,
    },
    /// A source reads what is to be copied.
    CopyRead {
        copy: usize,
        node: usize,
    },
    /// What it read reaches the one who copies.
    CopyData {
        copy: usize,
        node: usize,
        values: Vec<u64>,
    },
    /// The receiver merges it.
    CopyWrite {
        copy: usize,
        values: Vec<u64>,
    },
    /// It is done.
    Copied {
        copy: usize,
    },
    /// It took too long.
    CopyTimeout {
        copy: usize,
    },
    /// The authorities do what they can.
    Govern,
    Crash {
        node: usize,
    },
    Restart {
        node: usize,
    },
    /// Another authority takes over, the one before does not know.
    Replace,
    Abort,
}

/// A request of a coordinator to a replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) op: usize,
    pub(super) node: usize,
    pub(super) partition: Partition,
    pub(super) tag: Epoch,
    /// The epoch of the view of the coordinator.
    pub(super) view: Epoch,
    pub(super) key: usize,
    /// None: a read.
    pub(super) write: Option<u64>,
}

/// What is to happen, in the order of time.
pub(super) struct Net {
    pub(super) now: u64,
    pub(super) random: Random,
    /// Once in so many messages is lost, and once doubled; 0: never.
    pub(super) loss: usize,
    pub(super) double: usize,
    pub(super) delay_max: usize,
    order: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    number: u64,
}

impl Net {
    pub(super) fn new(mut random: Random) -> Self {
        let (loss, double) = (8 + random.below(40), 10 + random.below(40));
        let delay_max = 2 + random.below(30);
        let (order, events) = (BinaryHeap::new(), BTreeMap::new());
        Self { now: 0, random, loss, double, delay_max, order, events, number: 0 }
    }

    /// Happens for certain.
    pub(super) fn after(&mut self, delay: usize, event: Event) {
        self.number += 1;
        self.order.push(Reverse((self.now + delay as u64, self.number)));
        self.events.insert(self.number, event);
    }

    /// A message: it may be lost, late, or come twice.
    pub(super) fn send(&mut self, event: Event) {
        if self.loss > 0 && self.random.once_in(self.loss) {
            return;
        }
        if self.loss > 0 && self.random.once_in(self.double) {
            let late = 1 + self.random.below(self.delay_max * 8);
            self.after(late, event.clone());
        }
        let delay = 1 + self.random.below(self.delay_max);
        self.after(delay, event);
    }

    /// No faults from now on.
    pub(super) fn heal(&mut self) {
        self.loss = 0;
        self.delay_max = 2;
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        let Reverse((at, number)) = self.order.pop()?;
        self.now = at;
        self.events.remove(&number)
    }
}
