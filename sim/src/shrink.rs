//! A shorter run that fails with the same checker.
//!
//! Every candidate is run; one that fails differently, or not at all, is thrown away, so that the
//! search never wanders to another bug (H19).

use crate::campaign::{Attempt, Setting};
use crate::{Fault, Plan, Plane, Shape};
use std::time::Duration;

/// Runs that shrinking may take.
const RUNS_MAX: u32 = 200;
/// Chaos is not cut more finely than this.
const CHAOS_STEP: Duration = Duration::from_millis(100);

type Run<'a> = &'a mut dyn FnMut(&Setting) -> Attempt;

struct Shrinker<'a> {
    run: Run<'a>,
    runs: u32,
    checker: String,
    best: (Setting, Attempt),
}

/// The shortest setting found, how it ends, and how many runs that took.
pub(crate) fn shrink(setting: Setting, attempt: Attempt, run: Run<'_>) -> (Setting, Attempt, u32) {
    let checker = attempt.violation.as_ref().map(|violation| violation.checker.clone());
    let Some(checker) = checker else { return (setting, attempt, 0) };
    let setting = Setting { plan: Some(attempt.plan.clone()), ..setting };
    let mut shrinker = Shrinker { run, runs: 0, checker, best: (setting, attempt) };
    shrinker.cut_the_end();
    shrinker.drop_clients();
    shrinker.drop_classes();
    shrinker.drop_steps();
    shrinker.halve_operations();
    shrinker.simplify_shapes();
    shrinker.cut_chaos();
    // What was kept for the sake of something that went later may go now.
    shrinker.drop_single_steps();
    let (setting, attempt) = shrinker.best;
    (setting, attempt, shrinker.runs)
}

impl Shrinker<'_> {
    /// Takes the candidate over if it fails with the same checker.
    fn takes(&mut self, candidate: Setting) -> bool {
        if self.runs == RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let attempt = (self.run)(&candidate);
        let same = attempt.violation.as_ref().is_some_and(|found| found.checker == self.checker);
        if same {
            self.best = (candidate, attempt);
        }
        same
    }

    fn plan(&self) -> Plan {
        self.best.1.plan.clone()
    }

    fn takes_steps(&mut self, steps: Vec<(crate::SimTime, Fault)>) -> bool {
        let plan = Some(Plan { steps });
        let candidate = Setting { plan, ..self.best.0.clone() };
        self.takes(candidate)
    }

    /// Nothing after the violation matters, and often the rest of chaos does not either.
    fn cut_the_end(&mut self) {
        let at = self.best.1.violation.as_ref().map(|violation| violation.at);
        let mut steps = self.plan().steps;
        let before = steps.len();
        steps.retain(|(step, _)| at.is_none_or(|at| *step <= at));
        if steps.len() < before {
            self.takes_steps(steps);
        }
        let chaos = self.chaos_least();
        if chaos < self.best.0.chaos {
            self.takes_chaos(chaos);
        }
    }

    /// Until the last fault: none of them may come after the heal.
    fn chaos_least(&self) -> Duration {
        let last = self.plan().steps.last().map(|(at, _)| at.since(crate::SimTime::ZERO));
        last.unwrap_or_default() + Duration::from_millis(1)
    }

    fn takes_chaos(&mut self, chaos: Duration) -> bool {
        let candidate = Setting { chaos, ..self.best.0.clone() };
        self.takes(candidate)
    }

    /// What is judged when all is over shows best in a run that is over soon: halves what lies
    /// between the shortest chaos that fails and the longest that does not. Not if the world
    /// stopped before the heal anyway, and not if it did not recover: one that had less time to
    /// get going fails to recover for a reason of its own. // H19
    fn cut_chaos(&mut self) {
        let stopped = self.best.1.violation.as_ref().map(|violation| violation.at);
        let heal = crate::SimTime::ZERO.saturating_add(self.best.0.chaos);
        if self.is_progress() || stopped.is_some_and(|at| at < heal) {
            return;
        }
        let mut passes = self.chaos_least();
        if self.best.0.chaos <= passes || self.takes_chaos(passes) {
            return;
        }
        while self.best.0.chaos.saturating_sub(passes) > CHAOS_STEP && self.runs < RUNS_MAX {
            let between = passes + (self.best.0.chaos - passes) / 2;
            if !self.takes_chaos(between) {
                passes = between;
            }
        }
    }

    /// Whether it is about what has to happen in the end. Fewer clients that ask less, and less
    /// time, may be all that keeps a world from what its workload waits for.
    fn is_progress(&self) -> bool {
        self.checker == "liveness" || self.checker.starts_with("eventually ")
    }

    fn drop_clients(&mut self) {
        if self.is_progress() {
            return;
        }
        while self.best.1.clients > 1 {
            let clients_max = self.best.1.clients - 1;
            let candidate = Setting { clients_max, ..self.best.0.clone() };
            if !self.takes(candidate) {
                return;
            }
        }
    }

    /// Not of a world that does not recover: clients that stop are no progress either. // H19
    fn halve_operations(&mut self) {
        if self.is_progress() {
            return;
        }
        while self.best.1.operations_most > 1 {
            let operations_max = self.best.1.operations_most / 2;
            let candidate = Setting { operations_max, ..self.best.0.clone() };
            if !self.takes(candidate) {
                return;
            }
        }
    }

    /// Whole classes at once.
    fn drop_classes(&mut self) {
        for class in crate::Class::ALL {
            let steps = self.plan().steps;
            let kept: Vec<_> =
                steps.iter().filter(|(_, fault)| fault.class() != Some(class)).cloned().collect();
            if kept.len() < steps.len() {
                self.takes_steps(kept);
            }
        }
    }

    /// Delta debugging (Zeller & Hildebrandt 2002): ever smaller pieces, each taken out.
    fn drop_steps(&mut self) {
        let mut size = self.plan().steps.len().div_ceil(2);
        while size >= 1 && self.runs < RUNS_MAX {
            self.drop_pieces(size);
            if size == 1 {
                return;
            }
            size = size.div_ceil(2);
        }
    }

    fn drop_pieces(&mut self, size: usize) {
        let mut at = 0;
        loop {
            let mut steps = self.plan().steps;
            if at >= steps.len() || self.runs == RUNS_MAX {
                return;
            }
            let end = (at + size).min(steps.len());
            steps.drain(at..end);
            if !self.takes_steps(steps) {
                at += size;
            }
        }
    }

    /// Until no single step can go.
    fn drop_single_steps(&mut self) {
        loop {
            let before = self.plan().steps.len();
            self.drop_pieces(1);
            if self.plan().steps.len() == before || self.runs == RUNS_MAX {
                return;
            }
        }
    }

    fn simplify_shapes(&mut self) {
        for at in 0..self.plan().steps.len() {
            let steps = self.plan().steps;
            let Some((_, Fault::Partition { shape, plane })) = steps.get(at) else { continue };
            let mut candidates = Vec::new();
            if let Shape::Groups(groups) = shape {
                let alone = groups.iter().find(|group| group.len() == 1);
                candidates.extend(alone.map(|group| (Shape::Isolate(group[0]), *plane)));
            }
            if *plane != Plane::Both {
                candidates.push((shape.clone(), Plane::Both));
            }
            for (shape, plane) in candidates {
                let mut steps = steps.clone();
                steps[at].1 = Fault::Partition { shape, plane };
                if self.takes_steps(steps) {
                    break;
                }
            }
        }
    }
}
