//! The `interaction/` scripts: a group of replicas, one queue of messages, every step by command.

use super::node::{GROUP, Node, TICK};
use super::parse::Case;
use super::print;
use super::work::{
    Item, Work, append_work, apply_lines, apply_work, indent, ready_text, work_text,
};
use quorate_raft::{Body, Envelope, LogIndex, Message, Output, StepError};
use quorate_transport::NodeId;
use std::fmt::Write as _;

const ROUNDS_MAX: usize = 1_000;

#[derive(Default)]
pub(super) struct Env {
    nodes: Vec<Node>,
    queue: Vec<Item>,
    silent: bool,
}

impl Env {
    /// The output of one case.
    pub(super) fn run(&mut self, case: &Case) -> String {
        let mut errors = String::new();
        let out = self.verb(case, &mut errors);
        let shown = if self.silent { errors } else { errors + &out };
        if shown.is_empty() { "ok".to_owned() } else { shown }
    }

    fn verb(&mut self, case: &Case, errors: &mut String) -> String {
        let ids = case.plain();
        let first = ids.first().copied().unwrap_or(0);
        match case.verb.as_str() {
            "log-level" => {
                self.silent = case.args[0].key.eq_ignore_ascii_case("none");
                String::new()
            }
            "add-nodes" => self.add_nodes(first, case),
            "process-ready" => self.for_each(&ids, "handling Ready", Self::process_ready),
            "process-append-thread" => {
                self.for_each(&ids, "processing append thread", Self::process_append_thread)
            }
            "process-apply-thread" => {
                self.for_each(&ids, "processing apply thread", Self::process_apply_thread)
            }
            "deliver-msgs" => self.deliver_verb(case, &ids),
            "stabilize" => self.stabilize(case, &ids),
            "raft-state" => self.nodes.iter().map(Node::state_line).collect(),
            "send-snapshot" => self.send_snapshot(ids[0], ids[1]),
            "transfer-leadership" => {
                let (from, to) = (case.number("from").unwrap(), case.number("to").unwrap());
                let node = self.node(from);
                let _answer = node.raft.transfer(node.now, Some(NodeId::new(to)));
                String::new()
            }
            _ => self.node_verb(case, first, errors),
        }
    }

    /// Verbs about one node.
    fn node_verb(&mut self, case: &Case, id: u64, errors: &mut String) -> String {
        let ids = case.plain();
        let node = self.node(id);
        match case.verb.as_str() {
            "campaign" => drop(node.raft.campaign(node.now)),
            "propose" => {
                let data = case.args[1].key.as_bytes().to_vec();
                if node.propose(&data).is_err() {
                    errors.push_str("raft proposal dropped\n");
                }
            }
            "propose-conf-change" => {
                if node.propose_change(case).is_err() {
                    errors.push_str("raft proposal dropped\n");
                }
            }
            "tick-heartbeat" => node.tick(1),
            "tick-election" => node.tick(3),
            "set-randomized-election-timeout" => {
                let ticks = u32::try_from(case.number("timeout").unwrap()).unwrap();
                node.raft.set_randomized_timeout(TICK * ticks);
            }
            "forget-leader" => drop(node.raft.forget_leader()),
            "report-unreachable" => node.raft.unreachable(NodeId::new(ids[1])),
            "compact" => {
                node.compact(LogIndex::new(ids[1]));
                return node.log_text();
            }
            "raft-log" => return node.log_text(),
            "status" => {
                let peers = node.raft.status().peers;
                return peers.iter().map(|p| print::peer(p) + "\n").collect();
            }
            verb => panic!("unknown verb {verb}"),
        }
        String::new()
    }

    fn node(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[usize::try_from(id).unwrap() - 1]
    }

    fn add_nodes(&mut self, count: u64, case: &Case) -> String {
        for _ in 0..count {
            let id = NodeId::new(self.nodes.len() as u64 + 1);
            self.nodes.push(Node::new(id, case));
        }
        String::new()
    }

    /// Plain output for one id; under indented headers for several.
    fn for_each(
        &mut self,
        ids: &[u64],
        header: &str,
        process: impl Fn(&mut Self, u64) -> String,
    ) -> String {
        if let [one] = ids {
            return process(self, *one);
        }
        let mut out = String::new();
        for id in ids {
            writeln!(out, "> {id} {header}").unwrap();
            out += &indent(&process(self, *id));
        }
        out
    }

    fn process_ready(&mut self, id: u64) -> String {
        let node = self.node(id);
        if !node.raft.has_output() {
            return "<empty Ready>\n".to_owned();
        }
        let mut out = Output::default();
        node.raft.drain(&mut out);
        if node.asynchronous { self.ready_async(id, out) } else { self.ready_sync(id, out) }
    }

    fn ready_sync(&mut self, id: u64, mut out: Output) -> String {
        let node = self.node(id);
        let me = node.id;
        let gated = out.append.as_mut().map(|a| std::mem::take(&mut a.gated)).unwrap_or_default();
        let (own, others): (Vec<Envelope>, Vec<Envelope>) =
            gated.into_iter().partition(|e| e.to == me);
        let messages: Vec<Envelope> =
            std::mem::take(&mut out.send).into_iter().chain(others).collect();
        let mut text = ready_text(&out);
        if !messages.is_empty() {
            text += "Messages:\n";
            for e in &messages {
                text += &(print::message(me, e.to, &e.message) + "\n");
            }
        }
        if let Some(append) = &out.append {
            node.write(append);
        }
        if let Some(apply) = &out.apply {
            node.apply(&apply_lines(apply));
        }
        for e in own {
            // Removed by what was just applied, its own word counts no more.
            match node.raft.handle_message(node.now, me, e.message) {
                Ok(()) | Err(StepError::UnknownPeer { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        if let Some(token) = out.append.and_then(|a| a.token) {
            node.raft.appended(node.now, token);
        }
        if let Some(apply) = out.apply {
            node.raft.applied(node.now, apply.token);
        }
        let items = messages.into_iter();
        self.queue.extend(items.map(|e| Item::Message { from: me, to: e.to, message: e.message }));
        text
    }

    fn ready_async(&mut self, id: u64, mut out: Output) -> String {
        let node = self.node(id);
        let me = node.id;
        let mut text = ready_text(&out);
        let mut messages = String::new();
        let mut sent = Vec::new();
        for e in std::mem::take(&mut out.send) {
            messages += &(print::message(me, e.to, &e.message) + "\n");
            sent.push(Item::Message { from: me, to: e.to, message: e.message });
        }
        if let Some(append) = out.append.take() {
            let work = append_work(me, append);
            messages += &work_text(&work);
            node.append_work.push_back(work);
        }
        if let Some(apply) = out.apply.take() {
            let work = apply_work(me, &apply);
            messages += &work_text(&work);
            node.apply_work.push_back(work);
        }
        if !messages.is_empty() {
            text += &("Messages:\n".to_owned() + &messages);
        }
        self.queue.extend(sent);
        text
    }

    fn process_append_thread(&mut self, id: u64) -> String {
        let node = self.node(id);
        let Some(work) = node.append_work.pop_front() else {
            return "no append work to perform\n".to_owned();
        };
        if let Some(append) = &work.hard_and_log {
            node.write(append);
        }
        self.release(work)
    }

    fn process_apply_thread(&mut self, id: u64) -> String {
        let node = self.node(id);
        let Some(work) = node.apply_work.pop_front() else {
            return "no apply work to perform\n".to_owned();
        };
        node.apply(&work.entries);
        self.release(work)
    }

    fn release(&mut self, work: Work) -> String {
        let mut out = format!("Processing:\n{}\nResponses:\n", work.text);
        for item in &work.responses {
            out += &(item.text() + "\n");
        }
        self.queue.extend(work.responses);
        out
    }

    fn deliver_verb(&mut self, case: &Case, ids: &[u64]) -> String {
        let kind = case.value("type");
        let mut out = String::new();
        let mut any = false;
        for arg in &case.args {
            if arg.key == "drop" {
                for id in case.numbers("drop") {
                    any |= self.deliver(id, kind, true, &mut out);
                }
            } else if arg.values.is_empty() && ids.contains(&arg.key.parse().unwrap_or(0)) {
                any |= self.deliver(arg.key.parse().unwrap(), kind, false, &mut out);
            }
        }
        if any { out } else { "no messages\n".to_owned() }
    }

    /// Takes what is queued for `id` and hands it over, or drops it. True if there was anything.
    fn deliver(&mut self, id: u64, kind: Option<&str>, drop: bool, out: &mut String) -> bool {
        let mine = |item: &Item| {
            item.to().value() == id
                && kind.is_none_or(|k| item.is_kind(k))
                && (!drop || item.is_droppable())
        };
        let (taken, kept) = std::mem::take(&mut self.queue).into_iter().partition(mine);
        self.queue = kept;
        let taken: Vec<Item> = taken;
        let any = !taken.is_empty();
        for item in taken {
            if drop {
                *out += &format!("dropped: {}\n", item.text());
                continue;
            }
            *out += &(item.text() + "\n");
            let node = self.node(id);
            match item {
                Item::Message { from, message, .. } => node.step(from, message, out),
                Item::Appended { token, .. } => node.raft.appended(node.now, token),
                Item::Applied { token, .. } => node.raft.applied(node.now, token),
            }
        }
        any
    }

    fn stabilize(&mut self, case: &Case, ids: &[u64]) -> String {
        let before = self.silent;
        if let Some(level) = case.value("log-level") {
            self.silent = level.eq_ignore_ascii_case("none");
        }
        let all: Vec<u64> = (1..=self.nodes.len() as u64).collect();
        let ids = if ids.is_empty() { &all[..] } else { ids };
        let mut out = String::new();
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "the group does not settle");
            if !self.stabilize_round(ids, &mut out) {
                break;
            }
        }
        let shown = if self.silent { String::new() } else { out };
        self.silent = before;
        shown
    }

    fn stabilize_round(&mut self, ids: &[u64], out: &mut String) -> bool {
        let mut any = false;
        for id in ids {
            if self.node(*id).raft.has_output() {
                any = true;
                let text = self.process_ready(*id);
                *out += &format!("> {id} handling Ready\n{}", indent(&text));
            }
        }
        for id in ids {
            let mut text = String::new();
            if self.deliver(*id, None, false, &mut text) {
                any = true;
                *out += &format!("> {id} receiving messages\n{}", indent(&text));
            }
        }
        for id in ids {
            let mut text = String::new();
            while !self.node(*id).append_work.is_empty() {
                text += &self.process_append_thread(*id);
            }
            any |= report(out, *id, "processing append thread", &text);
        }
        for id in ids {
            let mut text = String::new();
            while !self.node(*id).apply_work.is_empty() {
                text += &self.process_apply_thread(*id);
            }
            any |= report(out, *id, "processing apply thread", &text);
        }
        any
    }

    fn send_snapshot(&mut self, from: u64, to: u64) -> String {
        let node = self.node(from);
        let message = Message::new(
            GROUP,
            node.raft.status().hard.term,
            Body::Snapshot(node.newest.clone().into()),
        );
        let item = Item::Message { from: node.id, to: NodeId::new(to), message };
        let text = item.text() + "\n";
        self.queue.push(item);
        text
    }
}

fn report(out: &mut String, id: u64, what: &str, text: &str) -> bool {
    if text.is_empty() {
        return false;
    }
    *out += &format!("> {id} {what}\n{}", indent(text));
    true
}
