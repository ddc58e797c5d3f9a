//! The encoding of views, kind 3 of FORMAT.md.

use super::{Changed, Inner, Stage, View, is_same_set};
use crate::codec::{self, Body, Kind};
use crate::error::DecodeError;
use crate::table::{VACANT, without_vacant};
use crate::width::to_u32;
use crate::{Digest, Epoch, KeyHash, Locate, NodeIdx, Partition, PartitionTable, Replicate};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// No cluster gets there: a greater epoch in bytes is refused, so that adding one is always safe
/// and two bits are left to a gate.
pub(crate) const EPOCH_MAX: u64 = 1 << 62;

impl View {
    /// The view in the form of FORMAT.md, kind 3.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        encode_body(&self.inner, &mut body);
        codec::seal_with(Kind::View, &body, self.inner.digest)
    }

    /// Reads what [`View::encode`] wrote. A table that hashes keys with a secret needs that secret
    /// again.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where; nothing was built.
    pub fn decode(bytes: &[u8], key_hash: Option<KeyHash>) -> Result<Self, DecodeError> {
        let mut body = codec::open(Kind::View, bytes)?;
        let digest = body.digest();
        let (epoch, parent, stage) = decode_head(&mut body)?;
        let length = body.u32()? as usize;
        let mut part = body.part(length)?;
        let table = PartitionTable::decode_body(&mut part, key_hash, None)?;
        part.finish()?;
        let first_epoch = body.offset();
        let row_epochs = decode_epochs(&mut body, epoch, table.partitions() as usize)?;
        let changed = decode_changed(&mut body, epoch, stage, &table, &row_epochs)?;
        // The other way round: a row of the epoch of a change under way is one of its rows.
        let newest = row_epochs.iter().filter(|row| **row == epoch).count();
        if stage != Stage::Settled && newest != changed.partitions.len() {
            return Err(DecodeError::Invalid { what: "row epochs", offset: first_epoch });
        }
        body.finish()?;
        let inner = Inner { epoch, parent, stage, table, row_epochs, changed, digest };
        Ok(Self { inner: Arc::new(inner) })
    }
}

pub(super) fn encode_body(view: &Inner, out: &mut Vec<u8>) {
    out.extend_from_slice(&view.epoch.value().to_le_bytes());
    out.extend_from_slice(&view.parent.value().to_le_bytes());
    out.extend_from_slice(&[view.stage.number(), 0, 0, 0, 0, 0, 0, 0]);
    let mut table = Vec::new();
    view.table.encode_body(&mut table);
    out.extend_from_slice(&to_u32(table.len()).to_le_bytes());
    out.extend_from_slice(&table);
    out.reserve(view.row_epochs.len() * 8);
    for epoch in &view.row_epochs {
        out.extend_from_slice(&epoch.value().to_le_bytes());
    }
    let Changed { partitions, rows } = &view.changed;
    out.extend_from_slice(&to_u32(partitions.len()).to_le_bytes());
    for (partition, row) in partitions.iter().zip(rows.chunks(view.table.width())) {
        out.extend_from_slice(&partition.value().to_le_bytes());
        for at in row {
            out.extend_from_slice(&at.value().to_le_bytes());
        }
    }
}

fn decode_head(body: &mut Body<'_>) -> Result<(Epoch, Digest, Stage), DecodeError> {
    let offset = body.offset();
    let invalid = |what, at| DecodeError::Invalid { what, offset: offset + at };
    let epoch = body.u64()?;
    if epoch == 0 || epoch > EPOCH_MAX {
        return Err(invalid("epoch", 0));
    }
    let parent = Digest::new(body.u64()?);
    let stage = match body.u8()? {
        0 => Stage::Settled,
        1 => Stage::Copying,
        2 => Stage::Switched,
        3 => Stage::Reverting,
        _ => return Err(invalid("stage", 16)),
    };
    if body.take(7)? != [0; 7] {
        return Err(invalid("reserved bytes", 17));
    }
    Ok((Epoch::new(epoch), parent, stage))
}

fn decode_epochs(
    body: &mut Body<'_>,
    epoch: Epoch,
    count: usize,
) -> Result<Vec<Epoch>, DecodeError> {
    let offset = body.offset();
    let (words, _) = body.take(count * 8)?.as_chunks::<8>();
    let epochs: Vec<Epoch> =
        words.iter().map(|word| Epoch::new(u64::from_le_bytes(*word))).collect();
    match epochs.iter().position(|row| row.value() == 0 || *row > epoch) {
        None => Ok(epochs),
        Some(at) => Err(DecodeError::Invalid { what: "row epoch", offset: offset + at * 8 }),
    }
}

fn decode_changed(
    body: &mut Body<'_>,
    epoch: Epoch,
    stage: Stage,
    table: &PartitionTable,
    row_epochs: &[Epoch],
) -> Result<Changed, DecodeError> {
    let offset = body.offset();
    let count = body.u32()? as usize;
    if count > row_epochs.len() || (stage == Stage::Settled && count > 0) {
        return Err(DecodeError::Invalid { what: "number of changed rows", offset });
    }
    let width = table.width();
    let mut changed = Changed::default();
    changed.partitions.reserve(count.min(body.left() / 2));
    changed.rows.reserve(count.min(body.left() / (2 + 2 * width)) * width);
    for _ in 0..count {
        let offset = body.offset();
        let partition = Partition::new(body.u16()?);
        let rises = changed.partitions.last().is_none_or(|last| *last < partition);
        let of_change = row_epochs.get(usize::from(partition.value())) == Some(&epoch);
        if !rises || !of_change {
            return Err(DecodeError::Invalid { what: "changed partition", offset });
        }
        let (pairs, _) = body.take(width * 2)?.as_chunks::<2>();
        let row = pairs.iter().map(|pair| NodeIdx::new(u16::from_le_bytes(*pair)));
        changed.partitions.push(partition);
        changed.rows.extend(row);
        let row = &changed.rows[changed.rows.len() - width..];
        if !is_old_row(table, partition, row) {
            return Err(DecodeError::Invalid { what: "old row", offset: offset + 2 });
        }
    }
    Ok(changed)
}

/// Whether a row can be the one before the change of this partition: distinct known nodes, vacant
/// places at the end only, another set, and none that would have to shrink.
fn is_old_row(table: &PartitionTable, partition: Partition, row: &[NodeIdx]) -> bool {
    let new = table.row_at(usize::from(partition.value()));
    let old = without_vacant(row);
    let nodes = table.topology().nodes().len();
    let distinct = |(at, node): (usize, &NodeIdx)| !old[..at].contains(node);
    let is_short = old.len() < row.len();
    !old.is_empty()
        && old.len() <= new.len()
        && (!is_short || table.rules().is_short_allowed())
        && row[old.len()..].iter().all(|at| *at == VACANT)
        && old.iter().all(|at| usize::from(at.value()) < nodes)
        && old.iter().enumerate().all(distinct)
        && !is_same_set(old, new)
}
