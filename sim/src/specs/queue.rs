//! A queue.

use std::collections::VecDeque;

use crate::history::form::{Fields, Form, Value};
use crate::history::lines::repeated;
use crate::linearizable::Spec;

/// A queue without bound: first in, first out.
///
/// # Cost
/// A step copies the queue.
///
/// # Examples
/// ```
/// use quorate_sim::{Spec, specs::{Queue, QueueOp, QueueRet}};
///
/// let one = Queue.apply(&Queue.initial(), &QueueOp::Enqueue(3), None).expect("always");
/// let empty = Some(&QueueRet::Dequeued(None));
/// assert_eq!(Queue.apply(&one, &QueueOp::Dequeue, empty), None, "it is not empty");
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a model without settings is named by its type")]
pub struct Queue;

/// What a queue is asked for.
///
/// # Examples
/// ```
/// use quorate_sim::specs::QueueOp;
/// assert_ne!(QueueOp::Enqueue(1), QueueOp::Dequeue);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the operations are the model")]
pub enum QueueOp {
    /// Put this at the end.
    Enqueue(i64),
    /// Take what is first.
    Dequeue,
}

/// What a queue answers.
///
/// # Examples
/// ```
/// use quorate_sim::specs::QueueRet;
/// assert_ne!(QueueRet::Dequeued(None), QueueRet::Enqueued);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the answers are the model")]
pub enum QueueRet {
    /// To an enqueue.
    Enqueued,
    /// To a dequeue: what was first; `None` if it was empty.
    Dequeued(Option<i64>),
}

impl Spec for Queue {
    type State = VecDeque<i64>;
    type Op = QueueOp;
    type Ret = QueueRet;

    fn initial(&self) -> Self::State {
        VecDeque::new()
    }

    fn apply(
        &self,
        state: &Self::State,
        op: &QueueOp,
        ret: Option<&QueueRet>,
    ) -> Option<Self::State> {
        let answer = match op {
            QueueOp::Enqueue(_) => QueueRet::Enqueued,
            QueueOp::Dequeue => QueueRet::Dequeued(state.front().copied()),
        };
        if ret.is_some_and(|ret| *ret != answer) {
            return None;
        }
        let mut after = state.clone();
        match op {
            QueueOp::Enqueue(value) => after.push_back(*value),
            QueueOp::Dequeue => drop(after.pop_front()),
        }
        Some(after)
    }
}

impl Form for QueueOp {
    type Ret = QueueRet;

    fn fields(&self) -> Fields {
        match *self {
            Self::Enqueue(value) => Fields::new("enqueue").value(Value::Integer(value.into())),
            Self::Dequeue => Fields::new("dequeue"),
        }
    }

    fn ret_fields(&self, ret: &QueueRet) -> Fields {
        match *ret {
            QueueRet::Enqueued => self.fields(),
            QueueRet::Dequeued(value) => self.fields().value(Value::from(value)),
        }
    }

    fn parse(_: u64, fields: &Fields) -> Result<Self, String> {
        match &*fields.f {
            "enqueue" => fields.value.integer().map(Self::Enqueue),
            "dequeue" => Ok(Self::Dequeue),
            _ => Err("enqueue or dequeue".to_owned()),
        }
    }

    fn parse_ret(&self, fields: &Fields) -> Result<QueueRet, String> {
        match self {
            Self::Enqueue(_) => {
                repeated(&self.fields().value, &fields.value).map(|()| QueueRet::Enqueued)
            }
            Self::Dequeue => fields.value.nullable().map(QueueRet::Dequeued),
        }
    }
}
