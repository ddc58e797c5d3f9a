//! How campaigns fail, and what planted bugs came to.

use super::{Attempt, Setting};
use crate::coverage::Coverage;
use crate::replay::{PlanFile, command};
use crate::{Class, Plan, Violation};
use std::fmt;
use std::path::PathBuf;

/// Why a campaign failed.
///
/// # Examples
/// ```
/// use quorate_sim::FailureKind;
/// let kind = FailureKind::Vacuous { classes: vec![], marks: vec!["leader_changed"] };
/// assert_ne!(kind, FailureKind::Environment("QUORATE_SEED: …".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// A seed failed.
    Violation(Violation),
    /// No seed failed, and not everything that was asked for was tested.
    Vacuous {
        /// Classes that were enabled and never had an effect.
        classes: Vec<Class>,
        /// Marks that were required and never reached.
        marks: Vec<&'static str>,
    },
    /// A variable of the environment, or the file it names, cannot be read.
    Environment(String),
    /// A plan file was replayed and ended differently.
    DoesNotReproduce(String),
}

/// A campaign failed: what, where, and how to see it again.
///
/// # Examples
/// See [`Campaign`](crate::Campaign); its `Display` is what a test prints.
/// ```
/// fn show(failure: &quorate_sim::Failure) -> String {
///     format!("{failure}")
/// }
/// # let _ = show;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The campaign.
    pub campaign: String,
    /// Why.
    pub kind: FailureKind,
    /// The seed; `None` if no single seed failed.
    pub seed: Option<u64>,
    /// The faults it takes, shrunk.
    pub plan: Plan,
    /// The hash of the run with that plan.
    pub hash: u64,
    /// The line that replays it.
    pub command: String,
    /// The newest events before the end.
    pub tail: String,
    /// Steps of the plan before it was shrunk, and runs that took.
    pub shrunk_from: (usize, u32),
    /// What was covered, of a vacuous campaign.
    pub coverage: Coverage,
}

impl Failure {
    fn new(campaign: &str, kind: FailureKind) -> Self {
        Self {
            campaign: campaign.to_owned(),
            kind,
            seed: None,
            plan: Plan::default(),
            hash: 0,
            command: String::new(),
            tail: String::new(),
            shrunk_from: (0, 0),
            coverage: Coverage::default(),
        }
    }

    pub(super) fn violation(
        campaign: &str,
        setting: &Setting,
        attempt: Attempt,
        shrunk_from: (usize, u32),
        file: std::io::Result<PathBuf>,
    ) -> Self {
        let command = match file {
            Ok(path) => command(&path),
            Err(error) => format!("(the plan was not written: {error})"),
        };
        let kind = attempt.violation.map_or_else(
            || FailureKind::DoesNotReproduce("the shrunk plan passes".to_owned()),
            FailureKind::Violation,
        );
        Self {
            seed: Some(setting.seed),
            plan: attempt.plan,
            hash: attempt.hash,
            command,
            tail: attempt.tail,
            shrunk_from,
            ..Self::new(campaign, kind)
        }
    }

    pub(super) fn vacuous(
        campaign: &str,
        classes: Vec<Class>,
        marks: Vec<&'static str>,
        coverage: &Coverage,
    ) -> Self {
        let kind = FailureKind::Vacuous { classes, marks };
        Self { coverage: coverage.clone(), ..Self::new(campaign, kind) }
    }

    pub(super) fn environment(campaign: &str, why: String) -> Self {
        Self::new(campaign, FailureKind::Environment(why))
    }

    /// A replay that ended differently: the code, or its version, is another.
    pub(super) fn unlike(
        campaign: &str,
        file: &PlanFile,
        setting: &Setting,
        attempt: Attempt,
    ) -> Self {
        let ended = match &attempt.violation {
            Some(violation) => format!("{violation}"),
            None => "it passes".to_owned(),
        };
        let version = if file.version == PlanFile::VERSION { "the same" } else { "another" };
        let why = format!(
            "hash {:#018x} instead of {:#018x} ({version} version of quorate-sim, so other code): \
             {ended}",
            attempt.hash, file.hash
        );
        Self {
            seed: Some(setting.seed),
            plan: attempt.plan,
            hash: attempt.hash,
            tail: attempt.tail,
            ..Self::new(campaign, FailureKind::DoesNotReproduce(why))
        }
    }

    /// The checker that failed, if one did.
    #[must_use]
    pub fn checker(&self) -> Option<&str> {
        match &self.kind {
            FailureKind::Violation(violation) => Some(&violation.checker),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.campaign;
        match &self.kind {
            FailureKind::Environment(why) => return write!(f, "campaign {name}: {why}"),
            FailureKind::Vacuous { classes, marks } => {
                writeln!(f, "campaign {name} is vacuous: no seed failed, but")?;
                for class in classes {
                    writeln!(f, "  {class} was enabled and never had an effect")?;
                }
                for mark in marks {
                    writeln!(f, "  {mark} was required and never reached")?;
                }
                return write!(f, "{}", self.coverage);
            }
            FailureKind::DoesNotReproduce(why) => {
                writeln!(f, "campaign {name} does not reproduce: {why}")?;
            }
            FailureKind::Violation(violation) => {
                writeln!(f, "campaign {name} failed with seed {}", self.seed.unwrap_or(0))?;
                writeln!(f, "  {violation}")?;
            }
        }
        let (before, runs) = self.shrunk_from;
        let steps = self.plan.steps.len();
        writeln!(f, "the plan, {steps} of {before} steps after {runs} runs:")?;
        for (at, fault) in &self.plan.steps {
            writeln!(f, "  {at} {fault}")?;
        }
        writeln!(f, "the newest events:")?;
        write!(f, "{}", self.tail)?;
        writeln!(f, "hash {:#018x}", self.hash)?;
        write!(f, "replay: {}", self.command)
    }
}

impl std::error::Error for Failure {}

/// A planted bug was caught.
///
/// # Examples
/// See [`Campaign::must_fail`](crate::Campaign::must_fail).
/// ```
/// fn line(name: &str, caught: &quorate_sim::Caught) -> String {
///     format!("caught {name} by {} after {} seeds", caught.checker, caught.seeds_tried)
/// }
/// # let _ = line;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Caught {
    /// The seed that caught it.
    pub seed: u64,
    /// How many seeds were tried, that one included.
    pub seeds_tried: u64,
    /// Who caught it.
    pub checker: String,
    /// What it said of the shrunk run.
    pub message: String,
    /// The faults it takes, shrunk.
    pub plan: Plan,
    /// The hash of the run with that plan.
    pub hash: u64,
    /// Runs that shrinking took.
    pub runs: u32,
    file: PlanFile,
}

impl Caught {
    pub(super) fn new(
        campaign: &str,
        seeds_tried: u64,
        setting: &Setting,
        attempt: Attempt,
        runs: u32,
    ) -> Self {
        let file = PlanFile::of(campaign, setting, &attempt);
        let (checker, message) = match attempt.violation {
            Some(violation) => (violation.checker, violation.message),
            None => (String::new(), String::new()),
        };
        let (seed, plan, hash) = (setting.seed, attempt.plan, attempt.hash);
        Self { seed, seeds_tried, checker, message, plan, hash, runs, file }
    }

    /// A plan file of this run, as `QUORATE_REPLAY` reads it.
    ///
    /// # Examples
    /// ```
    /// fn keep(caught: &quorate_sim::Caught) -> std::io::Result<()> {
    ///     std::fs::write("caught.plan", caught.plan_file())
    /// }
    /// # let _ = keep;
    /// ```
    #[must_use]
    pub fn plan_file(&self) -> String {
        self.file.to_text()
    }
}

/// No seed failed, although something is wrong on purpose.
///
/// # Examples
/// ```
/// fn show(missed: &quorate_sim::NotCaught) -> String {
///     missed.to_string()
/// }
/// # let _ = show;
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("campaign {campaign}: {}", .environment.as_ref().map_or_else(
    || format!("none of {seeds} seeds failed"), String::clone))]
#[non_exhaustive]
pub struct NotCaught {
    /// The campaign.
    pub campaign: String,
    /// How many were tried.
    pub seeds: u64,
    /// A variable of the environment that cannot be read; then nothing was run.
    pub environment: Option<String>,
}
