//! [`Shards`]: the sessions by id, in parts that are shared with frozen views until they change.

use super::State;
use crate::SessionId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parts of the table. Freezing copies a pointer to each; the first change afterwards copies the
/// pointers in one part, then one session.
const SHARDS: usize = 256;

type Shard = BTreeMap<SessionId, Arc<State>>;

/// A map from id to session whose clones cost 256 pointers.
#[derive(Clone, Debug, Default)]
pub(super) struct Shards {
    /// None before the first session.
    shards: Vec<Arc<Shard>>,
    len: usize,
}

impl Shards {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    #[expect(clippy::cast_possible_truncation, reason = "a remainder below 256")]
    const fn place(id: SessionId) -> usize {
        (id.value() % SHARDS as u64) as usize
    }

    fn shard(&self, id: SessionId) -> Option<&Arc<Shard>> {
        self.shards.get(Self::place(id))
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut State> {
        // Asked first, so that nothing is copied for a session that is not there.
        self.shard(id)?.get(&id)?;
        let shard = self.shards.get_mut(Self::place(id))?;
        Arc::make_mut(shard).get_mut(&id).map(Arc::make_mut)
    }

    pub(super) fn insert(&mut self, id: SessionId, state: State) {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, Arc::default);
        }
        if let Some(shard) = self.shards.get_mut(Self::place(id)) {
            let before = Arc::make_mut(shard).insert(id, Arc::new(state));
            self.len += usize::from(before.is_none());
        }
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Arc<State>> {
        self.shard(id)?.get(&id)?;
        let removed = Arc::make_mut(self.shards.get_mut(Self::place(id))?).remove(&id);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// All of them in ascending order of ids.
    pub(super) fn sorted(&self) -> Vec<(SessionId, &State)> {
        let all = self.shards.iter().flat_map(|shard| shard.iter());
        let mut all: Vec<_> = all.map(|(id, state)| (*id, &**state)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}

impl PartialEq for Shards {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.sorted() == other.sorted()
    }
}

impl Eq for Shards {}
