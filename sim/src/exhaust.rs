//! [`exhaust`]: every combination of answers, once each.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Answers questions of a run, differently in every run.
///
/// # Examples
/// ```
/// use quorate_sim::Gen;
/// // As printed by a run that failed: the same answers again.
/// let mut answers = Gen::answering(&[2, 1]);
/// assert_eq!((answers.below(3), answers.flip(), answers.below(9)), (2, true, 0));
/// ```
#[derive(Clone, Debug)]
pub struct Gen {
    /// The answer, and of how many it is one.
    answers: Vec<(u64, u64)>,
    /// The next question.
    at: usize,
    /// From here on the questions are new.
    given: usize,
}

impl Gen {
    /// With these answers first; then each question gets its first answer.
    #[must_use]
    pub fn answering(answers: &[u64]) -> Self {
        // The bounds are told by the questions.
        let answers: Vec<_> = answers.iter().map(|answer| (*answer, 0)).collect();
        Self { at: 0, given: answers.len(), answers }
    }

    /// A number below `n`; 0 if `n` is 0.
    ///
    /// # Panics
    /// If the run was given the same answers before and asked something else then: what it does
    /// must depend on the answers alone.
    pub fn below(&mut self, n: u64) -> u64 {
        if n <= 1 {
            return 0; // no question
        }
        if self.at == self.answers.len() {
            self.answers.push((0, n));
        }
        let (answer, of) = &mut self.answers[self.at];
        if self.at < self.given && *of == 0 && *answer < n {
            *of = n;
        }
        assert!(
            *of == n,
            "question {} had {of} answers, now it has {n}: the run depends on something else",
            self.at
        );
        self.at += 1;
        *answer
    }

    /// Yes or no.
    pub fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Any order.
    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        for last in (1..of.len()).rev() {
            let n = u64::try_from(last).unwrap_or(u64::MAX) + 1;
            let at = usize::try_from(self.below(n)).unwrap_or(last);
            of.swap(last, at);
        }
    }

    /// The answers given so far, for [`answering`](Self::answering).
    #[must_use]
    pub fn answers(&self) -> Vec<u64> {
        self.answers[..self.at].iter().map(|(answer, _)| *answer).collect()
    }

    /// The next combination, if there is one: the last answer that can be another is, and what
    /// followed it is asked anew.
    fn advance(&mut self) -> bool {
        assert!(
            self.at >= self.given,
            "the run asked {} questions, before it asked {}: it depends on something else",
            self.at,
            self.given
        );
        while let Some((answer, of)) = self.answers.pop() {
            if answer + 1 < of {
                self.answers.push((answer + 1, of));
                self.given = self.answers.len();
                self.at = 0;
                return true;
            }
        }
        false
    }
}

/// How far [`exhaust`] came.
///
/// # Examples
/// ```
/// use quorate_sim::exhaust;
/// let found = exhaust(4, |answers| _ = answers.below(5));
/// assert_eq!((found.runs, found.complete), (4, false));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is not complete proves nothing"]
#[non_exhaustive]
pub struct Exhausted {
    /// How many runs there were.
    pub runs: u64,
    /// Whether these were all.
    pub complete: bool,
}

/// Runs `run` with every combination of answers, once each, `runs_max` times at most.
///
/// The questions of a run may depend on the answers before. Small worlds can be searched
/// completely this way, where seeds only try.
///
/// # Cost
/// The product of the numbers of answers: a shuffle of 8 alone is 40,320 runs.
///
/// # Panics
/// If a run panics, with its answers. If a run asks something else than the run before did after
/// the same answers.
///
/// # Examples
/// ```
/// use quorate_sim::exhaust;
///
/// let mut seen = Vec::new();
/// let found = exhaust(1_000, |answers| {
///     let mut order = ['a', 'b', 'c'];
///     answers.shuffle(&mut order);
///     seen.push((order, answers.flip()));
/// });
/// assert!(found.complete && found.runs == 12 && seen.len() == 12);
/// ```
pub fn exhaust(runs_max: u64, mut run: impl FnMut(&mut Gen)) -> Exhausted {
    let mut answers = Gen::answering(&[]);
    let mut runs = 0;
    while runs < runs_max {
        let done = catch_unwind(AssertUnwindSafe(|| run(&mut answers)));
        runs += 1;
        if let Err(cause) = done {
            failed(runs, &answers, cause.as_ref());
        }
        if !answers.advance() {
            return Exhausted { runs, complete: true };
        }
    }
    Exhausted { runs, complete: false }
}

#[expect(clippy::panic, reason = "passes a panic on, and says when it happened")]
fn failed(runs: u64, answers: &Gen, cause: &(dyn std::any::Any + Send)) -> ! {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no message");
    panic!("run {runs} failed with the answers {:?}: {text}", answers.answers());
}
