//! [`Host`]: all an async node has.

use crate::clock::NodeClock;
use crate::disk::{SimDisk, SimVfs};
use crate::executor::Executor;
use crate::runtime::{Deadlines, SimRuntime};
use crate::transport::{Port, SimTransport};
use crate::worker::{TurnFn, Unpark};
use crate::{Rng, SimTime};
use quorate_clocks::{BoundedClock, Clock, Monotonic};
use quorate_transport::{Incarnation, NodeId, Runtime, Transport};
use quorate_wal::Turn;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All an async node has: transport, runtime, clocks, disk, and its words to the checkers.
///
/// The node's own code runs unchanged: what differs from production are the three constructors
/// that take [`transport`](Self::transport), [`runtime`](Self::runtime) and [`vfs`](Self::vfs).
///
/// # Shape
/// Belongs to one life of the node: after its crash nothing done with it has an effect.
///
/// # Examples
/// ```
/// use quorate_sim::{ChannelId, NodeId, Sim, SimConfig};
/// use quorate_transport::{CallOptions, ChannelOptions, Endpoint, EndpointConfig, Inbound};
/// use std::time::Duration;
///
/// const ECHO: ChannelId = ChannelId::new(16);
/// let mut sim = Sim::new(SimConfig::lan(7).build()?);
/// sim.add_async(NodeId::new(1), |host| Box::pin(async move {
///     let config = EndpointConfig::default();
///     let endpoint = Endpoint::start_with(host.transport(), host.runtime(), config).unwrap();
///     let mut calls = endpoint.channel(ECHO, ChannelOptions::new()).unwrap();
///     while let Some(inbound) = calls.recv().await {
///         if let Inbound::Call { body, reply, .. } = inbound {
///             let _ = reply.reply(body);
///         }
///     }
/// }));
/// sim.add_async(NodeId::new(2), |host| Box::pin(async move {
///     let config = EndpointConfig::default();
///     let endpoint = Endpoint::start_with(host.transport(), host.runtime(), config).unwrap();
///     let echo = endpoint.channel(ECHO, ChannelOptions::new()).unwrap();
///     let within = CallOptions::within(Duration::from_secs(1));
///     if echo.call(NodeId::new(1), b"hi", within).await.is_ok() {
///         host.reached("answered");
///     }
/// }));
/// sim.run_for(Duration::from_secs(5))?;
/// assert_eq!(sim.coverage().mark("answered"), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Host {
    pub(crate) shared: Arc<Shared>,
}

/// What one life of an async node shares with the world.
pub(crate) struct Shared {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    /// True time, with what the running poll has cost.
    pub(crate) now: Arc<AtomicU64>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) disk: SimDisk,
    pub(crate) vfs: SimVfs,
    pub(crate) alive: Arc<AtomicBool>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) deadlines: Deadlines,
    pub(crate) port: Port,
    seeds: Mutex<Rng>,
    said: Mutex<Vec<(SimTime, Said)>>,
    workers: Mutex<Vec<Option<TurnFn>>>,
}

/// Something an async node said, not yet told.
#[derive(Debug)]
pub(crate) enum Said {
    Fact { name: &'static str, key: u64, value: u128 },
    Believe { name: &'static str, key: u64, until: Monotonic },
    Disown { name: &'static str, key: u64 },
    Reached { mark: &'static str },
    Note(String),
}

/// What the world gives a new life.
pub(crate) struct Birth {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) now: Arc<AtomicU64>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) disk: SimDisk,
    pub(crate) executor: Executor,
    pub(crate) port: Port,
    pub(crate) seeds: Rng,
}

impl Shared {
    pub(crate) fn new(birth: Birth) -> Self {
        let Birth { id, incarnation, now, clock, disk, executor, port, seeds } = birth;
        Self {
            id,
            incarnation,
            now,
            clock,
            vfs: disk.vfs(),
            disk,
            alive: Arc::new(AtomicBool::new(true)),
            executor: Arc::new(executor),
            deadlines: Deadlines::default(),
            port,
            seeds: Mutex::new(seeds),
            said: Mutex::default(),
            workers: Mutex::default(),
        }
    }

    /// The moment of this line: the beginning of the poll and what it has cost so far.
    pub(crate) fn time(&self) -> SimTime {
        SimTime::from_nanos(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn seed(&self) -> u64 {
        lock(&self.seeds).word()
    }

    /// Whether what it does still has an effect. // H7
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed) && !self.disk.is_dying()
    }

    /// From here on nothing has an effect.
    pub(crate) fn kill(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.port.kill();
        self.executor.kill();
    }

    pub(crate) fn take_said(&self) -> Vec<(SimTime, Said)> {
        std::mem::take(&mut *lock(&self.said))
    }

    /// Workers made since the last time.
    pub(crate) fn take_workers(&self) -> Vec<TurnFn> {
        lock(&self.workers).iter_mut().filter_map(Option::take).collect()
    }

    fn say(&self, said: Said) {
        if self.is_alive() {
            let at = self.time();
            lock(&self.said).push((at, said));
            self.executor.stir_up();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// Who this is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// Which life of it; every start has a higher one.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// The transport of this life: the same one each time.
    #[must_use]
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(SimTransport::new(Arc::clone(&self.shared)))
    }

    /// Executor, clock, timers and seeds.
    #[must_use]
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(SimRuntime::new(Arc::clone(&self.shared)))
    }

    /// Both clocks.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock) as Arc<dyn Clock>
    }

    /// The wall clock with its error.
    #[must_use]
    pub fn bounded(&self) -> Arc<dyn BoundedClock> {
        Arc::clone(&self.shared.clock) as Arc<dyn BoundedClock>
    }

    /// The disk of this life. Every operation of a task costs the node its time; those of a
    /// [`worker`](Self::worker) cost the worker's.
    #[must_use]
    pub fn vfs(&self) -> SimVfs {
        self.shared.vfs.clone()
    }

    /// True time. For histories only: a node that acts on it proves nothing.
    #[must_use]
    pub fn true_time(&self) -> SimTime {
        self.shared.time()
    }

    /// Whether this life goes on, for recorders:
    /// [`Recorder::while_alive`](crate::Recorder::while_alive).
    #[must_use]
    pub fn alive(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.alive)
    }

    /// Something the checkers of this name are told.
    pub fn fact(&self, name: &'static str, key: u64, value: u128) {
        self.shared.say(Said::Fact { name, key, value });
    }

    /// The node acts from now on as the only one that holds `key`, until `until` on its clock.
    pub fn believe(&self, name: &'static str, key: u64, until: Monotonic) {
        self.shared.say(Said::Believe { name, key, until });
    }

    /// The node no longer acts as if it held `key`.
    pub fn disown(&self, name: &'static str, key: u64) {
        self.shared.say(Said::Disown { name, key });
    }

    /// A place in the code that a campaign has to reach.
    pub fn reached(&self, mark: &'static str) {
        self.shared.say(Said::Reached { mark });
    }

    /// A line for whoever reads a failure.
    pub fn note(&self, text: impl Into<String>) {
        self.shared.say(Said::Note(text.into()));
    }

    /// A worker stands for a dedicated thread: it has its own time, so that a slow disk does not
    /// stop the rest of the node. Each turn takes as long as a sync, and a stall that waits for the
    /// disk; what it does is done when that time is over, so that a crash before means that nothing
    /// was written. If its operations take longer than that sync, the worker is busy for the rest,
    /// and whoever it woke is woken then.
    ///
    /// # Examples
    /// A log without threads of its own:
    /// ```
    /// use quorate_sim::Host;
    /// use quorate_wal::{Config, Driver, Turn, Wal};
    /// use std::sync::{Arc, OnceLock};
    ///
    /// fn open(host: &Host) -> Result<Arc<OnceLock<Wal>>, Box<dyn std::error::Error>> {
    ///     let log = Arc::new(OnceLock::<Wal>::new());
    ///     let of_worker = Arc::clone(&log);
    ///     let turn = move || of_worker.get().map_or(Turn::Park, |log| log.turn());
    ///     let unpark = host.worker("log", turn);
    ///     let config = Config::embedded().driver(Driver::manual(move || unpark.unpark()));
    ///     let (disk, config) = (Arc::new(host.vfs()), config.build()?);
    ///     let (wal, _) = Wal::open_on(disk, "log".as_ref(), config, None)?;
    ///     let _ = log.set(wal);
    ///     Ok(log)
    /// }
    /// # let _ = open;
    /// ```
    pub fn worker(
        &self,
        name: &'static str,
        turn: impl FnMut() -> Turn + Send + 'static,
    ) -> Unpark {
        let mut workers = lock(&self.shared.workers);
        workers.push(Some(Box::new(turn)));
        let worker = workers.len() - 1;
        drop(workers);
        self.note(format!("worker {name}"));
        let executor = Arc::clone(&self.shared.executor);
        executor.unpark(worker);
        Unpark { executor, worker }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { id, incarnation, .. } = &*self.shared;
        f.debug_struct("Host").field("id", id).field("incarnation", incarnation).finish()
    }
}
