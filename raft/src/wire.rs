//! The encoding of messages: a header of 96 bytes, then blocks or ids. Layout: FORMAT.md.

use crate::error::StepError;
use crate::message::{Ballot, Body, Message};
use crate::{Block, GroupId, Limits, LogId, LogIndex, Proposal, ReadId, Term};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use core::time::Duration;
use quorate_clocks::Monotonic;

const HEADER_LEN: usize = 96;
const VERSION: u8 = 1;
const FLAG_YES: u16 = 1;
const FLAG_FORCE: u16 = 2;
const FLAG_LEASE: u16 = 8;
/// Most pieces of one transport body, the header being one of them.
const PIECES_MAX: usize = 8;
/// Terms and indexes beyond this are no protocol's: room for arithmetic that cannot wrap.
const NUMBER_MAX: u64 = u64::MAX - (1 << 32);
const IDS_MAX: usize = 4_096;

/// Message kinds of the format.
mod kind {
    pub(super) const APPEND: u8 = 1;
    pub(super) const APPEND_RESP: u8 = 2;
    pub(super) const PRE_VOTE: u8 = 3;
    pub(super) const VOTE: u8 = 4;
    pub(super) const PRE_VOTE_RESP: u8 = 5;
    pub(super) const VOTE_RESP: u8 = 6;
    pub(super) const HEARTBEAT: u8 = 7;
    pub(super) const HEARTBEAT_RESP: u8 = 8;
    pub(super) const COMMIT: u8 = 9;
    pub(super) const TIMEOUT_NOW: u8 = 10;
    pub(super) const SNAPSHOT_REQUEST: u8 = 12;
    pub(super) const READ_INDEX: u8 = 13;
    pub(super) const READ_INDEX_RESP: u8 = 14;
    pub(super) const PROPOSE: u8 = 15;
}

/// The fields of the header that kinds give a meaning to.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    kind: u8,
    flags: u16,
    group: u64,
    term: u64,
    log: LogId,
    commit: LogId,
    aux: u64,
    stamp: u64,
    echo: u64,
    store: u64,
    promise_ms: u32,
    body_len: u32,
}

/// The message as at most eight pieces for the transport: header, then blocks without a copy.
/// `store` is the folded identity of the sender's disk.
///
/// A snapshot has no wire form and yields `None`; so does a body of more than 4 GiB.
///
/// # Cost
/// 96 bytes, and one copy of the blocks if there are more than seven.
///
/// # Examples
/// ```
/// use quorate_raft::{Body, GroupId, Limits, Message, Term, wire};
///
/// let message = Message::new(GroupId::new(1), Term::new(2), Body::TimeoutNow);
/// let pieces = wire::encode(&message, 9).unwrap();
/// let (again, store) = wire::decode(&pieces[0], &Limits::default()).unwrap();
/// assert_eq!((again.term, store), (Term::new(2), 9));
/// ```
#[must_use]
pub fn encode(message: &Message, store: u64) -> Option<Vec<Bytes>> {
    let mut head =
        Head { group: message.group.value(), term: message.term.value(), store, ..Head::default() };
    let tail = fill(&mut head, &message.body)?;
    if !matches!(message.body, Body::Append { .. }) && !tail.is_empty() {
        // Blocks have checksums of their own; ids and entries are covered by this one.
        head.aux = u64::from(crc32fast::hash(&tail[0]));
    }
    let body_len: usize = tail.iter().map(Bytes::len).sum();
    head.body_len = u32::try_from(body_len).ok()?;
    let mut pieces = Vec::with_capacity(1 + tail.len().min(PIECES_MAX - 1));
    pieces.push(head.encode());
    if tail.len() < PIECES_MAX {
        pieces.extend(tail);
    } else {
        // Many small blocks: one copy is cheaper than one message each.
        let mut joined = BytesMut::with_capacity(body_len);
        tail.iter().for_each(|piece| joined.put_slice(piece));
        pieces.push(joined.freeze());
    }
    Some(pieces)
}

/// Sets the fields of the kind and returns what follows the header.
fn fill(head: &mut Head, body: &Body) -> Option<Vec<Bytes>> {
    let mut tail = Vec::new();
    head.kind = match body {
        Body::Append { prev, commit, blocks } => {
            head.log = *prev;
            head.commit.index = *commit;
            tail = blocks.iter().map(|b| b.as_bytes().clone()).collect();
            kind::APPEND
        }
        Body::Accepted { index } | Body::SnapshotRequest { have: index } => {
            head.log.index = *index;
            match body {
                Body::Accepted { .. } => kind::APPEND_RESP,
                _ => kind::SNAPSHOT_REQUEST,
            }
        }
        Body::Rejected { index, hint } => {
            head.flags = FLAG_YES;
            head.log = LogId::of(hint.term, *index);
            head.aux = hint.index.value();
            kind::APPEND_RESP
        }
        Body::PreVote(ballot) | Body::Vote(ballot) => {
            head.log = ballot.last;
            head.commit = ballot.commit;
            head.flags = if ballot.force { FLAG_FORCE } else { 0 };
            if matches!(body, Body::Vote(_)) { kind::VOTE } else { kind::PRE_VOTE }
        }
        Body::PreVoteResp { granted, commit } | Body::VoteResp { granted, commit } => {
            head.commit = *commit;
            head.flags = u16::from(*granted);
            if matches!(body, Body::VoteResp { .. }) {
                kind::VOTE_RESP
            } else {
                kind::PRE_VOTE_RESP
            }
        }
        Body::Heartbeat { commit, read, stamp } => {
            head.commit.index = *commit;
            (head.aux, head.stamp) = (*read, stamp.as_nanos());
            kind::HEARTBEAT
        }
        Body::HeartbeatResp { read, stamp, promise } => {
            (head.aux, head.echo) = (*read, stamp.as_nanos());
            // Less than it is would do, more would not.
            head.promise_ms = u32::try_from(promise.as_millis()).unwrap_or(u32::MAX);
            kind::HEARTBEAT_RESP
        }
        Body::Commit { index } => {
            head.commit.index = *index;
            kind::COMMIT
        }
        Body::TimeoutNow => kind::TIMEOUT_NOW,
        Body::ReadIndex { ids, lease } => {
            head.flags = u16::from(*lease) * FLAG_LEASE;
            tail.push(ids_bytes(ids));
            kind::READ_INDEX
        }
        Body::ReadIndexResp { index, ids } => {
            head.log.index = *index;
            tail.push(ids_bytes(ids));
            kind::READ_INDEX_RESP
        }
        Body::Propose(proposal) => {
            tail.push(Bytes::copy_from_slice(proposal.body()));
            kind::PROPOSE
        }
        Body::Snapshot(_) => return None,
    };
    Some(tail)
}

impl Head {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_LEN);
        out.put_u8(VERSION);
        out.put_u8(self.kind);
        out.put_u16_le(self.flags);
        out.put_u32_le(0); // CRC, below
        for word in [
            self.group,
            self.term,
            self.log.term.value(),
            self.log.index.value(),
            self.commit.index.value(),
            self.commit.term.value(),
            self.aux,
            self.stamp,
            self.echo,
            self.store,
        ] {
            out.put_u64_le(word);
        }
        out.put_u32_le(self.promise_ms);
        out.put_u32_le(self.body_len);
        let crc = crc32fast::hash(&out);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out.freeze()
    }

    fn decode(bytes: &[u8]) -> Result<Self, StepError> {
        let malformed = |what| StepError::Malformed { what };
        let header: &[u8; HEADER_LEN] =
            bytes.first_chunk().ok_or_else(|| malformed("header truncated"))?;
        let mut unsealed = *header;
        unsealed[4..8].fill(0);
        let mut r = &header[..];
        let (version, kind, flags, crc) = (r.get_u8(), r.get_u8(), r.get_u16_le(), r.get_u32_le());
        if crc != crc32fast::hash(&unsealed) {
            return Err(malformed("header checksum"));
        }
        if version != VERSION {
            return Err(malformed("version"));
        }
        let mut word = || r.get_u64_le();
        let (group, term, log_term, log_index) = (word(), word(), word(), word());
        let (commit_index, commit_term, aux) = (word(), word(), word());
        let (stamp, echo, store) = (word(), word(), word());
        let (promise_ms, body_len) = (r.get_u32_le(), r.get_u32_le());
        if [term, log_term, log_index, commit_index, commit_term].iter().any(|n| *n > NUMBER_MAX) {
            return Err(malformed("term or index out of range"));
        }
        Ok(Self {
            kind,
            flags,
            group,
            term,
            log: LogId::new(log_term, log_index),
            commit: LogId::new(commit_term, commit_index),
            aux,
            stamp,
            echo,
            store,
            promise_ms,
            body_len,
        })
    }
}

fn ids_bytes(ids: &[ReadId]) -> Bytes {
    let mut out = BytesMut::with_capacity(ids.len() * 8);
    ids.iter().for_each(|id| out.put_u64_le(id.value()));
    out.freeze()
}

/// The message in `bytes`, and the folded identity of its sender's disk.
///
/// # Errors
/// [`StepError::Malformed`] or [`StepError::Block`]: what is wrong. Nothing is allocated from a
/// length that was not verified.
///
/// # Examples
/// ```
/// use quorate_raft::{Limits, StepError, wire};
///
/// let refused = wire::decode(&bytes::Bytes::from_static(b"short"), &Limits::default());
/// assert_eq!(refused.unwrap_err(), StepError::Malformed { what: "header truncated" });
/// ```
pub fn decode(bytes: &Bytes, limits: &Limits) -> Result<(Message, u64), StepError> {
    let head = Head::decode(bytes)?;
    let tail = bytes.slice(HEADER_LEN..);
    if tail.len() != head.body_len as usize {
        return Err(StepError::Malformed { what: "body length" });
    }
    let summed = matches!(head.kind, kind::READ_INDEX | kind::READ_INDEX_RESP | kind::PROPOSE);
    if summed && head.aux != u64::from(crc32fast::hash(&tail)) {
        return Err(StepError::Malformed { what: "body checksum" });
    }
    let body = body_of(&head, &tail, limits)?;
    let takes_body = matches!(
        head.kind,
        kind::APPEND | kind::READ_INDEX | kind::READ_INDEX_RESP | kind::PROPOSE
    );
    if !takes_body && !tail.is_empty() {
        return Err(StepError::Malformed { what: "trailing bytes" });
    }
    Ok((Message::new(GroupId::new(head.group), Term::new(head.term), body), head.store))
}

fn body_of(head: &Head, tail: &Bytes, limits: &Limits) -> Result<Body, StepError> {
    let yes = head.flags & FLAG_YES != 0;
    let ballot =
        Ballot { last: head.log, commit: head.commit, force: head.flags & FLAG_FORCE != 0 };
    Ok(match head.kind {
        kind::APPEND => Body::Append {
            prev: head.log,
            commit: head.commit.index,
            blocks: blocks_of(tail, limits)?,
        },
        kind::APPEND_RESP if yes => Body::Rejected {
            index: head.log.index,
            hint: LogId::of(head.log.term, LogIndex::new(head.aux)),
        },
        kind::APPEND_RESP => Body::Accepted { index: head.log.index },
        kind::PRE_VOTE => Body::PreVote(ballot),
        kind::VOTE => Body::Vote(ballot),
        kind::PRE_VOTE_RESP => Body::PreVoteResp { granted: yes, commit: head.commit },
        kind::VOTE_RESP => Body::VoteResp { granted: yes, commit: head.commit },
        kind::HEARTBEAT => Body::Heartbeat {
            commit: head.commit.index,
            read: head.aux,
            stamp: Monotonic::from_nanos(head.stamp),
        },
        kind::HEARTBEAT_RESP => Body::HeartbeatResp {
            read: head.aux,
            stamp: Monotonic::from_nanos(head.echo),
            promise: Duration::from_millis(u64::from(head.promise_ms)),
        },
        kind::COMMIT => Body::Commit { index: head.commit.index },
        kind::TIMEOUT_NOW => Body::TimeoutNow,
        kind::SNAPSHOT_REQUEST => Body::SnapshotRequest { have: head.log.index },
        kind::READ_INDEX => {
            Body::ReadIndex { ids: ids_of(tail)?, lease: head.flags & FLAG_LEASE != 0 }
        }
        kind::READ_INDEX_RESP => Body::ReadIndexResp { index: head.log.index, ids: ids_of(tail)? },
        kind::PROPOSE => Body::Propose(Proposal::from_body(tail, limits)?),
        _ => return Err(StepError::Malformed { what: "kind" }),
    })
}

fn blocks_of(tail: &Bytes, limits: &Limits) -> Result<Vec<Block>, StepError> {
    let mut rest = tail.clone();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let (block, used) = Block::decode_prefix(&rest, limits)?;
        rest.advance(used);
        blocks.push(block);
    }
    Ok(blocks)
}

fn ids_of(tail: &Bytes) -> Result<Vec<ReadId>, StepError> {
    if !tail.len().is_multiple_of(8) || tail.len() / 8 > IDS_MAX {
        return Err(StepError::Malformed { what: "read ids" });
    }
    let mut rest = &tail[..];
    let mut ids = Vec::with_capacity(tail.len() / 8);
    while rest.has_remaining() {
        ids.push(ReadId::new(rest.get_u64_le()));
    }
    Ok(ids)
}
