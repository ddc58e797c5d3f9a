//! Moves that wait, by sender and receiver: within such a lane all are equally urgent and equally
//! possible, so that choosing one looks at lanes and not at moves.

use crate::{MoveId, NodeId};
use alloc::collections::{BTreeMap, BTreeSet};

/// Whom the moves replace, and who receives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) from: Option<NodeId>,
    pub(super) to: NodeId,
}

/// For each lane the moves that wait, by the number of the failure that put them behind, then by
/// id.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    waiting: BTreeMap<Lane, BTreeSet<(u64, MoveId)>>,
}

impl Lanes {
    pub(super) fn push(&mut self, lane: Lane, tail: u64, id: MoveId) {
        self.waiting.entry(lane).or_default().insert((tail, id));
    }

    pub(super) fn remove(&mut self, lane: Lane, tail: u64, id: MoveId) {
        if let Some(waiting) = self.waiting.get_mut(&lane) {
            waiting.remove(&(tail, id));
            if waiting.is_empty() {
                self.waiting.remove(&lane);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Lane, &BTreeSet<(u64, MoveId)>)> {
        self.waiting.iter()
    }
}
