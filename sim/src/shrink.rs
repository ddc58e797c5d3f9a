//! A shorter run that fails with the same checker.
//!
//! Every candidate is run; one that fails differently, or not at all, is thrown away, so that the
//! search never wanders to another bug (H19).

use crate::campaign::{Attempt, Setting};
use crate::{Fault, Plan, Plane, Shape};

/// Runs that shrinking may take.
const RUNS_MAX: u32 = 200;

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
        let last = self.plan().steps.last().map(|(at, _)| at.since(crate::SimTime::ZERO));
        let chaos = last.unwrap_or_default() + std::time::Duration::from_millis(1);
        if chaos < self.best.0.chaos {
            let candidate = Setting { chaos, ..self.best.0.clone() };
            self.takes(candidate);
        }
    }

    /// Fewer clients that ask less may be all that keeps a world from what its workload waits for.
    fn needs_clients(&self) -> bool {
        self.checker == "liveness" || self.checker.starts_with("eventually ")
    }

    fn drop_clients(&mut self) {
        if self.needs_clients() {
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
        if self.needs_clients() {
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
