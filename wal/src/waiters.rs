//! How far the log has got, and who waits for it: ordered lists woken by watermark.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::error::Failure;
use crate::lsn::ReadBound;
use crate::sync::Parked;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// A staged batch is durable.
    Durable(u64),
    /// A staged batch is written.
    Written(u64),
    /// A number is durable.
    Lsn(u64),
    /// A number can be read up to this bound. Nothing is committed for the sake of it.
    Readable(ReadBound, u64),
}

/// The last place that a sync proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DurablePlace {
    pub(crate) seq: u64,
    pub(crate) salt: u64,
    pub(crate) off: u32,
    pub(crate) lsn: u64,
}

/// A registered waker, to be taken back when its future is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterKey {
    goal: Goal,
    id: u64,
}

/// Who waits.
#[derive(Clone, Debug)]
pub(crate) enum Waiter {
    Task(Waker),
    Thread(Arc<Parked>),
}

impl Waiter {
    /// Tells a waiter that its goal is reached.
    pub(crate) fn done(self) {
        match self {
            Self::Task(waker) => waker.wake(),
            Self::Thread(parked) => parked.done(),
        }
    }

    /// Tells a waiter to look again.
    pub(crate) fn look(self) {
        match self {
            Self::Task(waker) => waker.wake(),
            Self::Thread(parked) => parked.look(),
        }
    }
}

/// Lists ordered by what is waited for.
type List = BTreeMap<(u64, u64), Waiter>;

/// The shared progress of a log.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Somebody commits a group at this moment.
    pub(crate) leading: bool,
    /// The commit thread is asked to lead.
    pub(crate) asked: bool,
    pub(crate) failed: Option<Arc<Failure>>,
    pub(crate) closed: bool,
    pub(crate) durable_ticket: u64,
    pub(crate) written_ticket: u64,
    pub(crate) durable_lsn: u64,
    pub(crate) written_lsn: u64,
    /// The high-water mark as those who wait for it know it; see `raise_high`.
    pub(crate) high_lsn: u64,
    pub(crate) place: DurablePlace,
    /// How long the last sync took.
    pub(crate) sync_time: Duration,
    /// How many waiters the last group released: as many are expected to come back.
    pub(crate) released: u64,
    /// Room may have become free: generation of `room` wake-ups.
    pub(crate) room_epoch: u64,
    durable: List,
    written: List,
    lsns: List,
    /// Those who follow the log, by what they may read.
    tails: [List; 3],
    room: BTreeMap<u64, Waker>,
    next_id: u64,
}

/// Who is expected to stage again before the next group is taken, and how long that may last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) expected: u64,
    pub(crate) limit: Duration,
}

impl Progress {
    /// The caller leads from here on; it calls `Core::lead` in every case.
    pub(crate) fn begin_leading(&mut self) -> Crowd {
        self.leading = true;
        Crowd { expected: self.released, limit: self.sync_time / 4 }
    }

    pub(crate) const fn reached(&self, goal: Goal) -> bool {
        match goal {
            Goal::Durable(ticket) => self.durable_ticket >= ticket,
            Goal::Written(ticket) => self.written_ticket >= ticket,
            Goal::Lsn(lsn) => self.durable_lsn >= lsn,
            Goal::Readable(bound, lsn) => self.readable(bound) >= lsn,
        }
    }

    const fn readable(&self, bound: ReadBound) -> u64 {
        match bound {
            ReadBound::Durable => self.durable_lsn,
            ReadBound::High => self.high_lsn,
            ReadBound::Written => self.written_lsn,
        }
    }

    fn list(&mut self, goal: Goal) -> (&mut List, u64) {
        match goal {
            Goal::Durable(n) => (&mut self.durable, n),
            Goal::Written(n) => (&mut self.written, n),
            Goal::Lsn(n) => (&mut self.lsns, n),
            Goal::Readable(bound, n) => (&mut self.tails[class(bound)], n),
        }
    }

    /// Registers `waker`, in the place of an earlier registration if there is one.
    pub(crate) fn register(
        &mut self,
        goal: Goal,
        key: Option<WaiterKey>,
        waker: &Waker,
    ) -> WaiterKey {
        self.next_id += 1;
        let fresh = self.next_id;
        let (list, n) = self.list(goal);
        // A caller without a key that polls again takes the place of its earlier registration.
        let again = || list.range((n, 0)..=(n, u64::MAX)).find(|(_, w)| is_for(w, waker));
        let id = key.map_or_else(|| again().map_or(fresh, |(&(_, id), _)| id), |key| key.id);
        list.insert((n, id), Waiter::Task(waker.clone()));
        WaiterKey { goal, id }
    }

    /// Registers a thread; whoever tells it news takes it off the list.
    pub(crate) fn park(&mut self, goal: Goal, parked: &Arc<Parked>) {
        self.next_id += 1;
        let id = self.next_id;
        let (list, n) = self.list(goal);
        list.insert((n, id), Waiter::Thread(Arc::clone(parked)));
    }

    /// A blocking caller whose batch is staged: it can lead the next group.
    pub(crate) fn take_heir(&mut self) -> Option<Waiter> {
        for list in [&mut self.durable, &mut self.written] {
            let mut threads = list.iter().filter(|(_, w)| matches!(w, Waiter::Thread(_)));
            if let Some(key) = threads.next().map(|(&key, _)| key) {
                return list.remove(&key);
            }
        }
        None
    }

    /// Takes a registration back (H33).
    pub(crate) fn forget(&mut self, key: WaiterKey) {
        let (list, n) = self.list(key.goal);
        list.remove(&(n, key.id));
    }

    pub(crate) fn register_room(&mut self, id: Option<u64>, waker: &Waker) -> u64 {
        let id = id.unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id
        });
        self.room.insert(id, waker.clone());
        id
    }

    pub(crate) fn forget_room(&mut self, id: u64) {
        self.room.remove(&id);
    }

    /// Whether anybody waits for a group that can come now, with numbers up to `staged` staged:
    /// who waits for a number that nobody staged yet is no reason to commit over and over.
    pub(crate) fn has_waiters(&self, staged: u64) -> bool {
        let number = self.lsns.first_key_value().is_some_and(|(&(lsn, _), _)| lsn <= staged);
        !(self.durable.is_empty() && self.written.is_empty()) || number
    }

    /// How many wakers are registered.
    pub(crate) fn waiters(&self) -> usize {
        let tails: usize = self.tails.iter().map(BTreeMap::len).sum();
        self.durable.len() + self.written.len() + self.lsns.len() + self.room.len() + tails
    }

    /// Those who follow the log and have something to read now. They stage nothing in return, so
    /// they are not counted as released writers.
    pub(crate) fn take_tails(&mut self) -> Vec<Waiter> {
        let mut ready = Vec::new();
        for bound in [ReadBound::Durable, ReadBound::High, ReadBound::Written] {
            let mark = self.readable(bound);
            take_up_to(&mut self.tails[class(bound)], mark, &mut ready);
        }
        ready
    }

    /// The waiters whose goal is reached.
    pub(crate) fn take_ready(&mut self) -> Vec<Waiter> {
        let mut ready = Vec::new();
        take_up_to(&mut self.durable, self.durable_ticket, &mut ready);
        take_up_to(&mut self.written, self.written_ticket, &mut ready);
        take_up_to(&mut self.lsns, self.durable_lsn, &mut ready);
        ready
    }

    /// All waiters: the log stopped, everybody gets an answer (H18).
    pub(crate) fn take_all(&mut self) -> Vec<Waiter> {
        let lists = [&mut self.durable, &mut self.written, &mut self.lsns];
        let lists = lists.into_iter().chain(&mut self.tails);
        let mut all: Vec<Waiter> =
            lists.flat_map(|list| std::mem::take(list).into_values()).collect();
        self.room_epoch += 1;
        all.extend(std::mem::take(&mut self.room).into_values().map(Waiter::Task));
        all
    }

    /// The wakers of those who wait for room.
    pub(crate) fn take_room(&mut self) -> Vec<Waker> {
        self.room_epoch += 1;
        std::mem::take(&mut self.room).into_values().collect()
    }
}

const fn class(bound: ReadBound) -> usize {
    match bound {
        ReadBound::Durable => 0,
        ReadBound::High => 1,
        ReadBound::Written => 2,
    }
}

fn is_for(waiter: &Waiter, waker: &Waker) -> bool {
    matches!(waiter, Waiter::Task(known) if known.will_wake(waker))
}

fn take_up_to(list: &mut List, mark: u64, ready: &mut Vec<Waiter>) {
    if list.first_key_value().is_none_or(|(&(goal, _), _)| goal > mark) {
        return;
    }
    let rest = list.split_off(&(mark + 1, 0));
    ready.extend(std::mem::replace(list, rest).into_values());
}
