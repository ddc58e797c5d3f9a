//! One replica of a script, with its log.

use super::parse::Case;
use super::print::{self, Line};
use super::work::Work;
use quorate_clocks::Monotonic;
use quorate_raft::{
    Append, Boot, ConfChange, ConfError, Config, EntryBody, GroupId, HardState, LogId, LogIndex,
    Membership, Message, Proposal, Raft, SnapshotMeta, StepError, Term, Transition,
};
use quorate_transport::NodeId;
use std::collections::VecDeque;
use std::time::Duration;

pub(super) const GROUP: GroupId = GroupId::new(1);
pub(super) const TICK: Duration = Duration::from_millis(1);

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) raft: Raft,
    pub(super) asynchronous: bool,
    pub(super) now: Monotonic,
    /// The stable log: everything up to `start` is gone.
    pub(super) start: LogIndex,
    pub(super) stable: Vec<Line>,
    pub(super) newest: SnapshotMeta,
    pub(super) append_work: VecDeque<Work>,
    pub(super) apply_work: VecDeque<Work>,
}

impl Node {
    pub(super) fn new(id: NodeId, case: &Case) -> Self {
        let voters: Vec<NodeId> = case.numbers("voters").into_iter().map(NodeId::new).collect();
        let learners: Vec<NodeId> = case.numbers("learners").into_iter().map(NodeId::new).collect();
        let membership = Membership::of_voters(&voters).with_learners(&learners);
        let index = case.number("index").unwrap_or(0);
        let blank =
            ["voters", "learners", "index", "content"].iter().all(|k| case.arg(k).is_none());
        let start = if blank { LogId::ZERO } else { LogId::new(1, index) };
        let asynchronous = case.flag("async-storage-writes");

        let mut draft = Config::reference()
            .pre_vote(case.flag("prevote"))
            .check_quorum(case.flag("checkquorum"))
            .lease_reads(case.value("read-only") == Some("lease-based"))
            .step_down_on_removal(case.flag("step-down-on-removal"))
            .conf_validation(!case.flag("disable-conf-change-validation"))
            .apply_before_durable(!asynchronous);
        if let Some(n) = case.number("inflight") {
            draft = draft.inflight_messages_max(usize::try_from(n).unwrap());
        }
        if let Some(bytes) = case.number("max-committed-size-per-ready") {
            draft = draft.apply_bytes_max(bytes);
        }
        let newest = SnapshotMeta::new(start, membership.clone());
        let mut boot = Boot::fresh(id, GROUP, membership);
        boot.start = start;
        boot.last = start;
        boot.applied = start.index;
        boot.hard = HardState::new(Term::ZERO, None, start.index);
        boot.snapshot = Some(newest.clone());
        let raft = Raft::new(draft.build().unwrap(), boot, Monotonic::ZERO, 1).unwrap();
        Self {
            id,
            raft,
            asynchronous,
            now: Monotonic::ZERO,
            start: start.index,
            stable: Vec::new(),
            newest,
            append_work: VecDeque::new(),
            apply_work: VecDeque::new(),
        }
    }

    pub(super) fn propose(&mut self, data: &[u8]) -> Result<(), ()> {
        let mut p = Proposal::new(&quorate_raft::Limits::default());
        p.push(EntryBody::Normal(data)).unwrap();
        self.raft.propose(self.now, p).map(drop).map_err(drop)
    }

    pub(super) fn propose_change(&mut self, case: &Case) -> Result<(), ConfError> {
        let transition = match case.value("transition") {
            None | Some("auto") => Transition::Auto,
            Some("implicit") => Transition::JointAuto,
            Some("explicit") => Transition::JointExplicit,
            Some(other) => panic!("unknown transition {other}"),
        };
        let mut change = ConfChange::new(case.ops()).transition(transition);
        if case.flag("v1") {
            change = change.context(print::OLD_STYLE);
        }
        self.raft.propose_conf(self.now, &change, None).map(drop)
    }

    pub(super) fn tick(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now = self.now.saturating_add(TICK);
            self.raft.handle_timeout(self.now);
        }
    }

    pub(super) fn step(&mut self, from: NodeId, message: Message, out: &mut String) {
        match self.raft.handle_message(self.now, from, message) {
            Ok(()) => self.raft.check_invariants().unwrap(),
            Err(StepError::UnknownPeer { .. }) => {
                *out += "raft: cannot step as peer not found\n";
            }
            Err(StepError::Proposal(_) | StepError::Conf(_)) => *out += "raft proposal dropped\n",
            Err(other) => panic!("{other}"),
        }
    }

    pub(super) fn write(&mut self, append: &Append) {
        if let Some(meta) = &append.install {
            self.start = meta.last.index;
            self.stable.clear();
            self.newest = SnapshotMeta::clone(meta);
            return;
        }
        for line in print::lines_of(&append.blocks) {
            self.stable.retain(|kept| kept.id.index < line.id.index);
            self.stable.push(line);
        }
    }

    pub(super) fn apply(&mut self, entries: &[Line]) {
        for line in entries {
            if let Some(change) = line.change() {
                // One that no membership follows from has no effect.
                let _invalid = self.raft.activate(self.now, line.id.index, &change);
            }
            self.newest = SnapshotMeta::new(line.id, self.raft.membership().clone());
            self.raft.snapshot_created(self.newest.clone());
        }
    }

    pub(super) fn compact(&mut self, to: LogIndex) {
        self.stable.retain(|line| line.id.index > to);
        self.start = self.start.max(to);
        self.raft.compacted(to);
    }

    pub(super) fn log_text(&self) -> String {
        if self.stable.is_empty() {
            return format!(
                "log is empty: first index={}, last index={}\n",
                self.start.next(),
                self.start
            );
        }
        self.stable.iter().map(|line| print::entry(line) + "\n").collect()
    }

    pub(super) fn state_line(&self) -> String {
        let status = self.raft.status();
        let voter =
            if self.raft.membership().is_voter(self.id) { "(Voter)" } else { "(Non-Voter)" };
        let lead = print::id_or_zero(status.leader);
        format!(
            "{}: {} {voter} Term:{} Lead:{lead}\n",
            self.id,
            print::role(status.role),
            status.hard.term
        )
    }
}
