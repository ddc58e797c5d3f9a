//! A set that grows.

use std::collections::BTreeSet;

use crate::history::form::{Fields, Form, Value};
use crate::history::lines::repeated;
use crate::linearizable::Spec;

/// A set of integers, empty at first, to which can be added.
///
/// # Cost
/// A step copies the set.
///
/// # Examples
/// ```
/// use quorate_sim::{Spec, specs::{Set, SetOp, SetRet}};
///
/// let one = Set.apply(&Set.initial(), &SetOp::Add(3), Some(&SetRet::Added)).expect("always");
/// let all = SetRet::Elements([3].into());
/// assert_eq!(Set.apply(&one, &SetOp::Read, Some(&all)), Some(one));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a model without settings is named by its type")]
pub struct Set;

/// What a set is asked for.
///
/// # Examples
/// ```
/// use quorate_sim::specs::SetOp;
/// assert_ne!(SetOp::Add(1), SetOp::Read);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the operations are the model")]
pub enum SetOp {
    /// Hold this too, once.
    Add(i64),
    /// What does it hold?
    Read,
}

/// What a set answers.
///
/// # Examples
/// ```
/// use quorate_sim::specs::SetRet;
/// assert_eq!(SetRet::Elements([2, 1, 2].into()), SetRet::Elements([1, 2].into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the answers are the model")]
pub enum SetRet {
    /// To an add, also if it held this before.
    Added,
    /// To a read: all of it.
    Elements(BTreeSet<i64>),
}

impl Spec for Set {
    type State = BTreeSet<i64>;
    type Op = SetOp;
    type Ret = SetRet;

    fn initial(&self) -> Self::State {
        BTreeSet::new()
    }

    fn apply(&self, state: &Self::State, op: &SetOp, ret: Option<&SetRet>) -> Option<Self::State> {
        let allowed = match (op, ret) {
            (_, None) | (SetOp::Add(_), Some(SetRet::Added)) => true,
            (SetOp::Read, Some(SetRet::Elements(all))) => all == state,
            _ => false,
        };
        if !allowed {
            return None;
        }
        let mut after = state.clone();
        if let SetOp::Add(value) = op {
            after.insert(*value);
        }
        Some(after)
    }
}

impl Form for SetOp {
    type Ret = SetRet;

    fn fields(&self) -> Fields {
        match *self {
            Self::Add(value) => Fields::new("add").value(Value::Integer(value.into())),
            Self::Read => Fields::new("read"),
        }
    }

    fn ret_fields(&self, ret: &SetRet) -> Fields {
        match ret {
            SetRet::Added => self.fields(),
            SetRet::Elements(all) => {
                let all = all.iter().map(|value| i128::from(*value)).collect();
                self.fields().value(Value::List(all))
            }
        }
    }

    fn parse(_: u64, fields: &Fields) -> Result<Self, String> {
        match &*fields.f {
            "add" => fields.value.integer().map(Self::Add),
            "read" => Ok(Self::Read),
            _ => Err("add or read".to_owned()),
        }
    }

    fn parse_ret(&self, fields: &Fields) -> Result<SetRet, String> {
        if let Self::Add(_) = self {
            return repeated(&self.fields().value, &fields.value).map(|()| SetRet::Added);
        }
        let all = fields.value.integers::<i64>()?;
        if !all.is_sorted_by(|a, b| a < b) {
            return Err("a list of integers, each greater than the one before".to_owned());
        }
        Ok(SetRet::Elements(all.into_iter().collect()))
    }
}
