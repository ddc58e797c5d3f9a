//! The `confchange/` scripts: how a membership follows from another, and what becomes of what is
//! known of each member's log.

use super::parse::Case;
use quorate_raft::{ConfInvalid, Membership};
use quorate_transport::NodeId;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A membership, the next index of each member, and how many cases ran.
#[derive(Default)]
pub(super) struct State {
    membership: Membership,
    next: BTreeMap<NodeId, u64>,
    cases: u64,
}

impl State {
    pub(super) fn run(&mut self, case: &Case) -> String {
        let (ops, last) = (case.ops(), self.cases);
        self.cases += 1;
        let changed = match case.verb.as_str() {
            "simple" => self.membership.simple(&ops),
            "enter-joint" => self.membership.enter_joint(&ops, case.flag("autoleave")),
            "leave-joint" => self.membership.leave_joint(),
            verb => panic!("unknown verb {verb}"),
        };
        let changed = match changed {
            Ok(changed) => changed,
            Err(error) => return text(error).to_owned(),
        };
        self.membership = changed.membership;
        self.next.extend(changed.fresh.into_iter().map(|id| (id, last.max(1))));
        self.next.retain(|id, _| self.membership.contains(*id));
        self.to_text()
    }

    fn to_text(&self) -> String {
        let m = &self.membership;
        let list = |ids: &[NodeId]| {
            let ids: Vec<String> = ids.iter().map(|id| format!("{:x}", id.value())).collect();
            format!("({})", ids.join(" "))
        };
        let mut out = format!("voters={}", list(&m.voters));
        for (name, ids) in [
            ("&&", &m.outgoing),
            (" learners=", &m.learners),
            (" learners_next=", &m.learners_next),
        ] {
            if !ids.is_empty() {
                out += &(name.to_owned() + &list(ids));
            }
        }
        out += if m.auto_leave { " autoleave\n" } else { "\n" };
        for (id, next) in &self.next {
            let learner = if m.is_voter(*id) { "" } else { " learner" };
            writeln!(out, "{}: StateProbe match=0 next={next}{learner}", id.value()).unwrap();
        }
        out
    }
}

/// The scripts' words for a refusal.
fn text(error: ConfInvalid) -> &'static str {
    match error {
        ConfInvalid::NoVoters => "removed all voters",
        ConfInvalid::SeveralVoters => "more than one voter changed without entering joint config",
        ConfInvalid::SimpleInJoint => "can't apply simple config change in joint config",
        ConfInvalid::AlreadyJoint => "config is already joint",
        ConfInvalid::JointWithoutVoters => "can't make a zero-voter config joint",
        ConfInvalid::NotJoint => "can't leave a non-joint config",
        _ => "over a limit that the reference does not have",
    }
}
