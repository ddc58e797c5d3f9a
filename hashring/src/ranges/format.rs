//! The bytes of a range map (kind 4 of FORMAT.md), and its segments.

use super::nodes::NODES_MAX;
use super::{KEY_BYTES_MAX, KeyRange, RANGES_MAX, REPLICAS_MAX, RangeMap};
use crate::codec::{self, BODY_BYTES_MAX, Body, Kind};
use crate::width::{to_u8, to_u16, to_u32};
use crate::{DecodeError, Epoch, NodeId, RangeId, Segment, Segmented, Space};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// Id, epoch, length of the start, number of replicas.
const RANGE_BYTES: usize = 8 + 8 + 2 + 1;
/// What the ranges of a map may take, so that with any nodes they fit into an envelope.
pub(super) const RANGES_BYTES_MAX: u64 = (BODY_BYTES_MAX - 2 - 8 * NODES_MAX - 4) as u64;

/// What a range takes when encoded.
pub(super) fn range_bytes(range: &KeyRange) -> usize {
    RANGE_BYTES + range.start.len() + 2 * range.replicas.len()
}

impl RangeMap {
    /// The map in the form of FORMAT.md, kind 4. Equal maps have equal bytes.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{NodeId, RangeId, RangeMap};
    ///
    /// let map = RangeMap::new(RangeId::new(1), &[NodeId::new(1)])?;
    /// assert_eq!(RangeMap::decode(&map.encode())?, map);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut used: Vec<NodeId> = self.nodes_in_use();
        used.sort_unstable();
        let mut body = Vec::with_capacity(2 + 8 * used.len() + 4 + self.bytes);
        body.extend_from_slice(&to_u16(used.len()).to_le_bytes());
        for node in &used {
            body.extend_from_slice(&node.value().to_le_bytes());
        }
        body.extend_from_slice(&to_u32(self.len()).to_le_bytes());
        for range in self.iter() {
            body.extend_from_slice(&range.id.value().to_le_bytes());
            body.extend_from_slice(&range.epoch.value().to_le_bytes());
            body.extend_from_slice(&to_u16(range.start.len()).to_le_bytes());
            body.extend_from_slice(&range.start);
            body.push(to_u8(range.replicas.len()));
            for node in range.replicas.iter() {
                let position = used.partition_point(|other| other < node);
                body.extend_from_slice(&to_u16(position).to_le_bytes());
            }
        }
        codec::seal(Kind::Ranges, &body)
    }

    /// The nodes that ranges are on, each once.
    fn nodes_in_use(&self) -> Vec<NodeId> {
        let ids = self.nodes.ids();
        let mut used = vec![false; ids.len()];
        for node in self.chunks.iter().flat_map(|entry| entry.row.iter()) {
            used[usize::from(node.value())] = true;
        }
        ids.iter().zip(used).filter(|(_, used)| *used).map(|(id, _)| *id).collect()
    }

    /// Reads what [`RangeMap::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where; nothing was built.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut body = codec::open(Kind::Ranges, bytes)?;
        let nodes = decode_nodes(&mut body)?;
        let ranges = decode_ranges(&mut body, &nodes)?;
        let offset = body.offset();
        body.finish()?;
        let named = nodes.len();
        let map = Self::from_ranges(ranges)
            .map_err(|_| DecodeError::Invalid { what: "range id", offset })?;
        if map.nodes.ids().len() != named {
            return Err(DecodeError::Invalid { what: "node without a range", offset });
        }
        Ok(map)
    }
}

fn decode_nodes(body: &mut Body<'_>) -> Result<Vec<NodeId>, DecodeError> {
    let count = usize::from(body.u16()?);
    let mut nodes: Vec<NodeId> = Vec::with_capacity(count.min(body.left() / 8));
    for _ in 0..count {
        let offset = body.offset();
        let node = NodeId::try_new(body.u64()?);
        let rises = |node: &NodeId| nodes.last().is_none_or(|before| before < node);
        let Some(node) = node.filter(rises) else {
            return Err(DecodeError::Invalid { what: "node id", offset });
        };
        nodes.push(node);
    }
    Ok(nodes)
}

fn decode_ranges(body: &mut Body<'_>, nodes: &[NodeId]) -> Result<Vec<KeyRange>, DecodeError> {
    let offset = body.offset();
    let count = body.u32()?;
    if count == 0 || u64::from(count) > RANGES_MAX {
        return Err(DecodeError::Invalid { what: "number of ranges", offset });
    }
    // No room is made for ranges that cannot be there.
    let room = (count as usize).min(body.left() / (RANGE_BYTES + 2));
    let mut ranges: Vec<KeyRange> = Vec::with_capacity(room);
    for _ in 0..count {
        let (id, epoch) = (RangeId::new(body.u64()?), Epoch::new(body.u64()?));
        let offset = body.offset();
        let length = usize::from(body.u16()?);
        debug_assert!(length as u64 <= KEY_BYTES_MAX, "the field is no wider");
        let start: Arc<[u8]> = body.take(length)?.into();
        // H42: strictly rising in byte order, from the empty key on: a tiling.
        let follows = match ranges.last() {
            Some(before) => before.start < start,
            None => start.is_empty(),
        };
        if !follows {
            return Err(DecodeError::Invalid { what: "start of a range", offset });
        }
        let replicas = decode_replicas(body, nodes)?;
        if let Some(before) = ranges.last_mut() {
            before.end = Some(start.clone());
        }
        ranges.push(KeyRange { id, epoch, start, end: None, replicas });
    }
    Ok(ranges)
}

fn decode_replicas(body: &mut Body<'_>, nodes: &[NodeId]) -> Result<Arc<[NodeId]>, DecodeError> {
    let offset = body.offset();
    let count = body.u8()?;
    if count == 0 || u64::from(count) > REPLICAS_MAX {
        return Err(DecodeError::Invalid { what: "number of replicas", offset });
    }
    let mut replicas: Vec<NodeId> = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let offset = body.offset();
        let node = nodes.get(usize::from(body.u16()?)).copied();
        let Some(node) = node.filter(|node| !replicas.contains(node)) else {
            return Err(DecodeError::Invalid { what: "replica", offset });
        };
        replicas.push(node);
    }
    Ok(replicas.into())
}

impl Segmented for RangeMap {
    type Bound = Arc<[u8]>;

    fn node_ids(&self) -> &[NodeId] {
        self.nodes.ids()
    }

    fn space(&self) -> Space {
        Space::Bytes
    }

    fn segments(&self) -> impl Iterator<Item = Segment<'_, Arc<[u8]>>> {
        let segment = |range: &KeyRange| (range.start.clone(), range.end.clone());
        self.chunks.iter().map(move |entry| {
            let (start, end) = segment(&entry.range);
            Segment::new(start, end, &entry.row)
        })
    }
}
