//! [`Held`]: what nodes said, kept until its moment comes.

use crate::SimTime;
use crate::check::Observation;
use quorate_transport::NodeId;
use std::collections::VecDeque;

/// What nodes said and checkers have not heard yet, by time, then by the order of saying: a handler
/// runs whole at its beginning, and what it says it says later, when others may have spoken first.
#[derive(Debug, Default)]
pub(crate) struct Held(VecDeque<Observation>);

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, said: Observation) {
        // Mostly the newest is the latest.
        let place = self.0.partition_point(|before| before.at <= said.at);
        self.0.insert(place, said);
    }

    /// The next one, if its time comes no later than this.
    pub(crate) fn pop(&mut self, until: SimTime) -> Option<Observation> {
        if self.0.front()?.at <= until { self.0.pop_front() } else { None }
    }

    /// A node died now: what it would have said after `left` it never said; the rest was said
    /// before it died.
    pub(crate) fn cut(&mut self, node: NodeId, now: SimTime, left: SimTime) {
        let Self(held) = self;
        if !held.iter().any(|said| said.node == node && said.at > now) {
            return;
        }
        for mut said in std::mem::take(held) {
            if said.node == node && said.at > now {
                if said.at > left {
                    continue;
                }
                said.at = now;
            }
            self.push(said);
        }
    }
}
