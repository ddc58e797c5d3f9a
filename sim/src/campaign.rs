//! [`Campaign`]: the same world under many seeds, with chaos first and a heal after it.

mod attempt;
mod environment;
mod failure;
mod report;

pub use failure::{Caught, Failure, FailureKind, NotCaught};
pub use report::Report;

use crate::replay::PlanFile;
use crate::shrink::shrink;
use crate::{Class, Coverage, Sim, SimConfig, Swarm};
pub(crate) use attempt::{Attempt, Setting};
use environment::Environment;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a campaign runs: who is in the world, and what has to hold in the end.
///
/// # Examples
/// See [`Campaign`].
/// ```
/// use quorate_sim::{Sim, Workload};
///
/// struct Nothing;
/// impl Workload for Nothing {
///     fn setup(&mut self, _: &mut Sim) {}
///     fn healed(&mut self, _: &mut Sim) -> Result<bool, String> {
///         Ok(true)
///     }
/// }
/// # let _ = Nothing;
/// ```
pub trait Workload {
    /// Adds nodes, clients and checkers.
    fn setup(&mut self, sim: &mut Sim);

    /// Whether the world has recovered; asked every 100 ms after the heal until it has, or until
    /// its time is over, which is a failure of liveness. By default it has once all nodes
    /// run. // H14
    ///
    /// # Errors
    /// What can never come right any more.
    fn healed(&mut self, sim: &mut Sim) -> Result<bool, String> {
        let _ = sim;
        Ok(true)
    }

    /// The last look, before that of the checkers.
    ///
    /// # Errors
    /// What is wrong.
    fn finish(&mut self, sim: &mut Sim) -> Result<(), String> {
        let _ = sim;
        Ok(())
    }
}

type Make<W> = Box<dyn Fn(u64) -> W + Send + Sync>;
type Configure = Box<dyn Fn(u64) -> SimConfig + Send + Sync>;

/// Many runs of one workload: for each seed a plan of faults, chaos, a heal, and the verdict.
///
/// # Shape
/// Seeds run in parallel and are reported in order. The first failing seed is shrunk and written
/// to a plan file. A campaign that never made an enabled class effective, or never reached a
/// required mark, fails as [`FailureKind::Vacuous`]. // H3
///
/// `QUORATE_SEEDS=N` runs so many seeds, `QUORATE_SEED=K` runs one, `QUORATE_JOBS=N` uses so many
/// threads, `QUORATE_REPLAY=file` replays a plan file, `QUORATE_TRACE=path` writes what happened.
///
/// # Examples
/// ```
/// use quorate_sim::*;
/// use std::time::Duration;
///
/// /// Tells its neighbour once a second which life it is in.
/// struct Beat { to: NodeId, next: Monotonic }
/// impl Node for Beat {
///     fn on_message(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {
///         ctx.reached("heard");
///     }
///     fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
///         let _ = ctx.send(self.to, Lane::Control, ChannelId::new(16), Bytes::new());
///         self.next = ctx.now().saturating_add(Duration::from_millis(100));
///     }
///     fn poll_timeout(&self) -> Option<Monotonic> {
///         Some(self.next)
///     }
/// }
///
/// struct Pair;
/// impl Workload for Pair {
///     fn setup(&mut self, sim: &mut Sim) {
///         for (id, to) in [(1, 2), (2, 1)] {
///             sim.add(NodeId::new(id), move |ctx| Beat { to: NodeId::new(to), next: ctx.now() });
///         }
///         sim.add_checker(Eventually::new("heard", Duration::from_secs(10)));
///     }
///     fn healed(&mut self, _: &mut Sim) -> Result<bool, String> {
///         Ok(true)
///     }
/// }
///
/// let report = Campaign::new("pair", |_seed| Pair)
///     .seeds(20)
///     .swarm(Swarm::quiet().only(&[Class::Crash, Class::Partition, Class::Pause]))
///     .require(&["heard"])
///     .run()?;
/// assert_eq!(report.seeds, 20);
/// # Ok::<(), Box<Failure>>(())
/// ```
#[must_use = "nothing runs before `run`"]
pub struct Campaign<W> {
    pub(crate) name: String,
    make: Make<W>,
    configure: Configure,
    seeds: u64,
    only: Option<u64>,
    swarm: Swarm,
    chaos: Duration,
    heal: Duration,
    require: Vec<&'static str>,
    shrinks: bool,
}

impl<W> std::fmt::Debug for Campaign<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Campaign")
            .field("name", &self.name)
            .field("seeds", &self.seeds)
            .field("swarm", &self.swarm)
            .finish_non_exhaustive()
    }
}

impl<W: Workload> Campaign<W> {
    /// Of this name, which names its plan files; `make` makes the workload of a seed.
    pub fn new(name: &str, make: impl Fn(u64) -> W + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            make: Box::new(make),
            configure: Box::new(lan),
            seeds: 100,
            only: None,
            swarm: Swarm::default(),
            chaos: Duration::from_secs(30),
            heal: Duration::from_secs(30),
            require: Vec::new(),
            shrinks: true,
        }
    }

    /// Default: 100 · how many seeds, from 0 on; `QUORATE_SEEDS` overrides it.
    pub const fn seeds(mut self, n: u64) -> Self {
        self.seeds = n;
        self
    }

    /// This seed alone, whatever it covers; `QUORATE_SEED` overrides it.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.only = Some(seed);
        self
    }

    /// Default: `Swarm::default()` · which faults.
    pub fn swarm(mut self, swarm: Swarm) -> Self {
        self.swarm = swarm;
        self
    }

    /// Default: [`SimConfig::lan`] · the world of a seed.
    pub fn config(mut self, configure: impl Fn(u64) -> SimConfig + Send + Sync + 'static) -> Self {
        self.configure = Box::new(configure);
        self
    }

    /// Default: 30 s · virtual time with faults · too short → shallow · too long → slow tests.
    pub const fn chaos(mut self, d: Duration) -> Self {
        self.chaos = d;
        self
    }

    /// Default: 30 s · virtual time in which the world has to recover · too short → failures that
    /// are none · too long → failures are found slowly.
    pub const fn heal(mut self, d: Duration) -> Self {
        self.heal = d;
        self
    }

    /// Marks that some seed has to reach.
    pub fn require(mut self, marks: &[&'static str]) -> Self {
        self.require.extend_from_slice(marks);
        self
    }

    /// Default: on · looks for a shorter plan that fails the same way.
    pub const fn shrink(mut self, on: bool) -> Self {
        self.shrinks = on;
        self
    }

    /// Runs all seeds.
    ///
    /// # Errors
    /// [`Failure`]: the lowest seed that failed, shrunk; or nothing failed and nothing was tested.
    pub fn run(&self) -> Result<Report, Box<Failure>> {
        let environment = Environment::read().map_err(|why| self.wrong_environment(why))?;
        if let Some(path) = &environment.replay {
            return self.replay(path, &environment);
        }
        let only = environment.seed.or(self.only);
        let (first, count) = match only {
            Some(seed) => (seed, 1),
            None => (0, environment.seeds.unwrap_or(self.seeds)),
        };
        let trace = environment.trace.as_deref().filter(|_| count == 1);
        let start = now();
        let attempts = self.attempts(first, count, environment.jobs, trace);
        let mut report = Report::new(&self.name);
        for (setting, attempt, wall) in attempts {
            if attempt.violation.is_some() {
                return Err(self.failed(setting, attempt, &environment));
            }
            report.add(setting.seed, &attempt, wall);
        }
        report.wall = start.elapsed();
        // One seed alone cannot be expected to cover everything.
        if only.is_none() {
            self.must_have_tested(&report.coverage)?;
        }
        Ok(report)
    }

    /// Runs one seed and returns the hash of its trace: the same each time and everywhere, or the
    /// code under test depends on something that the simulator does not steer.
    #[must_use]
    pub fn trace_hash(&self, seed: u64) -> u64 {
        self.attempt(&self.setting(seed), None).hash
    }

    /// Runs all seeds and prints how it went: the whole `main` of a program.
    #[expect(clippy::print_stdout, reason = "it is a program's")]
    #[must_use = "a failure is the exit status 1"]
    pub fn main(&self) -> ExitCode {
        match self.run() {
            Ok(report) => {
                println!("{report}passed");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
        }
    }

    /// For planted bugs: runs seeds until one fails, and shrinks it.
    ///
    /// # Errors
    /// [`NotCaught`] if none of the first `within` seeds fails.
    pub fn must_fail(&self, within: u64) -> Result<Caught, NotCaught> {
        let missed = |seeds, environment| {
            let campaign = self.name.clone();
            NotCaught { campaign, seeds, environment }
        };
        let jobs = Environment::read().map_err(|why| missed(0, Some(why)))?.jobs;
        for (setting, attempt, _) in self.attempts(0, within, jobs, None) {
            if attempt.violation.is_some() {
                let seeds_tried = setting.seed + 1;
                let (setting, attempt, runs) = self.shrunk(setting, attempt);
                return Ok(Caught::new(&self.name, seeds_tried, &setting, attempt, runs));
            }
        }
        Err(missed(within, None))
    }

    /// Runs one setting of one seed.
    pub(crate) fn attempt(&self, setting: &Setting, trace: Option<&std::path::Path>) -> Attempt {
        let config = (self.configure)(setting.seed);
        Attempt::run(config, setting, &self.swarm, trace, || (self.make)(setting.seed))
    }

    fn setting(&self, seed: u64) -> Setting {
        Setting::new(seed, self.chaos, self.heal)
    }

    /// Seeds in parallel, in order; nothing behind the first that fails.
    fn attempts(
        &self,
        first: u64,
        count: u64,
        jobs: Option<usize>,
        trace: Option<&std::path::Path>,
    ) -> Vec<(Setting, Attempt, Duration)> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let jobs = jobs.unwrap_or(cores).min(usize::try_from(count).unwrap_or(usize::MAX));
        let next = AtomicU64::new(0);
        // The lowest seed that has failed so far: higher ones are of no interest.
        let failed = AtomicU64::new(u64::MAX);
        let done = Mutex::new(Vec::new());
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count || number > failed.load(Ordering::Relaxed) {
                    return;
                }
                let setting = self.setting(first.wrapping_add(number));
                let start = now();
                let attempt = self.attempt(&setting, trace);
                let wall = start.elapsed();
                if attempt.violation.is_some() {
                    failed.fetch_min(number, Ordering::Relaxed);
                }
                let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                done.push((number, (setting, attempt, wall)));
            }
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..jobs).map(|_| scope.spawn(work)).collect();
            work();
            drop(others);
        });
        let failed = failed.into_inner();
        let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.retain(|(number, _)| *number <= failed);
        done.sort_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, attempt)| attempt).collect()
    }

    fn shrunk(&self, setting: Setting, attempt: Attempt) -> (Setting, Attempt, u32) {
        if !self.shrinks {
            return (Setting { plan: Some(attempt.plan.clone()), ..setting }, attempt, 0);
        }
        shrink(setting, attempt, &mut |setting| self.attempt(setting, None))
    }

    fn failed(&self, setting: Setting, attempt: Attempt, env: &Environment) -> Box<Failure> {
        let steps_before = attempt.plan.steps.len();
        let (setting, mut attempt, runs) = self.shrunk(setting, attempt);
        if env.trace.is_some() {
            attempt = self.attempt(&setting, env.trace.as_deref());
        }
        let file = PlanFile::of(&self.name, &setting, &attempt).write();
        Box::new(Failure::violation(&self.name, &setting, attempt, (steps_before, runs), file))
    }

    fn replay(
        &self,
        path: &std::path::Path,
        environment: &Environment,
    ) -> Result<Report, Box<Failure>> {
        let file = PlanFile::read(path).map_err(|why| self.wrong_environment(why))?;
        if file.name != self.name {
            let why = format!(
                "{} is a plan of campaign {:?}, this is {:?}: it does not reproduce here",
                path.display(),
                file.name,
                self.name
            );
            return Err(self.wrong_environment(why));
        }
        let setting = file.setting();
        let attempt = self.attempt(&setting, environment.trace.as_deref());
        let same = attempt.hash == file.hash;
        if attempt.violation.is_some() && same {
            let steps = attempt.plan.steps.len();
            let written = Ok(path.to_owned());
            let failure = Failure::violation(&self.name, &setting, attempt, (steps, 0), written);
            return Err(Box::new(failure));
        }
        Err(Box::new(Failure::unlike(&self.name, &file, &setting, attempt)))
    }

    fn wrong_environment(&self, why: String) -> Box<Failure> {
        Box::new(Failure::environment(&self.name, why))
    }

    /// Every class that was enabled has had an effect, every mark was reached.
    fn must_have_tested(&self, coverage: &Coverage) -> Result<(), Box<Failure>> {
        let idle = |class: &Class| coverage.class(*class).effective == 0;
        let classes: Vec<Class> = self.swarm.classes().filter(idle).collect();
        let missed = |mark: &&'static str| coverage.mark(mark) == 0;
        let marks: Vec<&'static str> = self.require.iter().copied().filter(missed).collect();
        if classes.is_empty() && marks.is_empty() {
            return Ok(());
        }
        Err(Box::new(Failure::vacuous(&self.name, classes, marks, coverage)))
    }
}

#[expect(clippy::expect_used, reason = "the presets are legal, a test holds them")]
fn lan(seed: u64) -> SimConfig {
    SimConfig::lan(seed).build().expect("presets are legal")
}

/// For reports only: no verdict depends on it.
#[expect(clippy::disallowed_methods, reason = "how long a campaign took is of interest")]
fn now() -> Instant {
    Instant::now()
}
