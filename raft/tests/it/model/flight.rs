//! Messages under way, and entries, by what they say.

use quorate_raft::{Block, Body, EntryKind, Envelope, LogId, Message};
use quorate_transport::NodeId;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// An entry by its place and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) id: LogId,
    pub(super) content: u64,
}

pub(super) fn entries(block: &Block) -> impl Iterator<Item = Entry> {
    block.iter().map(|entry| {
        // Large payloads are there for their size alone; these are the ends that differ.
        let data = &entry.data[entry.data.len().saturating_sub(16)..];
        Entry { id: entry.id, content: digest(&(entry.kind == EntryKind::Conf, data)) }
    })
}

pub(super) fn digest(value: &impl Hash) -> u64 {
    let mut h = DefaultHasher::new();
    value.hash(&mut h);
    h.finish()
}

/// A message under way.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) message: Message,
    pub(super) digest: u64,
}

impl Flight {
    pub(super) fn new(from: NodeId, envelope: Envelope) -> Self {
        let (from, to) = (from.value(), envelope.to.value());
        let message = envelope.message;
        let digest = content(from, to, &message);
        Self { from, to, message, digest }
    }
}

fn content(from: u64, to: u64, message: &Message) -> u64 {
    let mut h = DefaultHasher::new();
    (from, to, message.term, std::mem::discriminant(&message.body)).hash(&mut h);
    match &message.body {
        Body::Append { prev, commit, blocks } => {
            (prev, commit).hash(&mut h);
            blocks.iter().flat_map(entries).for_each(|entry| entry.hash(&mut h));
        }
        Body::Accepted { index } | Body::Commit { index } => index.hash(&mut h),
        Body::Rejected { index, hint } => (index, hint).hash(&mut h),
        Body::SnapshotRequest { have } => have.hash(&mut h),
        Body::PreVote(b) | Body::Vote(b) => (b.last, b.commit, b.force).hash(&mut h),
        Body::PreVoteResp { granted, commit } | Body::VoteResp { granted, commit } => {
            (granted, commit).hash(&mut h);
        }
        Body::Heartbeat { commit, read, .. } => (commit, read).hash(&mut h),
        Body::HeartbeatResp { read, .. } => read.hash(&mut h),
        Body::Snapshot(meta) => (meta.last, meta.membership.index).hash(&mut h),
        Body::ReadIndex { ids, .. } => ids.hash(&mut h),
        Body::ReadIndexResp { index, ids } => (index, ids).hash(&mut h),
        Body::TimeoutNow => {}
        other => panic!("not in this model: {other:?}"),
    }
    h.finish()
}

/// As it stands in the path of a counterexample.
impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→{} in term {}: ", self.from, self.to, self.message.term)?;
        match &self.message.body {
            Body::Append { prev, commit, blocks } => {
                let ids: Vec<String> =
                    blocks.iter().flat_map(Block::iter).map(|e| e.id.to_string()).collect();
                write!(f, "Append after {prev} of [{}], commit {commit}", ids.join(" "))
            }
            Body::Snapshot(meta) => write!(f, "Snapshot up to {}", meta.last),
            other => write!(f, "{other:?}"),
        }
    }
}
