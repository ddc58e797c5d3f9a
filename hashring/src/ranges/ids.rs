//! Where the range with an id begins: a sorted sequence of ids in chunks that maps share.

use crate::RangeId;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Ids per chunk: what a change copies.
const CHUNK_IDS_MAX: usize = 256;

type Chunk = Vec<(RangeId, Arc<[u8]>)>;

/// Starts by id. A range keeps its start for as long as its id exists, so that only splits and
/// merges change this.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    chunks: Vec<Arc<Chunk>>,
}

impl Ids {
    /// From pairs in any order; none if an id is there twice.
    pub(super) fn from_pairs(mut pairs: Vec<(RangeId, Arc<[u8]>)>) -> Option<Self> {
        pairs.sort_unstable_by_key(|(id, _)| *id);
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let chunks = pairs.chunks(CHUNK_IDS_MAX).map(|chunk| Arc::new(chunk.to_vec())).collect();
        Some(Self { chunks })
    }

    /// Where the range with this id begins.
    pub(super) fn start(&self, id: RangeId) -> Option<&Arc<[u8]>> {
        let chunk = self.chunks.get(self.chunk_of(id))?;
        let slot = chunk.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&chunk[slot].1)
    }

    /// The chunk in which an id is, or would be.
    fn chunk_of(&self, id: RangeId) -> usize {
        self.chunks.partition_point(|chunk| chunk[0].0 <= id).saturating_sub(1)
    }

    /// Takes up an id that is not there.
    pub(super) fn insert(&mut self, id: RangeId, start: Arc<[u8]>) {
        let at = self.chunk_of(id);
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(Arc::new(alloc::vec![(id, start)]));
            return;
        };
        let mut fresh = Vec::with_capacity(CHUNK_IDS_MAX + 1);
        let slot = chunk.partition_point(|(other, _)| *other < id);
        fresh.extend_from_slice(&chunk[..slot]);
        fresh.push((id, start));
        fresh.extend_from_slice(&chunk[slot..]);
        if fresh.len() > CHUNK_IDS_MAX {
            let right = fresh.split_off(fresh.len() / 2);
            *chunk = Arc::new(fresh);
            self.chunks.insert(at + 1, Arc::new(right));
        } else {
            *chunk = Arc::new(fresh);
        }
    }

    /// Forgets an id.
    pub(super) fn remove(&mut self, id: RangeId) {
        let at = self.chunk_of(id);
        let mut fresh = (*self.chunks[at]).clone();
        fresh.retain(|(other, _)| *other != id);
        if fresh.is_empty() {
            self.chunks.remove(at);
        } else {
            self.chunks[at] = Arc::new(fresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;
    use crate::RangeId;
    use alloc::sync::Arc;

    #[test]
    fn a_thousand_come_and_go() {
        let order = |i: u64| i * 7919 % 1009;
        let start = |id: u64| -> Arc<[u8]> { Arc::from(id.to_be_bytes()) };
        let mut ids = Ids::default();
        for i in 0..1009 {
            ids.insert(RangeId::new(order(i)), start(order(i)));
        }
        for id in 0..1009 {
            assert_eq!(ids.start(RangeId::new(id)), Some(&start(id)));
        }
        for i in 0..1009 {
            ids.remove(RangeId::new(order(i)));
            assert_eq!(ids.start(RangeId::new(order(i))), None);
        }
        assert!(ids.chunks.is_empty());
    }
}
