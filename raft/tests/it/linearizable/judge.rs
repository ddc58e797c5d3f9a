//! Two opinions on a history.

use quorate_sim::specs::{CasRegister, KvOp, KvRet, RegisterOp, RegisterRet};
use quorate_sim::{Event, History, Outcome, Recorder, STEPS_MAX, linearizable};
use std::collections::BTreeMap;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as PeerHistory};
use todc_utils::specifications::Specification;

pub(crate) type Register = History<RegisterOp, RegisterRet>;

/// Whether the history is linearizable; an error if a checker gave up or they disagree.
pub(crate) fn judge(register: &Register) -> Result<bool, String> {
    let verdict = linearizable(&CasRegister, register, STEPS_MAX);
    let ours = verdict.is_linearizable();
    if !ours && !verdict.is_illegal() {
        return Err(format!("{verdict}"));
    }
    let theirs = second_opinion(register);
    if ours == theirs {
        Ok(ours)
    } else {
        Err(format!("the checkers disagree: {ours} and {theirs}; {verdict}"))
    }
}

// --- The other checker -------------------------------------------------------------------------

/// An operation as the other checker applies it: what was asked, and what was answered, if that is
/// known.
#[derive(Clone, Copy, Debug)]
struct Step {
    op: RegisterOp,
    answer: Option<RegisterRet>,
}

struct Peer;

impl Specification for Peer {
    type State = Option<i64>;
    type Operation = Step;

    fn init() -> Self::State {
        None
    }

    fn apply(step: &Step, state: &Self::State) -> (bool, Self::State) {
        match (step.op, step.answer) {
            (RegisterOp::Read, Some(RegisterRet::Value(seen))) => (seen == *state, *state),
            (RegisterOp::Write(value), _) => (true, Some(value)),
            (RegisterOp::Cas { expected, new }, answer) => {
                let swaps = *state == Some(expected);
                let said = answer.is_none_or(|answer| answer == RegisterRet::Swapped(swaps));
                (said, if swaps && said { Some(new) } else { *state })
            }
            (RegisterOp::Read, _) => (false, *state),
        }
    }
}

/// That checker knows complete histories only: an operation of unknown outcome answers after all
/// others, where its effect is seen by nobody if it has none.
fn second_opinion(register: &Register) -> bool {
    let mut actions = Vec::new();
    let mut open = Vec::new();
    for event in register.events() {
        let (Event::Invoke(id) | Event::End(id)) = event;
        let operation = register.operation(id).expect("it has events");
        let process = id.as_u32() as usize;
        let step = |answer| Step { op: operation.op, answer };
        match (event, operation.outcome.as_ref().map(|(_, outcome)| outcome)) {
            (_, Some(Outcome::Fail)) => {}
            (Event::Invoke(_), Some(Outcome::Ok(_))) => {
                actions.push((process, Action::Call(step(None))));
            }
            (Event::End(_), Some(Outcome::Ok(ret))) => {
                actions.push((process, Action::Response(step(Some(*ret)))));
            }
            (Event::Invoke(_), _) if operation.op != RegisterOp::Read => {
                actions.push((process, Action::Call(step(None))));
                open.push((process, Action::Response(step(None))));
            }
            _ => {} // the end of an open one, or a read that nobody saw the answer of
        }
    }
    actions.extend(open);
    actions.is_empty() || WGLChecker::<Peer>::is_linearizable(PeerHistory::from_actions(actions))
}

// --- One register ------------------------------------------------------------------------------

/// The history of each key. A read that failed has no effect and tells nobody anything: it is left
/// out.
pub(crate) fn by_register(history: &History<KvOp, KvRet>) -> BTreeMap<String, Register> {
    let mut recorders: BTreeMap<String, Recorder<RegisterOp, RegisterRet>> = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for event in history.events() {
        let (Event::Invoke(id) | Event::End(id)) = event;
        let operation = history.operation(id).expect("it has events");
        let outcome = operation.outcome.as_ref();
        let op = register_op(&operation.op);
        let failed = matches!(outcome, Some((_, Outcome::Fail)));
        if failed && op == RegisterOp::Read {
            continue;
        }
        let recorder = recorders.entry(operation.op.key().to_owned()).or_default();
        match (event, outcome) {
            (Event::Invoke(_), _) => {
                ids.insert(id, recorder.invoke(operation.invoked, operation.process, op));
            }
            (Event::End(_), Some((at, Outcome::Ok(ret)))) => {
                recorder.ok(ids[&id], *at, register_ret(ret));
            }
            (Event::End(_), Some((at, Outcome::Fail))) => recorder.fail(ids[&id], *at),
            (Event::End(_), Some((at, Outcome::Unknown))) => recorder.unknown(ids[&id], *at),
            (Event::End(_), None) => {}
        }
    }
    recorders.into_iter().map(|(key, recorder)| (key, recorder.history())).collect()
}

fn register_op(op: &KvOp) -> RegisterOp {
    match op {
        KvOp::Write { value, .. } => RegisterOp::Write(*value),
        KvOp::Cas { expected, new, .. } => RegisterOp::Cas { expected: *expected, new: *new },
        KvOp::Read { .. } | KvOp::Delete { .. } => RegisterOp::Read, // nothing is ever deleted
    }
}

fn register_ret(ret: &KvRet) -> RegisterRet {
    match ret {
        KvRet::Value(value) => RegisterRet::Value(*value),
        KvRet::Done => RegisterRet::Written,
        KvRet::Swapped(yes) => RegisterRet::Swapped(*yes),
    }
}
