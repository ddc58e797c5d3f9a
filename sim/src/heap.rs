//! [`Events`]: what will happen, in order.

use crate::{Rng, SimTime};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// In which order things happen that happen at the same time.
///
/// # Examples
/// ```
/// assert_ne!(quorate_sim::Order::Random, quorate_sim::Order::Fifo);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Any, as the seed says; the default. First come, first served hides races. // H4
    Random,
    /// First come, first served: easier to follow, finds less.
    Fifo,
}

/// When, then the tie-break, then in order of arrival; last the place of the content.
type Key = Reverse<(SimTime, u32, u64, u32)>;

/// A queue of events by time. The content stays in place while the heap moves small keys.
#[derive(Debug)]
pub(crate) struct Events<E> {
    heap: BinaryHeap<Key>,
    contents: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
    ties: Option<Rng>,
}

impl<E> Events<E> {
    pub(crate) fn new(seed: u64, order: Order) -> Self {
        let ties = (order == Order::Random).then(|| Rng::stream(seed, "sched", 0, 0));
        let (heap, contents, free) = (BinaryHeap::new(), Vec::new(), Vec::new());
        Self { heap, contents, free, sequence: 0, ties }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn push(&mut self, at: SimTime, event: E) {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.contents.push(None);
                u32::try_from(self.contents.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.contents[place as usize] = Some(event);
        let tie = self.ties.as_mut().map_or(0, Rng::word32);
        self.sequence += 1;
        self.heap.push(Reverse((at, tie, self.sequence, place)));
    }

    /// When the next one is.
    pub(crate) fn next(&self) -> Option<SimTime> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<(SimTime, E)> {
        let Reverse((at, _, _, place)) = self.heap.pop()?;
        let event = self.contents[place as usize].take()?;
        self.free.push(place);
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(order: Order, seed: u64) -> Vec<u32> {
        let mut events = Events::new(seed, order);
        for n in 0..8 {
            events.push(SimTime::from_nanos(5), n);
        }
        events.push(SimTime::from_nanos(1), 99);
        std::iter::from_fn(|| events.pop()).map(|(_, n)| n).collect()
    }

    /// H4: ties are broken at random, by the seed.
    #[test]
    fn ties_are_broken_by_the_seed() {
        assert_eq!(drained(Order::Fifo, 1), [99, 0, 1, 2, 3, 4, 5, 6, 7]);
        let one = drained(Order::Random, 1);
        assert_eq!(one, drained(Order::Random, 1));
        assert_ne!(one, drained(Order::Random, 2));
        assert_eq!(one[0], 99, "time comes first");
    }

    #[test]
    fn places_are_used_again() {
        let mut events = Events::new(1, Order::Random);
        for round in 0..100 {
            events.push(SimTime::from_nanos(round), round);
            assert_eq!(events.pop().map(|(_, n)| n), Some(round));
        }
        assert_eq!(events.contents.len(), 1);
    }
}
