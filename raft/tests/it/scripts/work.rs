//! What waits to be done: messages, and the work of the threads that write and apply.

use super::print::{self, Line};
use quorate_raft::{Append, AppendToken, Apply, ApplyToken, Message, Output};
use quorate_transport::NodeId;
use std::fmt::Write as _;

/// What may be in the queue.
pub(super) enum Item {
    Message { from: NodeId, to: NodeId, message: Message },
    Appended { to: NodeId, token: AppendToken, text: String },
    Applied { to: NodeId, token: ApplyToken, text: String },
}

impl Item {
    pub(super) const fn to(&self) -> NodeId {
        match self {
            Self::Message { to, .. } | Self::Appended { to, .. } | Self::Applied { to, .. } => *to,
        }
    }

    pub(super) fn is_droppable(&self) -> bool {
        matches!(self, Self::Message { from, to, .. } if from != to)
    }

    pub(super) fn is_kind(&self, wanted: &str) -> bool {
        match self {
            Self::Message { message, .. } => print::kind(&message.body) == wanted,
            Self::Appended { .. } => wanted == "MsgStorageAppendResp",
            Self::Applied { .. } => wanted == "MsgStorageApplyResp",
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Message { from, to, message } => print::message(*from, *to, message),
            Self::Appended { text, .. } | Self::Applied { text, .. } => text.clone(),
        }
    }
}

/// Work of an append or apply thread: what it prints, does, and releases.
pub(super) struct Work {
    pub(super) text: String,
    pub(super) hard_and_log: Option<Append>,
    pub(super) entries: Vec<Line>,
    pub(super) responses: Vec<Item>,
}

/// Everything of a Ready but its messages.
pub(super) fn ready_text(out: &Output) -> String {
    let append = out.append.as_ref();
    let mut text = format!("Ready MustSync={}:\n", append.is_some_and(|a| a.sync));
    if let Some(soft) = out.soft {
        let lead = print::id_or_zero(soft.leader);
        writeln!(text, "Lead:{lead} State:{}", print::role(soft.role)).unwrap();
    }
    if let Some(append) = append {
        if let Some(hard) = &append.hard {
            writeln!(text, "HardState {}", print::hard(hard)).unwrap();
        }
        text += &list("Entries:", &print::lines_of(&append.blocks));
        if let Some(meta) = &append.install {
            writeln!(text, "Snapshot {}", print::snapshot(meta)).unwrap();
        }
    }
    if let Some(apply) = &out.apply {
        text += &list("CommittedEntries:", &apply_lines(apply));
    }
    text
}

fn list(title: &str, lines: &[Line]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    lines.iter().fold(format!("{title}\n"), |text, line| text + &print::entry(line) + "\n")
}

pub(super) fn apply_lines(apply: &Apply) -> Vec<Line> {
    apply.entries().map(|e| Line::of(&e)).collect()
}

pub(super) fn append_work(me: NodeId, mut append: Append) -> Work {
    let hard = append.hard.unwrap_or_default();
    let vote = hard.vote.map_or_else(String::new, |v| format!(" Vote:{:x}", v.value()));
    let me_hex = format!("{:x}", me.value());
    let mut text = format!(
        "{me_hex}->AppendThread MsgStorageAppend Term:{} Log:0/0{}{vote}{}",
        hard.term,
        print::commit_field(hard.commit.value()),
        print::entries_field(&print::lines_of(&append.blocks)),
    );
    let install = append.install.as_deref().map(print::snapshot_field).unwrap_or_default();
    text += &install;
    let mut responses: Vec<Item> = std::mem::take(&mut append.gated)
        .into_iter()
        .map(|e| Item::Message { from: me, to: e.to, message: e.message })
        .collect();
    if let Some(token) = append.token {
        let text = format!(
            "AppendThread->{me_hex} MsgStorageAppendResp Term:{} Log:{}{install}",
            token.term(),
            token.last()
        );
        responses.push(Item::Appended { to: me, token, text });
    }
    Work { text, hard_and_log: Some(append), entries: Vec::new(), responses }
}

pub(super) fn apply_work(me: NodeId, apply: &Apply) -> Work {
    let entries = apply_lines(apply);
    let field = print::entries_field(&entries);
    let me_hex = format!("{:x}", me.value());
    let text = format!("{me_hex}->ApplyThread MsgStorageApply Term:0 Log:0/0{field}");
    let answer = format!("ApplyThread->{me_hex} MsgStorageApplyResp Term:0 Log:0/0{field}");
    let responses = vec![Item::Applied { to: me, token: apply.token, text: answer }];
    Work { text, hard_and_log: None, entries, responses }
}

/// A work item as it stands in a Ready: with its responses.
pub(super) fn work_text(work: &Work) -> String {
    if work.responses.is_empty() {
        return work.text.clone() + "\n";
    }
    let responses: String = work.responses.iter().map(|item| indent(&item.text())).collect();
    format!("{} Responses:[\n{responses}]\n", work.text)
}

pub(super) fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
