//! A counter.

use crate::history::form::{Fields, Form, Value};
use crate::history::lines::repeated;
use crate::linearizable::Spec;

/// A counter, 0 at first.
///
/// # Examples
/// ```
/// use quorate_sim::{Spec, specs::{Counter, CounterOp, CounterRet}};
///
/// assert_eq!(Counter.apply(&3, &CounterOp::Add(-1), Some(&CounterRet::Added)), Some(2));
/// assert_eq!(Counter.apply(&3, &CounterOp::Read, Some(&CounterRet::Value(2))), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a model without settings is named by its type")]
pub struct Counter;

/// What a counter is asked for.
///
/// # Examples
/// ```
/// use quorate_sim::specs::CounterOp;
/// assert_ne!(CounterOp::Add(1), CounterOp::Read);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the operations are the model")]
pub enum CounterOp {
    /// Count this too. A sum of more than 64 bits is not allowed.
    Add(i64),
    /// How many?
    Read,
}

/// What a counter answers.
///
/// # Examples
/// ```
/// use quorate_sim::specs::CounterRet;
/// assert_ne!(CounterRet::Value(1), CounterRet::Added);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the answers are the model")]
pub enum CounterRet {
    /// To an add.
    Added,
    /// To a read: the sum.
    Value(i64),
}

impl Spec for Counter {
    type State = i64;
    type Op = CounterOp;
    type Ret = CounterRet;

    fn initial(&self) -> i64 {
        0
    }

    fn apply(&self, state: &i64, op: &CounterOp, ret: Option<&CounterRet>) -> Option<i64> {
        let (after, answer) = match *op {
            CounterOp::Add(n) => (state.checked_add(n)?, CounterRet::Added),
            CounterOp::Read => (*state, CounterRet::Value(*state)),
        };
        ret.is_none_or(|ret| *ret == answer).then_some(after)
    }
}

impl Form for CounterOp {
    type Ret = CounterRet;

    fn fields(&self) -> Fields {
        match *self {
            Self::Add(n) => Fields::new("add").value(Value::Integer(n.into())),
            Self::Read => Fields::new("read"),
        }
    }

    fn ret_fields(&self, ret: &CounterRet) -> Fields {
        match *ret {
            CounterRet::Added => self.fields(),
            CounterRet::Value(sum) => self.fields().value(Value::Integer(sum.into())),
        }
    }

    fn parse(_: u64, fields: &Fields) -> Result<Self, String> {
        match &*fields.f {
            "add" => fields.value.integer().map(Self::Add),
            "read" => Ok(Self::Read),
            _ => Err("add or read".to_owned()),
        }
    }

    fn parse_ret(&self, fields: &Fields) -> Result<CounterRet, String> {
        match self {
            Self::Add(_) => {
                repeated(&self.fields().value, &fields.value).map(|()| CounterRet::Added)
            }
            Self::Read => fields.value.integer().map(CounterRet::Value),
        }
    }
}
