//! Whether the history of a register is linearizable: the search of Wing & Gong (1993) with Lowe's
//! memory of configurations already seen (2017).

use quorate_clocks::Monotonic;
use std::collections::BTreeSet;

/// One operation on a register, from its call to its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation<'a> {
    call: Monotonic,
    back: Monotonic,
    effect: Effect<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Effect<'a> {
    Write(&'a str),
    Read(Option<&'a str>),
}

impl<'a> Operation<'a> {
    pub(super) const fn write(call: Monotonic, back: Monotonic, value: &'a str) -> Self {
        Self { call, back, effect: Effect::Write(value) }
    }

    pub(super) const fn read(call: Monotonic, back: Monotonic, seen: Option<&'a str>) -> Self {
        Self { call, back, effect: Effect::Read(seen) }
    }

    /// Whether nobody knows if it happened: it need not be placed.
    fn is_open(&self) -> bool {
        self.back == Monotonic::FAR_FUTURE
    }
}

/// A place in the search: what was ordered so far, and the value that gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'a> {
    done: Vec<u64>,
    value: Option<&'a str>,
}

/// Depth first over all orders that respect real time; each place is visited once.
pub(super) fn is_linearizable(operations: &[Operation<'_>]) -> bool {
    let mut ordered: Vec<Operation<'_>> = operations.to_vec();
    ordered.sort_by_key(|op| op.call);
    let start = Place { done: vec![0; ordered.len().div_ceil(64)], value: None };
    let mut seen = BTreeSet::from([start.clone()]);
    let mut stack = vec![start];
    while let Some(place) = stack.pop() {
        let is_done = |i: usize| place.done[i / 64] & (1 << (i % 64)) != 0;
        let open = (0..ordered.len()).filter(|i| !is_done(*i));
        if open.clone().all(|i| ordered[i].is_open()) {
            return true;
        }
        // Whatever was called before the first answer still due may come next.
        let first_back = open.clone().map(|i| ordered[i].back).min();
        for i in open.take_while(|i| Some(ordered[*i].call) <= first_back) {
            let value = match ordered[i].effect {
                Effect::Write(value) => Some(value),
                Effect::Read(found) if found == place.value => found,
                Effect::Read(_) => continue,
            };
            let mut next = Place { done: place.done.clone(), value };
            next.done[i / 64] |= 1 << (i % 64);
            if seen.insert(next.clone()) {
                stack.push(next);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(n: u64) -> Monotonic {
        Monotonic::from_nanos(n)
    }

    #[test]
    fn a_read_sees_the_write_that_ended_before_it() {
        let write = Operation::write(at(1), at(2), "a");
        assert!(is_linearizable(&[write, Operation::read(at(3), at(4), Some("a"))]));
        assert!(!is_linearizable(&[write, Operation::read(at(3), at(4), None)]));
        assert!(!is_linearizable(&[write, Operation::read(at(3), at(4), Some("b"))]));
    }

    #[test]
    fn concurrent_reads_may_see_either_but_never_go_back() {
        let write = Operation::write(at(1), at(10), "a");
        let old = Operation::read(at(2), at(3), None);
        let new = Operation::read(at(4), at(5), Some("a"));
        assert!(is_linearizable(&[write, old, new]));
        let back = Operation::read(at(6), at(7), None);
        assert!(!is_linearizable(&[write, new, back]));
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_or_never() {
        let unknown = Operation::write(at(1), Monotonic::FAR_FUTURE, "a");
        let late = Operation::read(at(50), at(51), Some("a"));
        let never = Operation::read(at(50), at(51), None);
        assert!(is_linearizable(&[unknown, late]));
        assert!(is_linearizable(&[unknown, never]));
        let again = Operation::read(at(60), at(61), None);
        assert!(!is_linearizable(&[unknown, late, again]));
    }
}
