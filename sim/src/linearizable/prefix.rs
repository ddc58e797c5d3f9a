//! [`Prefix`]: the shortest beginning of a history that has no order.

use super::counterexample::Counterexample;
use super::partition::Partition;
use super::search::{Found, Search};
use super::{Budget, Spec};
use crate::history::History;
use crate::plant::planted;

/// A beginning of a history of which one partition has no order, and the search that found none.
pub(super) struct Prefix<'a, S: Spec> {
    /// How long it is.
    pub(super) events: usize,
    pub(super) search: Search<'a, S>,
}

impl<'a, S: Spec> Prefix<'a, S> {
    /// The shortest one within this, and whether it certainly is: the steps may not suffice.
    ///
    /// Every prefix of one that has an order has one too, so it can be searched for by halves. A
    /// prefix knows less of the operations that are open at its end, so it may have an order
    /// where the longer one could not even pass `passed`; shorter than that it need not be.
    pub(super) fn shortest(
        mut self,
        spec: &'a S,
        history: &'a History<S::Op, S::Ret>,
        partition: &Partition,
        passed: usize,
        budget: &mut Budget,
    ) -> (Self, bool) {
        // Only what is learnt can make a prefix illegal.
        let learnt = partition.spans.iter().filter_map(|span| span.ended);
        let mut ends: Vec<usize> =
            learnt.filter(|at| (passed..self.events).contains(at)).map(|at| at + 1).collect();
        ends.sort_unstable();
        // The last one is illegal. Most often the first one is too, so begin there.
        let (mut low, mut high, mut stride) = (0, ends.len().saturating_sub(1), 1);
        if planted("prefix_as_it_is") {
            return (self, true);
        }
        if let Some(last) = ends.get(high) {
            self.events = *last;
        }
        while low < high {
            let middle = if stride < high - low { low + stride - 1 } else { low.midpoint(high) };
            let mut search = Search::new(spec, history, partition, ends[middle]);
            match search.run(budget) {
                Found::Order(_) => {
                    low = middle + 1;
                    stride = stride.saturating_mul(2);
                }
                Found::None { .. } => {
                    high = middle;
                    stride = usize::MAX;
                    self = Self { events: ends[middle], search };
                }
                Found::Nothing => return (self, false),
            }
        }
        (self, true)
    }

    /// What there is to show.
    pub(super) fn explained(mut self, history: &History<S::Op, S::Ret>) -> Counterexample {
        let (order, state, blocked) = self.search.longest();
        Counterexample::new(history, self.events, order, &state, blocked)
    }
}
