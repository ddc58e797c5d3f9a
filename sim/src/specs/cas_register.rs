//! A register with compare and set.

use crate::history::form::{Fields, Form, Value};
use crate::history::lines::repeated;
use crate::linearizable::Spec;

/// A register that holds an integer, or nothing at first.
///
/// # Examples
/// ```
/// use quorate_sim::{Spec, specs::{CasRegister, RegisterOp, RegisterRet}};
///
/// let cas = RegisterOp::Cas { expected: 3, new: 0 };
/// let (done, refused) = (RegisterRet::Swapped(true), RegisterRet::Swapped(false));
/// assert_eq!(CasRegister.apply(&Some(3), &cas, Some(&done)), Some(Some(0)));
/// assert_eq!(CasRegister.apply(&Some(3), &cas, Some(&refused)), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a model without settings is named by its type")]
pub struct CasRegister;

/// What a register is asked for.
///
/// # Examples
/// ```
/// use quorate_sim::specs::RegisterOp;
/// assert_ne!(RegisterOp::Write(3), RegisterOp::Cas { expected: 0, new: 3 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the operations are the model")]
pub enum RegisterOp {
    /// What does it hold?
    Read,
    /// Hold this from now on.
    Write(i64),
    /// Hold `new`, if it holds `expected`.
    Cas {
        /// What it has to hold.
        expected: i64,
        /// What it then holds.
        new: i64,
    },
}

/// What a register answers.
///
/// # Examples
/// ```
/// use quorate_sim::specs::RegisterRet;
/// assert_ne!(RegisterRet::Value(None), RegisterRet::Value(Some(0)), "unset is no value");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the answers are the model")]
pub enum RegisterRet {
    /// To a read: what it holds; `None` while it is unset.
    Value(Option<i64>),
    /// To a write.
    Written,
    /// To a compare and set: whether it held what was expected.
    Swapped(bool),
}

impl Spec for CasRegister {
    type State = Option<i64>;
    type Op = RegisterOp;
    type Ret = RegisterRet;

    fn initial(&self) -> Self::State {
        None
    }

    fn apply(
        &self,
        state: &Self::State,
        op: &RegisterOp,
        ret: Option<&RegisterRet>,
    ) -> Option<Self::State> {
        let (after, answer) = match *op {
            RegisterOp::Read => (*state, RegisterRet::Value(*state)),
            RegisterOp::Write(value) => (Some(value), RegisterRet::Written),
            RegisterOp::Cas { expected, new } if *state == Some(expected) => {
                (Some(new), RegisterRet::Swapped(true))
            }
            RegisterOp::Cas { .. } => (*state, RegisterRet::Swapped(false)),
        };
        ret.is_none_or(|ret| *ret == answer).then_some(after)
    }
}

impl Form for RegisterOp {
    type Ret = RegisterRet;

    fn fields(&self) -> Fields {
        match *self {
            Self::Read => Fields::new("read"),
            Self::Write(value) => Fields::new("write").value(Value::Integer(value.into())),
            Self::Cas { expected, new } => {
                Fields::new("cas").value(Value::List(vec![expected.into(), new.into()]))
            }
        }
    }

    fn ret_fields(&self, ret: &RegisterRet) -> Fields {
        let asked = self.fields();
        match *ret {
            RegisterRet::Value(value) => asked.value(Value::from(value)),
            RegisterRet::Written => asked,
            RegisterRet::Swapped(yes) => asked.result(yes),
        }
    }

    fn parse(_: u64, fields: &Fields) -> Result<Self, String> {
        match &*fields.f {
            "read" => Ok(Self::Read),
            "write" => fields.value.integer().map(Self::Write),
            "cas" => {
                let [expected, new] = pair(&fields.value)?;
                Ok(Self::Cas { expected, new })
            }
            _ => Err("read, write or cas".to_owned()),
        }
    }

    fn parse_ret(&self, fields: &Fields) -> Result<RegisterRet, String> {
        match self {
            Self::Read => fields.value.nullable().map(RegisterRet::Value),
            Self::Write(_) => {
                repeated(&self.fields().value, &fields.value).map(|()| RegisterRet::Written)
            }
            Self::Cas { .. } => {
                repeated(&self.fields().value, &fields.value)?;
                fields.result.map(RegisterRet::Swapped).ok_or_else(|| "a result".to_owned())
            }
        }
    }

    fn answers(&self) -> bool {
        matches!(self, Self::Cas { .. })
    }
}

/// `[expected, new]`.
pub(super) fn pair(value: &Value) -> Result<[i64; 2], String> {
    let both = value.integers().ok().and_then(|both| both.try_into().ok());
    both.ok_or_else(|| "a list of two integers of 64 bits".to_owned())
}
