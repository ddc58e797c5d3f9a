//! [`Calls`]: a doubly linked list from which calls are lifted, and put back the other way round.

/// The end of a list, on both sides.
const END: u32 = u32::MAX;

/// A list of calls, by their numbers; all in one allocation for each direction.
///
/// The operations that wait to be put in order. To lift one costs two writes, and so does putting
/// it back where it was, provided that what was lifted later is back already.
#[derive(Debug)]
pub(super) struct Calls {
    /// After each call, and in the last place the first one.
    next: Vec<u32>,
    prev: Vec<u32>,
}

impl Calls {
    /// Of `calls` numbers below `calls`, linked in the order given.
    pub(super) fn new(calls: usize, order: impl Iterator<Item = u32>) -> Self {
        let head = u32::try_from(calls).unwrap_or(END);
        let mut list = Self { next: vec![END; calls + 1], prev: vec![END; calls + 1] };
        let mut last = head;
        for call in order {
            list.next[last as usize] = call;
            list.prev[call as usize] = last;
            last = call;
        }
        list
    }

    /// The first call.
    pub(super) fn first(&self) -> Option<u32> {
        self.next.last().copied().filter(|call| *call != END)
    }

    /// The call after this one.
    pub(super) fn after(&self, call: u32) -> Option<u32> {
        Some(self.next[call as usize]).filter(|call| *call != END)
    }

    /// Takes a call out.
    pub(super) fn lift(&mut self, call: u32) {
        let (prev, next) = (self.prev[call as usize], self.next[call as usize]);
        self.next[prev as usize] = next;
        if next != END {
            self.prev[next as usize] = prev;
        }
    }

    /// Puts the call back that was lifted last.
    pub(super) fn unlift(&mut self, call: u32) {
        let (prev, next) = (self.prev[call as usize], self.next[call as usize]);
        self.next[prev as usize] = call;
        if next != END {
            self.prev[next as usize] = call;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Calls;

    fn listed(calls: &Calls) -> Vec<u32> {
        std::iter::successors(calls.first(), |call| calls.after(*call)).collect()
    }

    #[test]
    fn what_is_lifted_comes_back_in_its_place() {
        let order = [3, 0, 4, 1, 2];
        for first in order {
            for second in order.into_iter().filter(|call| *call != first) {
                let mut calls = Calls::new(5, order.into_iter());
                calls.lift(first);
                calls.lift(second);
                let left = |gone: &[u32]| -> Vec<u32> {
                    order.into_iter().filter(|call| !gone.contains(call)).collect()
                };
                assert_eq!(listed(&calls), left(&[first, second]));
                calls.unlift(second);
                assert_eq!(listed(&calls), left(&[first]));
                calls.unlift(first);
                assert_eq!(listed(&calls), order);
            }
        }
        assert_eq!(listed(&Calls::new(0, [].into_iter())), []);
    }
}
