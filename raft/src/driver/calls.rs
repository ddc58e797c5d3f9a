//! What replicas ask of each other by call: forwarded proposals, snapshot pieces, questions about
//! replication. Layout: FORMAT.md.

use crate::quorum::VOTERS_MAX;
use crate::{GroupId, LogId, LogIndex, StoreId, Term};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use quorate_transport::NodeId;

pub(super) mod changes;

const VERSION: u8 = 1;
const HEAD_LEN: usize = 16;
const CHUNK_LEN: usize = 80;

mod kind {
    pub(super) const FORWARD: u8 = 1;
    pub(super) const CHUNK: u8 = 2;
    pub(super) const REPLICATED: u8 = 3;
    pub(super) const CHANGE: u8 = 4;
    pub(super) const ROLL: u8 = 5;
}

/// Why a call was rejected: the code of the transport's `Reject::Application`. Definite.
pub(super) mod refusal {
    /// Ask the leader.
    pub(in crate::driver) const NOT_LEADER: u16 = 1;
    /// Too much is under way.
    pub(in crate::driver) const BUSY: u16 = 2;
    /// An entry is too large.
    pub(in crate::driver) const TOO_LARGE: u16 = 3;
    /// Another group, version, or not a call.
    pub(in crate::driver) const MALFORMED: u16 = 4;
    /// No space on the leader's disk.
    pub(in crate::driver) const NO_SPACE: u16 = 5;
    /// Started with other founders.
    pub(in crate::driver) const FOUNDERS: u16 = 7;
    /// A membership change; the detail says why.
    pub(in crate::driver) const CHANGE: u16 = 6;
}

/// One piece of a snapshot file.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) leader_term: Term,
    pub(super) last: LogId,
    pub(super) maker: StoreId,
    pub(super) offset: u64,
    pub(super) total: u64,
    /// CRC-32 of the file up to the end of this piece.
    pub(super) running_crc: u32,
    pub(super) is_last: bool,
    pub(super) bytes: Bytes,
}

#[derive(Clone, Debug)]
pub(super) enum Call {
    /// Append these entries.
    Forward {
        entries: Bytes,
    },
    Chunk(Chunk),
    /// How many voters hold the log up to here? Answer once it is this many.
    Replicated {
        at: LogIndex,
        voters: u32,
    },
    /// Change the membership.
    Change {
        expect: Option<LogIndex>,
        /// As in an entry.
        payload: Bytes,
    },
    /// Which disk do you have? Asked by a founder of these, or (none) by who adds a member.
    Roll {
        founders: Vec<NodeId>,
    },
}

/// Version, kind, CRC over everything, group; then what the kind adds.
fn head(kind: u8, group: GroupId, room: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(HEAD_LEN + room);
    out.put_u8(VERSION);
    out.put_u8(kind);
    out.put_u16_le(0);
    out.put_u32_le(0);
    out.put_u64_le(group.value());
    out
}

fn seal(mut out: BytesMut) -> Bytes {
    let crc = crc32fast::hash(&out);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out.freeze()
}

pub(super) fn encode(group: GroupId, call: &Call) -> Bytes {
    match call {
        Call::Forward { entries } => {
            let mut out = head(kind::FORWARD, group, entries.len());
            out.put_slice(entries);
            seal(out)
        }
        Call::Replicated { at, voters } => {
            let mut out = head(kind::REPLICATED, group, 12);
            out.put_u64_le(at.value());
            out.put_u32_le(*voters);
            seal(out)
        }
        Call::Change { expect, payload } => {
            let mut out = head(kind::CHANGE, group, 8 + payload.len());
            out.put_u64_le(expect.map_or(u64::MAX, LogIndex::value));
            out.put_slice(payload);
            seal(out)
        }
        Call::Roll { founders } => {
            let mut out = head(kind::ROLL, group, 8 * founders.len());
            founders.iter().for_each(|id| out.put_u64_le(id.value()));
            seal(out)
        }
        Call::Chunk(c) => {
            let mut out = head(kind::CHUNK, group, CHUNK_LEN + c.bytes.len());
            for word in [c.leader_term.value(), c.last.term.value(), c.last.index.value()] {
                out.put_u64_le(word);
            }
            out.put_u128_le(c.maker.value());
            out.put_u64_le(c.offset);
            out.put_u64_le(c.total);
            out.put_u32_le(c.running_crc);
            out.put_u32_le(u32::from(c.is_last));
            out.put_slice(&c.bytes);
            seal(out)
        }
    }
}

/// `None`: not a call of this version and group, or altered.
pub(super) fn decode(group: GroupId, bytes: &Bytes) -> Option<Call> {
    let (kind, mut rest) = open(bytes)?;
    if rest.get_u64_le() != group.value() {
        return None;
    }
    match kind {
        kind::FORWARD => Some(Call::Forward { entries: rest }),
        kind::REPLICATED if rest.len() == 12 => {
            let at = LogIndex::new(rest.get_u64_le());
            Some(Call::Replicated { at, voters: rest.get_u32_le() })
        }
        kind::CHANGE if rest.len() >= 8 => {
            let expect = rest.get_u64_le();
            let expect = (expect != u64::MAX).then_some(LogIndex::new(expect));
            Some(Call::Change { expect, payload: rest })
        }
        kind::ROLL if rest.len().is_multiple_of(8) && rest.len() <= 8 * VOTERS_MAX => {
            let mut founders = Vec::with_capacity(rest.len() / 8);
            while rest.has_remaining() {
                founders.push(NodeId::try_new(rest.get_u64_le())?);
            }
            Some(Call::Roll { founders })
        }
        kind::CHUNK if rest.len() >= CHUNK_LEN - HEAD_LEN => Some(Call::Chunk(Chunk {
            leader_term: Term::new(rest.get_u64_le()),
            last: LogId::new(rest.get_u64_le(), rest.get_u64_le()),
            maker: StoreId::new(rest.get_u128_le()),
            offset: rest.get_u64_le(),
            total: rest.get_u64_le(),
            running_crc: rest.get_u32_le(),
            is_last: rest.get_u32_le() & 1 != 0,
            bytes: rest,
        })),
        _ => None,
    }
}

/// Kind, and what follows the CRC.
fn open(bytes: &Bytes) -> Option<(u8, Bytes)> {
    if bytes.len() < HEAD_LEN || bytes[0] != VERSION {
        return None;
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..4]);
    hasher.update(&[0; 4]);
    hasher.update(&bytes[8..]);
    let crc = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    (hasher.finalize() == crc).then(|| (bytes[1], bytes.slice(8..)))
}

/// Where forwarded entries stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) term: Term,
    pub(super) first: LogIndex,
}

pub(super) fn encode_placed(placed: Placed) -> Bytes {
    let mut out = head(kind::FORWARD, GroupId::new(placed.term.value()), 8);
    out.put_u64_le(placed.first.value());
    seal(out)
}

pub(super) fn decode_placed(bytes: &Bytes) -> Option<Placed> {
    let (kind, mut rest) = open(bytes)?;
    (kind == kind::FORWARD && rest.len() == 16).then(|| Placed {
        term: Term::new(rest.get_u64_le()),
        first: LogIndex::new(rest.get_u64_le()),
    })
}

/// The receiver's answer to a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkAnswer {
    /// Go on at this offset.
    Continue(u64),
    /// The whole file is there and verified.
    Done,
    /// What was sent does not add up: begin anew.
    Restart,
    /// Not wanted.
    Refused,
}

pub(super) fn encode_chunk_answer(answer: ChunkAnswer) -> Bytes {
    let (status, offset) = match answer {
        ChunkAnswer::Continue(offset) => (0, offset),
        ChunkAnswer::Done => (1, 0),
        ChunkAnswer::Restart => (2, 0),
        ChunkAnswer::Refused => (3, 0),
    };
    let mut out = head(kind::CHUNK, GroupId::new(status), 8);
    out.put_u64_le(offset);
    seal(out)
}

pub(super) fn decode_chunk_answer(bytes: &Bytes) -> Option<ChunkAnswer> {
    let (kind, mut rest) = open(bytes)?;
    if kind != kind::CHUNK || rest.len() != 16 {
        return None;
    }
    match (rest.get_u64_le(), rest.get_u64_le()) {
        (0, offset) => Some(ChunkAnswer::Continue(offset)),
        (1, _) => Some(ChunkAnswer::Done),
        (2, _) => Some(ChunkAnswer::Restart),
        (3, _) => Some(ChunkAnswer::Refused),
        _ => None,
    }
}

pub(super) fn encode_count(count: u32) -> Bytes {
    seal(head(kind::REPLICATED, GroupId::new(u64::from(count)), 0))
}

pub(super) fn decode_count(bytes: &Bytes) -> Option<u32> {
    let (kind, mut rest) = open(bytes)?;
    (kind == kind::REPLICATED && rest.len() == 8)
        .then(|| rest.get_u64_le())
        .and_then(|n| n.try_into().ok())
}

/// Who a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Roll {
    /// Its disk.
    pub(super) store: StoreId,
    /// The disk it knows the asker by.
    pub(super) known: Option<StoreId>,
    /// It belongs to a group that exists.
    pub(super) founded: bool,
}

pub(super) fn encode_roll(group: GroupId, roll: Roll) -> Bytes {
    let mut out = head(kind::ROLL, group, 36);
    out.put_u128_le(roll.store.value());
    out.put_u128_le(roll.known.map_or(0, StoreId::value));
    out.put_u32_le(u32::from(roll.founded));
    seal(out)
}

pub(super) fn decode_roll(bytes: &Bytes) -> Option<Roll> {
    let (kind, mut rest) = open(bytes)?;
    if kind != kind::ROLL || rest.len() != 8 + 36 {
        return None;
    }
    rest.advance(8); // the group, which the question named
    let (store, known) = (rest.get_u128_le(), rest.get_u128_le());
    let known = (known != 0).then_some(StoreId::new(known));
    Some(Roll { store: StoreId::new(store), known, founded: rest.get_u32_le() & 1 != 0 })
}

/// Whatever is taken for a call, or for the answer to one, is the same when it is written again.
#[cfg(fuzzing)]
pub fn check_call(bytes: &Bytes) {
    let group = GroupId::new(1);
    if let Some(call) = decode(group, bytes) {
        let again = encode(group, &call);
        let twice = decode(group, &again).map(|call| encode(group, &call));
        assert_eq!(twice, Some(again));
    }
    let placed = decode_placed(bytes);
    assert_eq!(placed.map(encode_placed).as_ref().and_then(decode_placed), placed);
    let answer = decode_chunk_answer(bytes);
    assert_eq!(answer.map(encode_chunk_answer).as_ref().and_then(decode_chunk_answer), answer);
    let count = decode_count(bytes);
    assert_eq!(count.map(encode_count).as_ref().and_then(decode_count), count);
    let roll = decode_roll(bytes);
    assert_eq!(roll.map(|r| encode_roll(group, r)).as_ref().and_then(decode_roll), roll);
    let refusal = changes::decode_refusal(bytes.clone());
    let again =
        refusal.as_ref().and_then(|why| changes::decode_refusal(changes::encode_refusal(why).1));
    assert_eq!(again, refusal);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll() -> Roll {
        Roll { store: StoreId::new(9), known: Some(StoreId::new(8)), founded: true }
    }

    fn calls() -> Vec<Call> {
        let chunk = Chunk {
            leader_term: Term::new(3),
            last: LogId::new(2, 9),
            maker: StoreId::new(5),
            offset: 64,
            total: 80,
            running_crc: 7,
            is_last: true,
            bytes: Bytes::from_static(b"piece"),
        };
        vec![
            Call::Forward { entries: Bytes::from_static(b"entries") },
            Call::Chunk(chunk),
            Call::Replicated { at: LogIndex::new(4), voters: 2 },
            Call::Change { expect: Some(LogIndex::new(4)), payload: Bytes::from_static(b"change") },
            Call::Roll { founders: vec![NodeId::new(1), NodeId::new(2)] },
        ]
    }

    #[test]
    fn calls_round_trip_and_any_flipped_bit_is_refused() {
        let group = GroupId::new(1);
        for call in calls() {
            let bytes = encode(group, &call);
            let again = decode(group, &bytes).map(|call| encode(group, &call));
            assert_eq!(again, Some(bytes.clone()));
            assert!(decode(GroupId::new(2), &bytes).is_none(), "another group's call");
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(group, &flipped.into()).is_none(), "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert!(decode(group, &bytes.slice(..len)).is_none(), "cut to {len}");
            }
        }
    }

    #[test]
    fn answers_round_trip() {
        let placed = Placed { term: Term::new(3), first: LogIndex::new(8) };
        assert_eq!(decode_placed(&encode_placed(placed)), Some(placed));
        assert_eq!(decode_count(&encode_count(3)), Some(3));
        assert_eq!(decode_roll(&encode_roll(GroupId::new(1), roll())), Some(roll()));
        for answer in [
            ChunkAnswer::Continue(9),
            ChunkAnswer::Done,
            ChunkAnswer::Restart,
            ChunkAnswer::Refused,
        ] {
            assert_eq!(decode_chunk_answer(&encode_chunk_answer(answer)), Some(answer));
        }
    }

    /// Golden vectors: never edited, only added to.
    #[test]
    fn golden() {
        let hex = |bytes: Bytes| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let group = GroupId::new(1);
        let mut found: Vec<String> = calls().iter().map(|c| hex(encode(group, c))).collect();
        let placed = Placed { term: Term::new(3), first: LogIndex::new(8) };
        found.push(hex(encode_placed(placed)));
        found.push(hex(encode_chunk_answer(ChunkAnswer::Continue(9))));
        found.push(hex(encode_count(3)));
        found.push(hex(encode_roll(group, roll())));
        let expected: Vec<String> = GOLDEN.iter().map(|v| v.replace(' ', "")).collect();
        assert_eq!(found, expected);
    }

    const GOLDEN: [&str; 9] = [
        "01010000031d94f70100000000000000656e7472696573",
        "010200004b1f6b15010000000000000003000000000000000200000000000000 \
         0900000000000000050000000000000000000000000000004000000000000000 \
         500000000000000007000000010000007069656365",
        "01030000856f39fe0100000000000000040000000000000002000000",
        "01040000340b1b94010000000000000004000000000000006368616e6765",
        "0105000059e8c0b0010000000000000001000000000000000200000000000000",
        "0101000094eaba4303000000000000000800000000000000",
        "01020000c5673dd000000000000000000900000000000000",
        "010300005eb721dd0300000000000000",
        "01050000ee2e5f1b010000000000000009000000000000000000000000000000 \
         0800000000000000000000000000000001000000",
    ];
}
