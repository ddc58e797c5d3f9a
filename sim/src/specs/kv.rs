//! A map from keys to values, with compare and set.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cas_register::pair;
use crate::history::form::{Fields, Form, Value};
use crate::history::lines::repeated;
use crate::linearizable::Spec;

/// A map from keys to integers; each key is judged alone.
///
/// # Examples
/// ```
/// use quorate_sim::{Spec, specs::{Kv, KvOp}};
///
/// let (x, y) = (KvOp::read("x"), KvOp::write("y", 3));
/// assert_eq!(Kv.partition(&x), Kv.partition(&KvOp::delete("x")));
/// assert_ne!(Kv.partition(&x), Kv.partition(&y));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a model without settings is named by its type")]
pub struct Kv;

/// What a map is asked for.
///
/// # Examples
/// ```
/// use quorate_sim::specs::KvOp;
/// let op = KvOp::cas("x", 3, 0);
/// assert_eq!(op.key(), "x");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the operations are the model")]
pub enum KvOp {
    /// What does the key hold?
    Read {
        /// The key.
        key: Arc<str>,
    },
    /// Hold this from now on.
    Write {
        /// The key.
        key: Arc<str>,
        /// What it then holds.
        value: i64,
    },
    /// Hold `new`, if it holds `expected`.
    Cas {
        /// The key.
        key: Arc<str>,
        /// What it has to hold.
        expected: i64,
        /// What it then holds.
        new: i64,
    },
    /// Hold nothing.
    Delete {
        /// The key.
        key: Arc<str>,
    },
}

/// What a map answers.
///
/// # Examples
/// ```
/// use quorate_sim::specs::KvRet;
/// assert_ne!(KvRet::Value(None), KvRet::Done);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the answers are the model")]
pub enum KvRet {
    /// To a read: what the key holds; `None` if nothing.
    Value(Option<i64>),
    /// To a write or delete.
    Done,
    /// To a compare and set: whether it held what was expected.
    Swapped(bool),
}

impl KvOp {
    /// A read.
    pub fn read(key: impl Into<Arc<str>>) -> Self {
        Self::Read { key: key.into() }
    }

    /// A write.
    pub fn write(key: impl Into<Arc<str>>, value: i64) -> Self {
        Self::Write { key: key.into(), value }
    }

    /// A compare and set.
    pub fn cas(key: impl Into<Arc<str>>, expected: i64, new: i64) -> Self {
        Self::Cas { key: key.into(), expected, new }
    }

    /// A delete.
    pub fn delete(key: impl Into<Arc<str>>) -> Self {
        Self::Delete { key: key.into() }
    }

    /// The key it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        let (Self::Read { key }
        | Self::Write { key, .. }
        | Self::Cas { key, .. }
        | Self::Delete { key }) = self;
        key
    }
}

impl Spec for Kv {
    // A map, though a partition has one key: two keys may have the same number.
    type State = BTreeMap<Arc<str>, i64>;
    type Op = KvOp;
    type Ret = KvRet;

    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }

    fn apply(&self, state: &Self::State, op: &KvOp, ret: Option<&KvRet>) -> Option<Self::State> {
        let held = state.get(op.key()).copied();
        let (set, answer) = match *op {
            KvOp::Read { .. } => (None, KvRet::Value(held)),
            KvOp::Write { ref key, value } => (Some((key, value)), KvRet::Done),
            KvOp::Cas { ref key, expected, new } if held == Some(expected) => {
                (Some((key, new)), KvRet::Swapped(true))
            }
            KvOp::Cas { .. } => (None, KvRet::Swapped(false)),
            KvOp::Delete { .. } => (None, KvRet::Done),
        };
        if ret.is_some_and(|ret| *ret != answer) {
            return None;
        }
        let mut after = state.clone();
        if let Some((key, value)) = set {
            after.insert(Arc::clone(key), value);
        } else if let KvOp::Delete { key } = op {
            after.remove(key);
        }
        Some(after)
    }

    /// By key: the FNV-1a hash of its name.
    fn partition(&self, op: &KvOp) -> u64 {
        op.key().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

impl Form for KvOp {
    type Ret = KvRet;

    fn fields(&self) -> Fields {
        let (f, value) = match *self {
            Self::Read { .. } => ("read", Value::Null),
            Self::Write { value, .. } => ("write", Value::Integer(value.into())),
            Self::Cas { expected, new, .. } => {
                ("cas", Value::List(vec![expected.into(), new.into()]))
            }
            Self::Delete { .. } => ("delete", Value::Null),
        };
        Fields::new(f).key(self.key()).value(value)
    }

    fn ret_fields(&self, ret: &KvRet) -> Fields {
        let asked = self.fields();
        match *ret {
            KvRet::Value(value) => asked.value(Value::from(value)),
            KvRet::Done => asked,
            KvRet::Swapped(yes) => asked.result(yes),
        }
    }

    fn parse(_: u64, fields: &Fields) -> Result<Self, String> {
        let key = || fields.key.clone().ok_or_else(|| "a key".to_owned());
        match &*fields.f {
            "read" => Ok(Self::Read { key: key()? }),
            "write" => Ok(Self::Write { key: key()?, value: fields.value.integer()? }),
            "cas" => {
                let [expected, new] = pair(&fields.value)?;
                Ok(Self::Cas { key: key()?, expected, new })
            }
            "delete" => Ok(Self::Delete { key: key()? }),
            _ => Err("read, write, cas or delete".to_owned()),
        }
    }

    fn parse_ret(&self, fields: &Fields) -> Result<KvRet, String> {
        if let Self::Read { .. } = self {
            return fields.value.nullable().map(KvRet::Value);
        }
        repeated(&self.fields().value, &fields.value)?;
        if !self.answers() {
            return Ok(KvRet::Done);
        }
        fields.result.map(KvRet::Swapped).ok_or_else(|| "a result".to_owned())
    }

    fn answers(&self) -> bool {
        matches!(self, Self::Cas { .. })
    }
}
