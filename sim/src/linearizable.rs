//! Whether a history is one that a service which does one thing at a time could have given.

mod cache;
mod calls;
mod counterexample;
mod partition;
mod prefix;
mod search;
mod verdict;
mod witness;

use std::fmt::Debug;
use std::hash::Hash;

use crate::history::History;
use prefix::Prefix;
use search::{Found, Search};

pub use counterexample::Counterexample;
pub use verdict::Verdict;

use crate::plant::planted;

/// Steps that are enough for most histories, and a minute or two for the others: 50 million.
pub const STEPS_MAX: u64 = 50_000_000;

/// What a service promises: its state, and what an operation does to it.
///
/// The six of [`specs`](crate::specs) may do. A model is a pure function: asked the same, it
/// answers the same.
///
/// # Examples
/// ```
/// use quorate_sim::{Recorder, STEPS_MAX, SimTime, Spec, linearizable};
///
/// /// A latch: once it was set, it says so to everybody.
/// struct Latch;
///
/// #[derive(Clone, Debug, PartialEq)]
/// enum Op { Set, IsSet }
///
/// impl Spec for Latch {
///     type State = bool;
///     type Op = Op;
///     type Ret = bool; // what it holds after the operation
///     fn initial(&self) -> bool { false }
///     fn apply(&self, state: &bool, op: &Op, ret: Option<&bool>) -> Option<bool> {
///         let after = *state || *op == Op::Set;
///         ret.is_none_or(|ret| *ret == after).then_some(after)
///     }
/// }
///
/// let recorder = Recorder::new();
/// for (process, op, ret) in [(1, Op::Set, true), (2, Op::IsSet, false)] {
///     let id = recorder.invoke(SimTime::ZERO, process, op);
///     recorder.ok(id, SimTime::ZERO, ret);
/// }
/// assert!(linearizable(&Latch, &recorder.history(), STEPS_MAX).is_illegal());
/// ```
pub trait Spec {
    /// What the service holds.
    type State: Clone + Eq + Hash + Debug;
    /// What it is asked for. Of two unknown operations that are equal, the earlier one is tried
    /// first, and the other one only besides it.
    type Op: Clone + PartialEq + Debug;
    /// What it answers.
    type Ret: Clone + Debug;

    /// What it holds at first.
    fn initial(&self) -> Self::State;

    /// What it holds after `op`, if it may answer `ret`; `None` if it may not. Without `ret` the
    /// answer is not known: what it holds after `op`, whatever it answered.
    fn apply(
        &self,
        state: &Self::State,
        op: &Self::Op,
        ret: Option<&Self::Ret>,
    ) -> Option<Self::State>;

    /// The part of the service that `op` is about. Parts are judged one by one, which is much
    /// quicker, so operations of different parts must not depend on each other.
    fn partition(&self, _op: &Self::Op) -> u64 {
        0
    }
}

/// Whether there is an order of all operations that completed, and any of those with unknown
/// outcome, that `spec` allows, and in which no operation stands before one that had ended when
/// it began.
///
/// Operations that [failed](crate::Outcome::Fail) are left out. Those with
/// [unknown](crate::Outcome::Unknown) outcome may take effect at any time after their invocation,
/// or never (H11).
///
/// # Cost
/// `steps_max` bounds the calls of [`Spec::apply`] in the search, so that the verdict does not
/// depend on the machine (H30); [`STEPS_MAX`] is a good value. The question is NP-complete: it is
/// quick for histories of few clients and few unknown outcomes, and gives up
/// ([`Verdict::Undecided`], H12) on others. What it remembers is bounded too, by about 1 GiB
/// besides the states themselves. Nothing recurses, so long histories overflow no stack.
///
/// # Panics
/// If `spec` is no function: an order that was found is replayed before it is returned, and a
/// model that now answers differently would make every verdict worthless.
///
/// # Examples
/// ```
/// use quorate_sim::{Recorder, STEPS_MAX, SimTime, Verdict, linearizable};
/// use quorate_sim::specs::{CasRegister, RegisterOp, RegisterRet};
///
/// let at = SimTime::from_nanos;
/// let recorder = Recorder::new();
/// let write = recorder.invoke(at(0), 1, RegisterOp::Write(3));
/// recorder.ok(write, at(10), RegisterRet::Written);
/// let stale = recorder.invoke(at(20), 2, RegisterOp::Read);
/// recorder.ok(stale, at(30), RegisterRet::Value(None));
///
/// let verdict = linearizable(&CasRegister, &recorder.history(), STEPS_MAX);
/// let Verdict::Illegal(why) = verdict else { panic!("{verdict}") };
/// assert_eq!((why.order(), why.blocked()), (&[write][..], &[stale][..]));
/// ```
///
/// # Source
/// Wing & Gong, "Testing and verifying concurrent objects"; Lowe, "Testing for linearizability"
/// (lift and unlift, configurations seen before); Horn & Kroening, "Faster linearizability
/// checking via P-compositionality" (partitions).
pub fn linearizable<S: Spec>(
    spec: &S,
    history: &History<S::Op, S::Ret>,
    steps_max: u64,
) -> Verdict {
    linearizable_steps(spec, history, steps_max).0
}

/// As [`linearizable`], and how many steps it took.
///
/// # Panics
/// As [`linearizable`].
///
/// # Examples
/// ```
/// use quorate_sim::{History, linearizable_steps, specs::{Set, SetOp}};
///
/// let history = History::<SetOp, _>::read_jsonl(&b""[..])?;
/// let (verdict, steps) = linearizable_steps(&Set, &history, 1_000);
/// assert!(verdict.is_linearizable() && steps == 0);
/// # Ok::<(), quorate_sim::HistoryError>(())
/// ```
pub fn linearizable_steps<S: Spec>(
    spec: &S,
    history: &History<S::Op, S::Ret>,
    steps_max: u64,
) -> (Verdict, u64) {
    let mut budget = Budget { steps: 0, steps_max };
    let mut orders = Vec::new();
    let mut illegal = None;
    let mut undecided = false;
    // What is judged of each partition: less, once an illegal prefix is known.
    let mut end = history.events().count();
    for partition in partition::all(spec, history) {
        let mut search = Search::new(spec, history, &partition, end);
        match search.run(&mut budget) {
            Found::Order(order) => orders.push(order),
            Found::None { passed } => {
                let prefix = Prefix { events: end, search };
                let (prefix, certain) =
                    prefix.shortest(spec, history, &partition, passed, &mut budget);
                undecided |= !certain;
                // The prefix without its last event has an order in this partition.
                end = prefix.events - 1;
                illegal = Some(prefix.explained(history));
            }
            Found::Nothing => undecided = true,
        }
        if planted("first_partition_only") {
            break;
        }
    }
    let steps = budget.steps;
    let verdict = if let Some(why) = illegal {
        Verdict::Illegal(why.shortest(!undecided))
    } else if (undecided && !planted("undecided_passes"))
        || (history.is_truncated() && !planted("truncated_passes"))
    {
        Verdict::Undecided { steps }
    } else {
        Verdict::Linearizable { order: witness::merged(spec, history, &orders) }
    };
    (verdict, steps)
}

/// Steps that were taken, and may be.
#[derive(Debug)]
struct Budget {
    steps: u64,
    steps_max: u64,
}
