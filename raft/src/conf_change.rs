//! [`ConfChange`]: a change of the membership, and its layout as the payload of an entry
//! (FORMAT.md).

use crate::StoreId;
use crate::error::BlockError;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use quorate_transport::NodeId;

/// Most operations of one change.
pub const OPS_MAX: usize = 64;
/// Most bytes of a change's context.
pub const CONTEXT_MAX: usize = 64 << 10;

const VERSION: u8 = 1;
const HEAD_LEN: usize = 8;
const OP_LEN: usize = 32;
/// Most bytes of a change as the payload of an entry.
#[expect(clippy::cast_possible_truncation, reason = "67,592")]
pub(crate) const CHANGE_BYTES_MAX: u32 = (HEAD_LEN + OPS_MAX * OP_LEN + CONTEXT_MAX) as u32;

/// How a change comes into force.
///
/// # Examples
/// ```
/// use quorate_raft::Transition;
/// assert_eq!(Transition::default(), Transition::Auto);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transition {
    /// At once if there is at most one operation besides promotions, else through a joint phase
    /// that ends by itself.
    #[default]
    Auto,
    /// Through a joint phase that ends by itself.
    JointAuto,
    /// Through a joint phase that an empty change ends.
    JointExplicit,
}

/// One step of a change.
///
/// # Examples
/// ```
/// use quorate_raft::ConfOp;
/// use quorate_transport::NodeId;
/// assert_eq!(ConfOp::Remove(NodeId::new(3)).node(), NodeId::new(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfOp {
    /// Becomes a voter. The disk, if it is known, is the only one the node may come back with.
    Voter(NodeId, Option<StoreId>),
    /// Receives the log without voting; a voter is demoted.
    Learner(NodeId, Option<StoreId>),
    /// Is no member any more.
    Remove(NodeId),
    /// No effect: a way to have a change with a context applied everywhere in order.
    Update(NodeId),
    /// The learner becomes a voter, in the place of another if one is named, once it has caught up:
    /// by whoever leads then.
    Promote {
        /// Must be a learner.
        learner: NodeId,
        /// Is removed by the same change.
        replaces: Option<NodeId>,
    },
}

impl ConfOp {
    /// Whom it is about.
    #[must_use]
    pub const fn node(self) -> NodeId {
        match self {
            Self::Voter(id, _) | Self::Learner(id, _) | Self::Remove(id) | Self::Update(id) => id,
            Self::Promote { learner, .. } => learner,
        }
    }

    /// Kind and the 16 bytes that the kind gives a meaning to.
    fn parts(self) -> (u8, u128) {
        match self {
            Self::Voter(_, store) => (1, store.map_or(0, StoreId::value)),
            Self::Learner(_, store) => (2, store.map_or(0, StoreId::value)),
            Self::Remove(_) => (3, 0),
            Self::Update(_) => (4, 0),
            Self::Promote { replaces, .. } => (5, replaces.map_or(0, |id| id.value().into())),
        }
    }

    fn from_parts(kind: u8, id: NodeId, detail: u128) -> Option<Self> {
        let store = (detail != 0).then_some(StoreId::new(detail));
        match (kind, detail) {
            (1, _) => Some(Self::Voter(id, store)),
            (2, _) => Some(Self::Learner(id, store)),
            (3, 0) => Some(Self::Remove(id)),
            (4, 0) => Some(Self::Update(id)),
            (5, _) => {
                let replaces = NodeId::try_new(u64::try_from(detail).ok()?);
                Some(Self::Promote { learner: id, replaces })
            }
            _ => None,
        }
    }
}

/// A change of the membership. One that is empty ends a joint phase.
///
/// # Shape
/// At most [`OPS_MAX`](crate::OPS_MAX) operations and 64 KiB of context.
///
/// # Examples
/// ```
/// use quorate_raft::{ConfChange, ConfOp, Membership};
/// use quorate_transport::NodeId;
///
/// let [a, b, c, d] = [1, 2, 3, 4].map(NodeId::new);
/// let group = Membership::of_voters(&[a, b, c]);
/// let replace = ConfChange::new(vec![ConfOp::Voter(d, None), ConfOp::Remove(a)]);
/// let joint = group.changed(&replace).unwrap().membership;
/// assert!(joint.is_joint() && joint.auto_leave); // two voters change: never at once
/// let after = joint.changed(&ConfChange::leave()).unwrap().membership;
/// assert_eq!(after.voters, [b, c, d]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfChange {
    /// How it comes into force.
    pub transition: Transition,
    /// In this order; none = end the joint phase.
    pub ops: Vec<ConfOp>,
    /// The application's, uninterpreted.
    pub context: Bytes,
}

impl ConfChange {
    /// These operations, with [`Transition::Auto`].
    #[must_use]
    pub const fn new(ops: Vec<ConfOp>) -> Self {
        Self { transition: Transition::Auto, ops, context: Bytes::new() }
    }

    /// Ends the joint phase.
    #[must_use]
    pub const fn leave() -> Self {
        Self::new(Vec::new())
    }

    /// The same change with this transition.
    #[must_use]
    pub const fn transition(mut self, transition: Transition) -> Self {
        self.transition = transition;
        self
    }

    /// The same change with this context.
    #[must_use]
    pub fn context(mut self, context: impl Into<Bytes>) -> Self {
        self.context = context.into();
        self
    }

    /// Whether it ends a joint phase.
    #[must_use]
    pub const fn leaves_joint(&self) -> bool {
        self.ops.is_empty()
    }

    /// Whether it begins a joint phase, and if so whether that ends by itself.
    pub(crate) fn enters_joint(&self) -> Option<bool> {
        // Who is to be promoted some day changes no majority.
        let plans = |op: &&ConfOp| matches!(op, ConfOp::Promote { .. });
        let steps = self.ops.len() - self.ops.iter().filter(plans).count();
        match self.transition {
            Transition::Auto if steps <= 1 => None,
            Transition::Auto | Transition::JointAuto => Some(true),
            Transition::JointExplicit => Some(false),
        }
    }

    /// Whether it keeps to the limits.
    pub(crate) fn is_small_enough(&self) -> bool {
        self.ops.len() <= OPS_MAX && self.context.len() <= CONTEXT_MAX
    }

    /// The payload of an entry of kind [`Conf`](crate::EntryKind::Conf).
    ///
    /// # Panics
    /// If it is over the limits; the core refuses such changes before.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        assert!(self.is_small_enough(), "checked where changes are accepted");
        let mut out =
            BytesMut::with_capacity(HEAD_LEN + OP_LEN * self.ops.len() + self.context.len());
        out.put_u8(VERSION);
        out.put_u8(match self.transition {
            Transition::Auto => 0,
            Transition::JointAuto => 1,
            Transition::JointExplicit => 2,
        });
        out.put_u16_le(u16::try_from(self.ops.len()).unwrap_or(u16::MAX)); // ≤ OPS_MAX
        out.put_u32_le(u32::try_from(self.context.len()).unwrap_or(u32::MAX)); // ≤ CONTEXT_MAX
        for op in &self.ops {
            let (kind, detail) = op.parts();
            out.put_u8(kind);
            out.put_bytes(0, 7);
            out.put_u64_le(op.node().value());
            out.put_u128_le(detail);
        }
        out.put_slice(&self.context);
        out.freeze()
    }

    /// Reads such a payload.
    ///
    /// # Errors
    /// [`BlockError::Field`] names what is wrong. Nothing is allocated from an unverified length.
    pub fn decode(payload: &[u8]) -> Result<Self, BlockError> {
        let wrong = |what| Err(BlockError::Field { what });
        let Some((mut head, mut rest)) = payload.split_at_checked(HEAD_LEN) else {
            return wrong("membership change: head");
        };
        if head.get_u8() != VERSION {
            return wrong("membership change: version");
        }
        let transition = match head.get_u8() {
            0 => Transition::Auto,
            1 => Transition::JointAuto,
            2 => Transition::JointExplicit,
            _ => return wrong("membership change: transition"),
        };
        let (count, context_len) = (usize::from(head.get_u16_le()), head.get_u32_le() as usize);
        if count > OPS_MAX || context_len > CONTEXT_MAX {
            return wrong("membership change: over its limits");
        }
        if rest.len() != count * OP_LEN + context_len {
            return wrong("membership change: length");
        }
        let mut ops = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = rest.get_u8();
            let padding = rest.copy_to_bytes(7);
            let (node, detail) = (rest.get_u64_le(), rest.get_u128_le());
            let op = NodeId::try_new(node).and_then(|id| ConfOp::from_parts(kind, id, detail));
            match op {
                Some(op) if padding.iter().all(|b| *b == 0) => ops.push(op),
                _ => return wrong("membership change: operation"),
            }
        }
        Ok(Self { transition, ops, context: Bytes::copy_from_slice(rest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Vec<ConfChange> {
        let id = NodeId::new;
        let store = Some(StoreId::new(0x1122));
        let all = vec![
            ConfOp::Voter(id(1), store),
            ConfOp::Learner(id(2), None),
            ConfOp::Remove(id(3)),
            ConfOp::Update(id(4)),
            ConfOp::Promote { learner: id(2), replaces: Some(id(3)) },
        ];
        vec![
            ConfChange::leave(),
            ConfChange::new(all).transition(Transition::JointExplicit).context("why"),
        ]
    }

    #[test]
    fn changes_round_trip() {
        for change in changes() {
            assert_eq!(ConfChange::decode(&change.encode()), Ok(change));
        }
    }

    /// Golden vectors: never edited, only added to.
    #[test]
    fn golden() {
        let hex = |c: &ConfChange| c.encode().iter().map(|b| format!("{b:02x}")).collect();
        let found: Vec<String> = changes().iter().map(hex).collect();
        let expected: Vec<String> = GOLDEN.iter().map(|v| v.replace(' ', "")).collect();
        assert_eq!(found, expected);
    }

    const GOLDEN: [&str; 2] = [
        "01000000 00000000",
        "01020500 03000000 \
         0100000000000000 0100000000000000 22110000000000000000000000000000 \
         0200000000000000 0200000000000000 00000000000000000000000000000000 \
         0300000000000000 0300000000000000 00000000000000000000000000000000 \
         0400000000000000 0400000000000000 00000000000000000000000000000000 \
         0500000000000000 0200000000000000 03000000000000000000000000000000 \
         776879",
    ];

    /// A CRC of the block covers the payload; these are the checks behind it.
    #[test]
    fn what_no_writer_produces_is_refused() {
        let good = changes()[1].encode();
        for len in 0..good.len() {
            assert!(ConfChange::decode(&good[..len]).is_err(), "cut to {len}");
        }
        let altered = |at: usize, to: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = to;
            ConfChange::decode(&bytes)
        };
        for (at, to) in [(0, 2), (1, 3), (2, 6), (3, 1), (4, 4), (7, 1), (8, 9), (9, 1), (16, 0)] {
            assert!(altered(at, to).is_err(), "byte {at} = {to}");
        }
        assert!(altered(8 + 2 * 32 + 16, 1).is_err(), "a removal has no disk");
    }
}
