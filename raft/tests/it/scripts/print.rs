//! The scripts' way of writing messages, entries and states.

use super::parse::token_of_nobody;
use quorate_raft::{
    Block, Body, ConfChange, ConfOp, Entry, EntryKind, HardState, LogId, Membership, Message,
    PeerStatus, ProgressState, Role, SnapshotMeta,
};
use quorate_transport::NodeId;
use std::fmt::Write as _;

/// The context that marks a change of the reference's old style.
pub(super) const OLD_STYLE: &str = "v1";

/// An entry as the scripts see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) id: LogId,
    pub(super) kind: EntryKind,
    pub(super) data: Vec<u8>,
}

impl Line {
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        Self { id: entry.id, kind: entry.kind, data: entry.data.to_vec() }
    }

    /// The membership change that it is.
    pub(super) fn change(&self) -> Option<ConfChange> {
        (self.kind == EntryKind::Conf).then(|| ConfChange::decode(&self.data).unwrap())
    }
}

pub(super) fn lines_of(blocks: &[Block]) -> Vec<Line> {
    blocks.iter().flat_map(Block::iter).map(|e| Line::of(&e)).collect()
}

pub(super) fn entry(line: &Line) -> String {
    if let Some(change) = line.change() {
        return format!("{} {}", line.id, change_text(&change));
    }
    let text = String::from_utf8_lossy(&line.data).replace('\\', "\\\\").replace('"', "\\\"");
    format!("{} EntryNormal \"{text}\"", line.id)
}

/// What the entry was asked as: old-style changes carry a mark in their context.
fn change_text(change: &ConfChange) -> String {
    let tokens = change.ops.iter().map(|op| match op {
        ConfOp::Voter(id, _) => format!(" v{id}"),
        ConfOp::Learner(id, _) => format!(" l{id}"),
        ConfOp::Remove(id) => format!(" r{id}"),
        ConfOp::Update(id) => {
            let token = token_of_nobody(*id).unwrap_or_else(|| format!("u{id}"));
            format!(" {token}")
        }
        other => panic!("no script has {other:?}"),
    });
    let tokens: String = tokens.collect();
    if change.context == OLD_STYLE {
        format!("EntryConfChange{tokens}")
    } else {
        format!("EntryConfChangeV2{tokens}")
    }
}

/// ` Entries:[…]`, on one line for a single entry.
pub(super) fn entries_field(entries: &[Line]) -> String {
    match entries {
        [] => String::new(),
        [one] => format!(" Entries:[{}]", entry(one)),
        many => {
            let mut out = " Entries:[\n".to_owned();
            for line in many {
                writeln!(out, "  {}", entry(line)).unwrap();
            }
            out + "]"
        }
    }
}

pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Follower => "StateFollower",
        Role::PreCandidate => "StatePreCandidate",
        Role::Candidate => "StateCandidate",
        Role::Leader => "StateLeader",
        _ => "StateUnknown",
    }
}

pub(super) fn id_or_zero(id: Option<NodeId>) -> u64 {
    id.map_or(0, NodeId::value)
}

pub(super) fn hard(h: &HardState) -> String {
    let vote = h.vote.map_or_else(String::new, |v| format!(" Vote:{v}"));
    format!("Term:{}{vote} Commit:{}", h.term, h.commit)
}

pub(super) fn snapshot(meta: &SnapshotMeta) -> String {
    let m: &Membership = &meta.membership;
    let list = |ids: &[NodeId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    format!(
        "Index:{} Term:{} ConfState:Voters:[{}] VotersOutgoing:[{}] Learners:[{}] \
         LearnersNext:[{}] AutoLeave:{}",
        meta.last.index,
        meta.last.term,
        list(&m.voters),
        list(&m.outgoing),
        list(&m.learners),
        list(&m.learners_next),
        m.auto_leave
    )
}

/// The `Snapshot:` line of a message.
pub(super) fn snapshot_field(meta: &SnapshotMeta) -> String {
    format!("\n  Snapshot: {}", snapshot(meta))
}

pub(super) const fn kind(body: &Body) -> &'static str {
    match body {
        Body::Append { .. } => "MsgApp",
        Body::Accepted { .. } | Body::Rejected { .. } => "MsgAppResp",
        Body::PreVote(_) => "MsgPreVote",
        Body::Vote(_) => "MsgVote",
        Body::PreVoteResp { .. } => "MsgPreVoteResp",
        Body::VoteResp { .. } => "MsgVoteResp",
        Body::Heartbeat { .. } => "MsgHeartbeat",
        Body::HeartbeatResp { .. } => "MsgHeartbeatResp",
        Body::TimeoutNow => "MsgTimeoutNow",
        Body::Snapshot(_) => "MsgSnap",
        Body::Propose(_) => "MsgProp",
        _ => "MsgUnknown",
    }
}

pub(super) fn message(from: NodeId, to: NodeId, m: &Message) -> String {
    let (log, rest) = match &m.body {
        Body::Append { prev, commit, blocks } => {
            (*prev, commit_field(commit.value()) + &entries_field(&lines_of(blocks)))
        }
        Body::Accepted { index } => (LogId::new(0, index.value()), String::new()),
        Body::Rejected { index, hint } => {
            let log = LogId::new(hint.term.value(), index.value());
            (log, format!(" Rejected (Hint: {})", hint.index))
        }
        Body::PreVote(ballot) | Body::Vote(ballot) => (ballot.last, String::new()),
        Body::PreVoteResp { granted, .. } | Body::VoteResp { granted, .. } => {
            let rest = if *granted { String::new() } else { " Rejected (Hint: 0)".to_owned() };
            (LogId::ZERO, rest)
        }
        Body::Heartbeat { commit, .. } => (LogId::ZERO, commit_field(commit.value())),
        Body::Snapshot(meta) => (LogId::ZERO, snapshot_field(meta)),
        Body::Propose(p) => {
            let lines: Vec<Line> = p
                .iter()
                .map(|(kind, data)| Line { id: LogId::ZERO, kind, data: data.to_vec() })
                .collect();
            (LogId::ZERO, entries_field(&lines))
        }
        _ => (LogId::ZERO, String::new()),
    };
    format!(
        "{:x}->{:x} {} Term:{} Log:{log}{rest}",
        from.value(),
        to.value(),
        kind(&m.body),
        m.term
    )
}

pub(super) fn commit_field(commit: u64) -> String {
    if commit == 0 { String::new() } else { format!(" Commit:{commit}") }
}

pub(super) fn peer(p: &PeerStatus) -> String {
    let state = match p.state {
        ProgressState::Probe => "StateProbe",
        ProgressState::Replicate => "StateReplicate",
        ProgressState::Snapshot => "StateSnapshot",
        _ => "StateUnknown",
    };
    let mut out = format!("{}: {state} match={} next={}", p.id, p.matched, p.next);
    for (set, text) in [(p.learner, " learner"), (p.paused, " paused")] {
        out.push_str(if set { text } else { "" });
    }
    if p.pending_snapshot.value() > 0 {
        write!(out, " pendingSnap={}", p.pending_snapshot).unwrap();
    }
    out.push_str(if p.active { "" } else { " inactive" });
    if p.inflight > 0 {
        write!(out, " inflight={}", p.inflight).unwrap();
        out.push_str(if p.inflight_full { "[full]" } else { "" });
    }
    out
}
