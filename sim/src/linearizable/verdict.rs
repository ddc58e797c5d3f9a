//! [`Verdict`]: what the checker says.

use std::fmt;

use super::Counterexample;
use crate::history::OpId;

/// What [`linearizable`](super::linearizable) says of a history.
///
/// # Examples
/// ```
/// use quorate_sim::{Recorder, SimTime, Verdict, linearizable};
/// use quorate_sim::specs::{CasRegister, RegisterOp, RegisterRet};
///
/// let recorder = Recorder::new();
/// let read = recorder.invoke(SimTime::ZERO, 1, RegisterOp::Read);
/// recorder.ok(read, SimTime::ZERO, RegisterRet::Value(None));
/// let history = recorder.history();
/// match linearizable(&CasRegister, &history, 10) {
///     Verdict::Linearizable { order } => assert_eq!(order, [read]),
///     Verdict::Illegal(why) => panic!("{why}"),
///     Verdict::Undecided { steps } => panic!("nothing is known after {steps} steps"),
/// }
/// // Without a step there is nothing to say, and nothing is not a pass (H12).
/// let verdict = linearizable(&CasRegister, &history, 0);
/// assert!(!verdict.is_linearizable() && !verdict.is_illegal());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a history that nobody looks at passes every check"]
#[expect(clippy::exhaustive_enums, reason = "a verdict that callers do not know might pass")]
pub enum Verdict {
    /// There is an order.
    Linearizable {
        /// One, replayed against the model: all operations that completed, and those of unknown
        /// outcome that took effect in it.
        order: Vec<OpId>,
    },
    /// There is none.
    Illegal(Counterexample),
    /// Nothing is known: the steps were not enough, or what has to be remembered was too much,
    /// or the history was [truncated](crate::History::is_truncated) and its beginning has an
    /// order.
    Undecided {
        /// How many steps were taken.
        steps: u64,
    },
}

impl Verdict {
    /// Whether there is an order.
    #[must_use]
    pub const fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable { .. })
    }

    /// Whether there is certainly none.
    #[must_use]
    pub const fn is_illegal(&self) -> bool {
        matches!(self, Self::Illegal(_))
    }

    /// The order, for tests that end with `?`.
    ///
    /// # Errors
    /// All other verdicts, in words.
    pub fn into_order(self) -> Result<Vec<OpId>, String> {
        match self {
            Self::Linearizable { order } => Ok(order),
            other => Err(other.to_string()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable { order } => write!(f, "linearizable: {} operations", order.len()),
            Self::Illegal(why) => why.fmt(f),
            Self::Undecided { steps } => write!(f, "undecided after {steps} steps"),
        }
    }
}
