//! [`Form`]: how operations of one kind are written in files.

use std::fmt;
use std::sync::Arc;

/// How the operations of one kind are written in files of histories.
///
/// The six of [`specs`](crate::specs) have it; with it, operations of your own can be written to
/// files and read again too.
///
/// # Examples
/// ```
/// use quorate_sim::specs::{RegisterOp, RegisterRet};
/// use quorate_sim::{Fields, Form, Value};
///
/// let read = RegisterOp::parse(0, &Fields::new("read"))?;
/// let answer = read.parse_ret(&Fields::new("read").value(Value::Integer(3)))?;
/// assert_eq!((read, answer), (RegisterOp::Read, RegisterRet::Value(Some(3))));
/// # Ok::<(), String>(())
/// ```
pub trait Form: Sized {
    /// What the operations answer.
    type Ret;

    /// What the line of an invocation says.
    fn fields(&self) -> Fields;

    /// What the line of a success says; its `f` and `key` are those of the invocation.
    fn ret_fields(&self, ret: &Self::Ret) -> Fields;

    /// The operation that this invocation of this process is.
    ///
    /// # Errors
    /// What was expected instead.
    fn parse(process: u64, fields: &Fields) -> Result<Self, String>;

    /// The answer that this success is.
    ///
    /// # Errors
    /// What was expected instead.
    fn parse_ret(&self, fields: &Fields) -> Result<Self::Ret, String>;

    /// Whether it answers yes or no. Where it does, `:fail` in a jepsen log is the answer no: a
    /// failed `:cas` did compare, and the register did not hold what was expected.
    fn answers(&self) -> bool {
        false
    }
}

/// What a line says of an operation.
///
/// # Examples
/// ```
/// use quorate_sim::{Fields, Value};
/// let cas = Fields::new("cas").key("x").value(Value::List(vec![3, 0]));
/// assert_eq!((&*cas.f, cas.key.as_deref(), cas.result), ("cas", Some("x"), None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fields {
    /// The name of the function: `read`, `write`, …
    pub f: Arc<str>,
    /// The key it is about; only maps have them.
    pub key: Option<Arc<str>>,
    /// Its argument, or what it answered.
    pub value: Value,
    /// Yes or no, as the answer of operations that answer so.
    pub result: Option<bool>,
}

impl Fields {
    /// Of this function, with nothing else said.
    #[must_use]
    pub fn new(f: &str) -> Self {
        Self { f: f.into(), key: None, value: Value::Null, result: None }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this value.
    #[must_use]
    pub fn value(mut self, value: Value) -> Self {
        self.value = value;
        self
    }

    /// With this answer.
    #[must_use]
    pub const fn result(mut self, yes: bool) -> Self {
        self.result = Some(yes);
        self
    }
}

/// A value in a line.
///
/// # Examples
/// ```
/// use quorate_sim::Value;
/// assert_eq!(Value::Integer(3).integer::<i64>(), Ok(3));
/// assert_eq!(Value::Integer(-1).integer::<u64>(), Err("an integer of 64 bits".to_owned()));
/// assert_eq!(Value::List(vec![3, 0]).to_string(), "[3,0]");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// `null`, or nothing.
    Null,
    /// An integer; wide enough for signed and unsigned ones of 64 bits.
    Integer(i128),
    /// Integers.
    List(Vec<i128>),
    /// Anything else, as a reader may show it.
    Other(Box<str>),
}

impl Value {
    /// The integer that it is.
    ///
    /// # Errors
    /// What was expected: not an integer, or one that does not fit.
    pub fn integer<T: TryFrom<i128>>(&self) -> Result<T, String> {
        let integer = if let Self::Integer(n) = self { T::try_from(*n).ok() } else { None };
        integer.ok_or_else(|| "an integer of 64 bits".to_owned())
    }

    /// The integer that it is, or `None` if it is null.
    ///
    /// # Errors
    /// What was expected.
    pub fn nullable<T: TryFrom<i128>>(&self) -> Result<Option<T>, String> {
        match self {
            Self::Null => Ok(None),
            value => value.integer().map(Some).map_err(|expected| format!("{expected} or null")),
        }
    }

    /// The integers that it is.
    ///
    /// # Errors
    /// What was expected.
    pub fn integers<T: TryFrom<i128>>(&self) -> Result<Vec<T>, String> {
        let of = if let Self::List(of) = self { Some(of) } else { None };
        let integers = of.and_then(|of| of.iter().map(|n| T::try_from(*n).ok()).collect());
        integers.ok_or_else(|| "a list of integers of 64 bits".to_owned())
    }
}

/// The integer, or null.
impl<T: Into<i128>> From<Option<T>> for Value {
    fn from(integer: Option<T>) -> Self {
        integer.map_or(Self::Null, |n| Self::Integer(n.into()))
    }
}

/// As in JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Other(text) => f.write_str(text),
            Self::List(of) => {
                f.write_str("[")?;
                for (at, n) in of.iter().enumerate() {
                    write!(f, "{}{n}", if at == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
        }
    }
}
