//! Membership changes that are asked of the leader, and why it refuses them. Layout: FORMAT.md.

use super::refusal;
use crate::LogIndex;
use crate::error::{ConfError, ConfInvalid};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use quorate_transport::NodeId;

mod kind {
    pub(super) const PENDING: u8 = 1;
    pub(super) const JOINT: u8 = 2;
    pub(super) const NOT_JOINT: u8 = 3;
    pub(super) const CONFLICT: u8 = 4;
    pub(super) const INVALID: u8 = 5;
    pub(super) const TRANSFERRING: u8 = 6;
}

/// By their numbers: never moved, only added to.
const INVALID: [ConfInvalid; 13] = [
    ConfInvalid::NoVoters,
    ConfInvalid::SeveralVoters,
    ConfInvalid::SimpleInJoint,
    ConfInvalid::AlreadyJoint,
    ConfInvalid::JointWithoutVoters,
    ConfInvalid::NotJoint,
    ConfInvalid::TooManyVoters,
    ConfInvalid::TooManyMembers,
    ConfInvalid::TooLarge,
    ConfInvalid::NotLearner,
    ConfInvalid::OtherDisk,
    ConfInvalid::AlreadyVotes,
    ConfInvalid::NotVoter,
];

/// Code and detail of a rejection: what is in the way, then a number that belongs to it.
pub(in crate::driver) fn encode_refusal(error: &ConfError) -> (u16, Bytes) {
    let (kind, number) = match error {
        ConfError::Pending { index } => (kind::PENDING, index.value()),
        ConfError::Joint => (kind::JOINT, 0),
        ConfError::NotJoint => (kind::NOT_JOINT, 0),
        ConfError::Conflict { current } => (kind::CONFLICT, current.value()),
        ConfError::Invalid { why } => {
            let at = INVALID.iter().position(|known| known == why);
            (kind::INVALID, at.map_or(u64::MAX, |at| at as u64))
        }
        ConfError::Transferring { to } => (kind::TRANSFERRING, to.value()),
        _ => return (refusal::NOT_LEADER, Bytes::new()),
    };
    let mut detail = BytesMut::with_capacity(9);
    detail.put_u8(kind);
    detail.put_u64_le(number);
    (refusal::CHANGE, detail.freeze())
}

/// Why the leader refused; none if the detail is not one of these.
pub(in crate::driver) fn decode_refusal(mut detail: Bytes) -> Option<ConfError> {
    if detail.len() != 9 {
        return None;
    }
    let (kind, number) = (detail.get_u8(), detail.get_u64_le());
    Some(match kind {
        kind::PENDING => ConfError::Pending { index: LogIndex::new(number) },
        kind::JOINT => ConfError::Joint,
        kind::NOT_JOINT => ConfError::NotJoint,
        kind::CONFLICT => ConfError::Conflict { current: LogIndex::new(number) },
        kind::INVALID => {
            let why = *INVALID.get(usize::try_from(number).ok()?)?;
            ConfError::Invalid { why }
        }
        kind::TRANSFERRING => ConfError::Transferring { to: NodeId::try_new(number)? },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_round_trip() {
        let mut errors: Vec<ConfError> =
            INVALID.iter().map(|why| ConfError::Invalid { why: *why }).collect();
        errors.extend([
            ConfError::Pending { index: LogIndex::new(7) },
            ConfError::Joint,
            ConfError::NotJoint,
            ConfError::Conflict { current: LogIndex::new(8) },
            ConfError::Transferring { to: NodeId::new(9) },
        ]);
        for error in errors {
            let (code, detail) = encode_refusal(&error);
            assert_eq!((code, decode_refusal(detail)), (refusal::CHANGE, Some(error)));
        }
        let elsewhere = ConfError::NotLeader { leader: None };
        assert_eq!(encode_refusal(&elsewhere), (refusal::NOT_LEADER, Bytes::new()));
    }

    #[test]
    fn what_no_leader_says_is_no_refusal() {
        for bytes in [&b""[..], &[0; 9], &[5, 13, 0, 0, 0, 0, 0, 0, 0], &[6; 8], &[2; 10]] {
            assert_eq!(decode_refusal(Bytes::from_static(bytes)), None, "{bytes:?}");
        }
    }
}
