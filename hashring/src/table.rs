//! Fixed partitions: the top bits of a key's hash name a row, the row names its holders.

use crate::codec::{self, Body, Kind};
use crate::error::{BuildError, DecodeError, RowFault};
use crate::placement::{Segment, Space};
use crate::width::{to_u16, to_u32};
use crate::{
    Digest, KeyHash, Level, Locate, NodeId, NodeIdx, Partition, Replicate, Rules, Segmented,
    Topology,
};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// A table has at most 2^16 rows.
pub(crate) const BITS_MAX: u8 = 16;
/// Stands behind the nodes of a short row.
pub(crate) const VACANT: NodeIdx = NodeIdx::new(u16::MAX);

/// Which nodes hold each of 2^bits partitions: an immutable value, cheap to clone.
///
/// The partition of a key is the top `bits` bits of its hash, so that a table can be doubled
/// without moving a key (H25). Tables are made by [`Assign`](crate::Assign), which deals rows out
/// fairly and moves as few as possible.
///
/// # Shape
/// `2^bits` rows of up to 16 nodes; the first node of a row is its primary.
///
/// # Cost
/// A lookup hashes the key and loads one row: no allocation, no lock. Two bytes for each replica
/// of each row, and the topology. A clone counts three references.
///
/// # Examples
/// ```
/// use quorate_hashring::{Assign, Locate, Node, NodeId, Replicate, Rules, Topology};
///
/// let mut nodes = Topology::builder();
/// for id in 1..=5 {
///     nodes = nodes.node(Node::new(NodeId::new(id)));
/// }
/// let topology = nodes.build()?;
/// let table = Assign::new(&topology, &Rules::new(3)).partition_bits(8).solve()?.into_table();
/// assert_eq!(table.replicas(b"user/17").len(), 3);
/// assert_eq!(table.replicas(b"user/17")[0], table.owner(b"user/17"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PartitionTable {
    topology: Topology,
    rules: Rules,
    key_hash: KeyHash,
    bits: u8,
    /// `63 − bits`: what shifts half a hash down to its partition, also with no bit at all.
    shift: u32,
    /// Nodes of a row as stored: `rules.replicas()`.
    width: usize,
    /// Whether some row ends with vacant places.
    short: bool,
    digest: Digest,
    rows: Arc<[NodeIdx]>,
}

impl PartitionTable {
    /// The table with these rows, row `p` for partition `p`.
    ///
    /// # Errors
    /// [`BuildError`]: a number of rows that is no power of two, an unknown node, a row of another
    /// length than the rules ask for (shorter is fine with [`Rules::allow_short`]), with a node
    /// twice, or against a hard rule. Nothing was built.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::{KeyHash, Node, NodeId, PartitionTable, Rules, Topology};
    ///
    /// let (a, b) = (NodeId::new(1), NodeId::new(2));
    /// let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
    /// let rows = [vec![a], vec![b]];
    /// let (rules, hash) = (Rules::new(1), KeyHash::default());
    /// let table = PartitionTable::from_rows(&topology, &rules, hash, &rows)?;
    /// assert_eq!(table.bits(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_rows(
        topology: &Topology,
        rules: &Rules,
        key_hash: KeyHash,
        rows: &[Vec<NodeId>],
    ) -> Result<Self, BuildError> {
        rules.validate()?;
        if rows.is_empty() {
            return Err(BuildError::Empty);
        }
        if !rows.len().is_power_of_two() || rows.len() > 1 << BITS_MAX {
            return Err(BuildError::RowCount { have: rows.len() });
        }
        let width = usize::from(rules.replicas());
        let mut flat = Vec::with_capacity(rows.len() * width);
        for (at, ids) in rows.iter().enumerate() {
            let partition = Partition::new(to_u16(at));
            let row = positions(topology, ids)?;
            check_row(topology, rules, &row)
                .map_err(|reason| BuildError::RowInvalid { partition, reason })?;
            flat.extend_from_slice(&row);
            flat.resize((at + 1) * width, VACANT);
        }
        Ok(Self::from_flat(topology.clone(), *rules, key_hash, flat))
    }

    /// The same rows over another topology.
    ///
    /// # Errors
    /// [`BuildError::NodeMissing`] if it lacks a node that rows name (H43).
    pub fn rebased(&self, topology: &Topology) -> Result<Self, BuildError> {
        if *topology == self.topology {
            return Ok(self.clone());
        }
        let ids = self.topology.ids();
        let map: Vec<Option<NodeIdx>> = ids.iter().map(|&id| topology.index_of(id)).collect();
        let mut flat = Vec::with_capacity(self.rows.len());
        for &at in self.rows.iter() {
            let new = if at == VACANT { Some(VACANT) } else { map[usize::from(at.value())] };
            let Some(new) = new else {
                let named = self.rows.iter().filter(|&&other| other == at).count();
                return Err(BuildError::NodeMissing {
                    node: ids[usize::from(at.value())],
                    partitions: to_u32(named),
                });
            };
            flat.push(new);
        }
        Ok(Self::from_flat(topology.clone(), self.rules, self.key_hash, flat))
    }

    /// The table with twice the partitions: 2p and 2p + 1 hold what p held, so no key moves.
    /// Requests under way name the old numbers: change them with the epoch of a view (H39).
    ///
    /// # Errors
    /// [`BuildError::OutOfRange`] if the table has 2^16 rows already.
    pub fn doubled(&self) -> Result<Self, BuildError> {
        if self.bits == BITS_MAX {
            let (value, max) = (u64::from(BITS_MAX) + 1, u64::from(BITS_MAX));
            return Err(BuildError::OutOfRange { name: "partition_bits", value, min: 0, max });
        }
        let rows = self.rows.chunks(self.width);
        let flat = rows.flat_map(|row| [row, row].concat()).collect();
        Ok(Self::from_flat(self.topology.clone(), self.rules, self.key_hash, flat))
    }

    /// How many bits of the hash name the partition.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn partitions(&self) -> u32 {
        1 << self.bits
    }

    /// The partition of a hash: its top bits.
    #[inline]
    #[must_use]
    pub fn partition_at(&self, hash: u64) -> Partition {
        Partition::new(to_u16(self.row_number(hash)))
    }

    /// The holders of a partition, the primary first.
    #[must_use]
    pub fn row(&self, partition: Partition) -> Option<&[NodeIdx]> {
        let at = usize::from(partition.value());
        (at >> self.bits == 0).then(|| self.row_at(at))
    }

    /// The partitions that a node holds a replica of, rising.
    pub fn held_by(&self, node: NodeIdx) -> impl Iterator<Item = Partition> + '_ {
        let rows = self.rows.chunks(self.width).enumerate();
        rows.filter(move |(_, row)| row.contains(&node) && node != VACANT)
            .map(|(at, _)| Partition::new(to_u16(at)))
    }

    /// Identifies the content.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The table in the form of FORMAT.md, kind 2.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.encode_body(&mut body);
        codec::seal_with(Kind::Table, &body, self.digest)
    }

    /// Reads what [`PartitionTable::encode`] wrote. A table that hashes keys with a secret needs
    /// that secret again: it is in no encoding (H26).
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where; nothing was built.
    pub fn decode(bytes: &[u8], key_hash: Option<KeyHash>) -> Result<Self, DecodeError> {
        let mut body = codec::open(Kind::Table, bytes)?;
        let digest = body.digest();
        let table = Self::decode_body(&mut body, key_hash, Some(digest))?;
        body.finish()?;
        Ok(table)
    }

    /// From rows that are known to be right.
    pub(crate) fn from_flat(
        topology: Topology,
        rules: Rules,
        key_hash: KeyHash,
        rows: Vec<NodeIdx>,
    ) -> Self {
        let mut table = Self::undigested(topology, rules, key_hash, rows);
        let mut body = Vec::new();
        table.encode_body(&mut body);
        table.digest = codec::digest(Kind::Table, &body);
        table
    }

    fn undigested(topology: Topology, rules: Rules, key_hash: KeyHash, rows: Vec<NodeIdx>) -> Self {
        let width = usize::from(rules.replicas());
        let count = rows.len() / width;
        debug_assert!(count.is_power_of_two() && count * width == rows.len());
        let bits = crate::width::to_u8(count.ilog2() as usize);
        let short = rows.contains(&VACANT);
        let digest = Digest::new(0);
        let shift = 63 - u32::from(bits);
        let rows = rows.into();
        Self { topology, rules, key_hash, bits, shift, width, short, digest, rows }
    }

    /// Nodes of a row as stored.
    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    /// All rows one behind the other, with vacant places.
    pub(crate) fn flat(&self) -> &[NodeIdx] {
        &self.rows
    }

    /// The holders of the row at a position that is below the number of rows.
    #[inline]
    pub(crate) fn row_at(&self, at: usize) -> &[NodeIdx] {
        let width = self.width;
        let row = &self.rows[at * width..][..width];
        if self.short { without_vacant(row) } else { row }
    }

    #[inline]
    fn row_number(&self, hash: u64) -> usize {
        if crate::plant::planted("m9_modulo_partitions") {
            return usize::try_from(hash % u64::from(self.partitions())).unwrap_or(0);
        }
        usize::try_from((hash >> 1) >> self.shift).unwrap_or(0)
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        let mut topology = Vec::new();
        self.topology.encode_body(&mut topology);
        out.extend_from_slice(&to_u32(topology.len()).to_le_bytes());
        out.extend_from_slice(&topology);
        out.extend_from_slice(&self.key_hash.id().to_le_bytes());
        out.extend_from_slice(&self.key_hash.parameter().to_le_bytes());
        out.extend_from_slice(&[self.bits, self.rules.replicas()]);
        let caps = Level::ALL.map(|level| self.rules.cap(level));
        out.extend(caps.map(|cap| cap.map_or(0, |(k, _)| k)));
        let soft = caps.iter().enumerate();
        out.push(
            soft.fold(0, |mask, (at, cap)| {
                mask | u8::from(cap.is_some_and(|(_, soft)| soft)) << at
            }),
        );
        out.push(u8::from(self.rules.is_short_allowed()));
        out.reserve(self.rows.len() * 2);
        for at in self.rows.iter() {
            out.extend_from_slice(&at.value().to_le_bytes());
        }
    }

    /// Reads a body. `digest` is that of the body, if it is already known.
    pub(crate) fn decode_body(
        body: &mut Body<'_>,
        key_hash: Option<KeyHash>,
        digest: Option<Digest>,
    ) -> Result<Self, DecodeError> {
        let start = body.offset();
        let length = body.u32()? as usize;
        let mut part = body.part(length)?;
        let topology = Topology::decode_body(&mut part)?;
        part.finish()?;
        let key_hash = decode_hash(body, key_hash)?;
        let offset = body.offset();
        let bits = body.u8()?;
        if bits > BITS_MAX {
            return Err(DecodeError::Invalid { what: "partition bits", offset });
        }
        let rules = decode_rules(body)?;
        let rows = decode_rows(body, &topology, &rules, 1 << bits)?;
        let mut table = Self::undigested(topology, rules, key_hash, rows);
        let compute = || codec::digest(Kind::Table, body.since(start));
        table.digest = digest.unwrap_or_else(compute);
        Ok(table)
    }
}

/// The nodes of a row in front of the vacant places.
#[inline]
pub(crate) fn without_vacant(row: &[NodeIdx]) -> &[NodeIdx] {
    let filled = row.iter().position(|&at| at == VACANT).unwrap_or(row.len());
    &row[..filled]
}

/// Ids as positions.
pub(crate) fn positions(topology: &Topology, ids: &[NodeId]) -> Result<Vec<NodeIdx>, BuildError> {
    let position = |id: &NodeId| {
        topology.index_of(*id).ok_or_else(|| BuildError::UnknownNode { node: id.value() })
    };
    ids.iter().map(position).collect()
}

/// The shape of a row, and the hard rules. Soft ones may have been relaxed when it was made.
pub(crate) fn check_row(
    topology: &Topology,
    rules: &Rules,
    row: &[NodeIdx],
) -> Result<(), RowFault> {
    let (have, need) = (row.len(), usize::from(rules.replicas()));
    let least = if rules.is_short_allowed() { 1 } else { need };
    if have < least || have > need {
        return Err(RowFault::Length { have, need });
    }
    for (at, node) in row.iter().enumerate() {
        if row[..at].contains(node) {
            return Err(RowFault::Duplicate { node: topology.ids()[usize::from(node.value())] });
        }
    }
    for level in Level::ALL {
        let Some((max, false)) = rules.cap(level) else { continue };
        let (max, domains) = (usize::from(max), topology.domains_at(level));
        let domain = |at: &NodeIdx| domains[usize::from(at.value())];
        for node in row {
            let have = row.iter().filter(|other| domain(other) == domain(node)).count();
            if have > max {
                return Err(RowFault::Crowded { level, have, max });
            }
        }
    }
    Ok(())
}

/// The hash function that a body names; the given one, if it is the same.
fn decode_hash(body: &mut Body<'_>, given: Option<KeyHash>) -> Result<KeyHash, DecodeError> {
    let offset = body.offset();
    let (id, parameter) = (body.u16()?, body.u64()?);
    let named = match id {
        1 => KeyHash::xxh3(parameter),
        2 => KeyHash::xxh64(parameter),
        3 => given.filter(|given| given.id() == 3).ok_or(DecodeError::WrongKey)?,
        _ => return Err(DecodeError::Invalid { what: "hash function", offset }),
    };
    let given = given.unwrap_or(named);
    if given.id() == id && given.parameter() == parameter {
        Ok(named)
    } else {
        Err(DecodeError::WrongKey)
    }
}

fn decode_rules(body: &mut Body<'_>) -> Result<Rules, DecodeError> {
    let offset = body.offset();
    let invalid = |what| DecodeError::Invalid { what, offset };
    let replicas = body.u8()?;
    let caps = [body.u8()?, body.u8()?, body.u8()?, body.u8()?];
    let caps = caps.map(|k| (k > 0).then_some(k));
    let (mask, flags) = (body.u8()?, body.u8()?);
    let soft: [bool; 4] = core::array::from_fn(|at| mask & (1 << at) != 0);
    let soft_without_rule = (0..4).any(|at| soft[at] && caps[at].is_none());
    if mask >= 1 << 4 || soft_without_rule {
        return Err(invalid("mask of soft rules"));
    }
    if flags > 1 {
        return Err(invalid("flags of rules"));
    }
    let rules = Rules::from_parts(replicas, caps, soft, flags == 1);
    rules.validate().map_err(|_| invalid("number of replicas"))?;
    Ok(rules)
}

/// Rows of distinct known nodes, vacant places only at their ends and only where allowed.
pub(crate) fn decode_rows(
    body: &mut Body<'_>,
    topology: &Topology,
    rules: &Rules,
    count: usize,
) -> Result<Vec<NodeIdx>, DecodeError> {
    let width = usize::from(rules.replicas());
    let offset = body.offset();
    let bytes = body.take(count * width * 2)?;
    let (pairs, _) = bytes.as_chunks::<2>();
    let rows: Vec<NodeIdx> =
        pairs.iter().map(|pair| NodeIdx::new(u16::from_le_bytes(*pair))).collect();
    for (at, row) in rows.chunks(width).enumerate() {
        if !is_row(row, topology.nodes().len(), rules.is_short_allowed()) {
            return Err(DecodeError::Invalid { what: "row", offset: offset + at * width * 2 });
        }
    }
    Ok(rows)
}

fn is_row(row: &[NodeIdx], nodes: usize, short: bool) -> bool {
    fn are_distinct(row: &[NodeIdx]) -> bool {
        row.iter().enumerate().all(|(at, node)| !row[..at].contains(node))
    }
    // No node stands at the place of `VACANT`: one look tells almost every row.
    let known = |at: &NodeIdx| usize::from(at.value()) < nodes;
    if row.iter().all(known) {
        return are_distinct(row);
    }
    let (filled, rest) = row.split_at(without_vacant(row).len());
    short
        && !filled.is_empty()
        && filled.iter().all(known)
        && rest.iter().all(|&at| at == VACANT)
        && are_distinct(filled)
}

impl Locate for PartitionTable {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn key_hash(&self) -> &KeyHash {
        &self.key_hash
    }

    #[inline]
    fn owner_at(&self, hash: u64) -> NodeIdx {
        self.rows[self.row_number(hash) * self.width]
    }
}

impl Replicate for PartitionTable {
    fn rules(&self) -> &Rules {
        &self.rules
    }

    #[inline]
    fn replicas_at(&self, hash: u64) -> &[NodeIdx] {
        self.row_at(self.row_number(hash))
    }
}

impl Segmented for PartitionTable {
    type Bound = u64;

    fn node_ids(&self) -> &[NodeId] {
        self.topology.ids()
    }

    fn space(&self) -> Space {
        Space::Hash { id: self.key_hash.id(), parameter: self.key_hash.parameter() }
    }

    fn segments(&self) -> impl Iterator<Item = Segment<'_, u64>> {
        let rows = u64::from(self.partitions());
        let start = move |at: u64| (at << self.shift) << 1;
        (0..rows).map(move |at| {
            let end = (at + 1 < rows).then(|| start(at + 1));
            Segment::new(start(at), end, self.row_at(usize::try_from(at).unwrap_or(0)))
        })
    }

    fn zones(&self) -> Option<&Topology> {
        Some(&self.topology)
    }
}

impl PartialEq for PartitionTable {
    fn eq(&self, other: &Self) -> bool {
        self.topology == other.topology
            && self.rules == other.rules
            && self.key_hash == other.key_hash
            && self.rows == other.rows
    }
}

impl Eq for PartitionTable {}

impl fmt::Debug for PartitionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionTable")
            .field("partitions", &self.partitions())
            .field("rules", &self.rules)
            .field("key_hash", &self.key_hash)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}
