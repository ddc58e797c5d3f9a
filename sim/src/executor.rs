//! The executor of one async node: which of its tasks are ready.
//!
//! The set of ready tasks makes the order of wake-ups within one poll irrelevant; which task is
//! polled next is drawn. A waker may be anywhere, so what it touches is shared.

use crate::SimTime;
use quorate_transport::Task;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

/// Nodes whose executors have something to do, for the world to look at.
#[derive(Debug, Default)]
pub(crate) struct Stirred(Mutex<Vec<u32>>);

impl Stirred {
    pub(crate) fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, place: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }
}

/// What wakers and spawners of one life of a node share with the world.
#[derive(Debug)]
pub(crate) struct Executor {
    place: u32,
    owner: ThreadId,
    /// Other threads may use the node: only the transport's conformance suite does.
    any_thread: bool,
    stirred: Arc<Stirred>,
    /// True time, with what the running poll has cost.
    now: Arc<AtomicU64>,
    dead: AtomicBool,
    state: Mutex<State>,
}

/// What there was to see at a look.
pub(crate) struct Look {
    pub(crate) spawned: Vec<(u64, Task)>,
    /// Workers that want a turn, and since when.
    pub(crate) workers: BTreeMap<usize, SimTime>,
    /// A task is ready.
    pub(crate) ready: bool,
}

/// Tasks that were woken, and workers.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    pub(crate) tasks: BTreeSet<u64>,
    pub(crate) workers: BTreeSet<usize>,
}

#[derive(Default)]
struct State {
    ready: BTreeSet<u64>,
    workers: BTreeMap<usize, SimTime>,
    /// Whoever is woken by a worker's turn, while it runs.
    held: Option<Woken>,
    spawned: Vec<(u64, Task)>,
    last: u64,
    stirred: bool,
    foreign: Option<String>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl State {
    fn wake(&mut self, task: u64) {
        self.held.as_mut().map_or(&mut self.ready, |held| &mut held.tasks).insert(task);
    }

    fn unpark(&mut self, worker: usize, now: SimTime) {
        if let Some(held) = &mut self.held {
            held.workers.insert(worker);
        } else {
            self.workers.entry(worker).or_insert(now);
        }
    }
}

impl Executor {
    pub(crate) fn new(
        place: u32,
        stirred: Arc<Stirred>,
        now: Arc<AtomicU64>,
        any_thread: bool,
    ) -> Self {
        let (owner, dead) = (thread::current().id(), AtomicBool::new(false));
        Self { place, owner, any_thread, stirred, now, dead, state: Mutex::default() }
    }

    fn now(&self) -> SimTime {
        SimTime::from_nanos(self.now.load(Ordering::Relaxed))
    }

    /// Nothing that belongs to this life has an effect any more. // H7
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
        let state = std::mem::take(&mut *self.state());
        // Dropped without the lock: tasks wake others when they go.
        drop(state);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub(crate) fn spawn(&self, task: Task) {
        self.check_thread("spawns on");
        if self.is_dead() {
            return;
        }
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        state.spawned.push((id, task));
        state.wake(id);
        self.stir(state);
    }

    pub(crate) fn unpark(&self, worker: usize) {
        self.check_thread("unparks a worker of");
        if !self.is_dead() {
            let mut state = self.state();
            state.unpark(worker, self.now());
            self.stir(state);
        }
    }

    /// Whoever is woken from here on is not, until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.state().held = Some(Woken::default());
    }

    /// Who was woken since [`hold`](Self::hold).
    pub(crate) fn take_held(&self) -> Woken {
        self.state().held.take().unwrap_or_default()
    }

    /// Now they are woken.
    pub(crate) fn release(&self, woken: Woken) {
        if !self.is_dead() {
            let mut state = self.state();
            state.ready.extend(woken.tasks);
            woken.workers.into_iter().for_each(|worker| state.unpark(worker, self.now()));
            self.stir(state);
        }
    }

    /// Something changed that the world has to look at.
    pub(crate) fn stir_up(&self) {
        self.stir(self.state());
    }

    fn stir(&self, mut state: MutexGuard<'_, State>) {
        if !std::mem::replace(&mut state.stirred, true) {
            drop(state);
            self.stirred.add(self.place);
        }
    }

    /// The world is about to look: what happens from here on has to stir it again.
    pub(crate) fn settle_down(&self) {
        self.state().stirred = false;
    }

    /// The world looks: what was spawned, and which workers want a turn.
    pub(crate) fn look(&self) -> Look {
        let mut state = self.state();
        Look {
            spawned: std::mem::take(&mut state.spawned),
            workers: std::mem::take(&mut state.workers),
            ready: !state.ready.is_empty(),
        }
    }

    /// One of the ready tasks, which is not ready any more.
    pub(crate) fn take_ready(&self, pick: impl FnOnce(usize) -> usize) -> Option<u64> {
        let mut state = self.state();
        let n = state.ready.len();
        let id = state.ready.iter().nth(pick(n)).copied()?;
        state.ready.remove(&id);
        Some(id)
    }

    pub(crate) fn waker(self: &Arc<Self>, task: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker { executor: Arc::clone(self), task }))
    }

    /// The thread that used this node although it is not the world's.
    pub(crate) fn foreign_thread(&self) -> Option<String> {
        self.state().foreign.clone()
    }

    /// What happens on another thread happens at no particular moment of the world: refused. // H21
    #[expect(clippy::panic, reason = "a rule for tests, which panics name best")]
    fn check_thread(&self, what: &str) {
        let thread = thread::current();
        if thread.id() == self.owner || self.any_thread || self.is_dead() {
            return;
        }
        let name = thread.name().unwrap_or("without a name").to_owned();
        let mut state = self.state();
        state.foreign = Some(name.clone());
        self.stir(state); // the world stops there too
        panic!("thread {name} {what} a simulated node: a node has no threads but workers");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct TaskWaker {
    executor: Arc<Executor>,
    task: u64,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.executor.check_thread("wakes a task of");
        if !self.executor.is_dead() {
            let mut state = self.executor.state();
            state.wake(self.task);
            self.executor.stir(state);
        }
    }
}
