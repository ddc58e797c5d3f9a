//! A runtime of the tests' own: one thread, a clock that jumps to the next deadline.

use quorate_clocks::{ManualClock, WallTime};
use quorate_transport::*;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

pub const CLUSTER: ClusterId = ClusterId::new(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
pub const CHANNEL: ChannelId = ChannelId::new(16);

pub fn node(n: u64) -> NodeId {
    NodeId::new(n)
}

pub fn identity(n: u64, incarnation: u64) -> Identity {
    Identity::new(CLUSTER, node(n), Incarnation::new(incarnation))
}

pub fn seconds(n: u64) -> CallOptions {
    CallOptions::within(Duration::from_secs(n))
}

/// Virtual time: `block_on` runs every ready task, then lets the clock jump to the next timer.
#[derive(Clone)]
pub struct Virtual(Arc<Inner>);

struct Inner {
    manual: ManualClock,
    clock: Arc<dyn Clock>,
    tasks: Mutex<Vec<Option<Task>>>,
    ready: Arc<Mutex<VecDeque<usize>>>,
    timers: Arc<Mutex<Vec<(Monotonic, Waker)>>>,
    seed: AtomicU64,
}

struct Ready {
    index: usize,
    queue: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.queue.lock().unwrap().push_back(self.index);
    }
}

impl Virtual {
    pub fn new() -> Self {
        let manual = ManualClock::new(WallTime::EPOCH);
        manual.advance(Duration::from_secs(1));
        Self(Arc::new(Inner {
            clock: Arc::new(manual.clone()),
            manual,
            tasks: Mutex::default(),
            ready: Arc::default(),
            timers: Arc::default(),
            seed: AtomicU64::new(1),
        }))
    }

    pub fn arc(&self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }

    /// Runs what is ready; time stands still.
    pub fn run(&self) {
        loop {
            let Some(index) = self.0.ready.lock().unwrap().pop_front() else { return };
            let Some(mut task) = self.0.tasks.lock().unwrap()[index].take() else { continue };
            let queue = self.0.ready.clone();
            let waker = Waker::from(Arc::new(Ready { index, queue }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                self.0.tasks.lock().unwrap()[index] = Some(task);
            }
        }
    }

    /// Lets time pass in one leap, as after a suspend, then runs what is due.
    pub fn leap(&self, d: Duration) {
        self.0.manual.advance(d);
        self.fire();
        self.run();
    }

    /// Lets time pass from timer to timer.
    pub fn advance(&self, d: Duration) {
        let end = self.now().saturating_add(d);
        self.run();
        while let Some(next) = self.next_timer().filter(|at| *at <= end) {
            self.0.manual.advance(next.since(self.now()));
            self.fire();
            self.run();
        }
        self.0.manual.advance(end.since(self.now()));
    }

    fn next_timer(&self) -> Option<Monotonic> {
        self.0.timers.lock().unwrap().iter().map(|(at, _)| *at).min()
    }

    fn fire(&self) {
        let now = self.now();
        let due: Vec<_> = self.0.timers.lock().unwrap().extract(|(at, _)| *at <= now);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Runs a future to its end, jumping to timers whenever nothing else can run.
    pub fn block_on<F: Future>(&self, f: F) -> F::Output {
        let mut f = pin!(f);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        loop {
            let before = wakes.count();
            if let Poll::Ready(out) = f.as_mut().poll(&mut Context::from_waker(&waker)) {
                return out;
            }
            self.run();
            if wakes.count() > before {
                continue;
            }
            let next = self.next_timer().expect("nothing will ever wake this future");
            self.0.manual.advance(next.since(self.now()));
            self.fire();
            self.run();
        }
    }
}

trait Extract<T>: Sized {
    fn extract(&mut self, goes: impl Fn(&T) -> bool) -> Self;
}

impl<T> Extract<T> for Vec<T> {
    fn extract(&mut self, goes: impl Fn(&T) -> bool) -> Self {
        let (out, rest) = std::mem::take(self).into_iter().partition(|item| goes(item));
        *self = rest;
        out
    }
}

impl Runtime for Virtual {
    fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    fn spawn(&self, _name: &'static str, task: Task) {
        let mut tasks = self.0.tasks.lock().unwrap();
        tasks.push(Some(task));
        self.0.ready.lock().unwrap().push_back(tasks.len() - 1);
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(VirtualTimer { clock: self.0.clock.clone(), timers: self.0.timers.clone() })
    }

    fn seed(&self) -> u64 {
        self.0.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

struct VirtualTimer {
    clock: Arc<dyn Clock>,
    timers: Arc<Mutex<Vec<(Monotonic, Waker)>>>,
}

impl Timer for VirtualTimer {
    fn poll_at(&mut self, deadline: Monotonic, cx: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.timers.lock().unwrap();
        timers.retain(|(_, waker)| !waker.will_wake(cx.waker()));
        if self.clock.monotonic() >= deadline {
            return Poll::Ready(());
        }
        if deadline < Monotonic::FAR_FUTURE {
            timers.push((deadline, cx.waker().clone()));
        }
        Poll::Pending
    }
}

/// A network of endpoints in memory on virtual time.
pub struct Net {
    pub rt: Virtual,
    pub network: MemoryNetwork,
}

impl Net {
    pub fn new() -> Self {
        Self { rt: Virtual::new(), network: MemoryNetwork::new() }
    }

    pub fn endpoint(&self, n: u64) -> Endpoint {
        self.endpoint_with(identity(n, 1), EndpointConfig::default())
    }

    pub fn endpoint_with(&self, identity: Identity, config: EndpointConfig) -> Endpoint {
        Endpoint::start_with(self.network.node(identity), self.rt.arc(), config).unwrap()
    }

    pub fn channel(&self, endpoint: &Endpoint) -> Channel {
        endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap()
    }
}

/// Counts how often a task was woken.
#[derive(Default)]
pub struct Wakes(AtomicU64);

impl Wakes {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// How often everything happened in a campaign: a number per name.
macro_rules! counts {
    ($counts:ident: $($name:ident),* $(,)?) => {
        /// How often everything happened.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $counts {
            $(pub $name: u64,)*
        }

        impl $counts {
            pub fn add(&mut self, more: &Self) {
                $(self.$name += more.$name;)*
            }

            /// What never happened.
            pub fn silent(&self) -> Vec<&'static str> {
                let mut silent = Vec::new();
                $(if self.$name == 0 { silent.push(stringify!($name)); })*
                silent
            }
        }

        impl std::fmt::Display for $counts {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(writeln!(f, "  {:<24} {}", stringify!($name), self.$name)?;)*
                Ok(())
            }
        }
    };
}
pub(crate) use counts;
