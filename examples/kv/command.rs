//! Commands: what clients may ask, with Redis's argument and error conventions, and the encoding of
//! writes and replies in the log.

mod parse;
mod pattern;

pub(crate) use parse::{Client, Command, parse};
pub(crate) use pattern::Pattern;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// When a key goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Expiry {
    Never,
    Keep,
    /// Milliseconds since 1970.
    At(u64),
}

impl Expiry {
    pub(crate) fn resolve(self, before: Option<u64>) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Keep => before,
            Self::At(ms) => Some(ms),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Condition {
    Always,
    IfMissing,
    IfPresent,
}

/// A change of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Op {
    Set { key: Bytes, data: Bytes, condition: Condition, expiry: Expiry, get: bool },
    SetMany { pairs: Vec<(Bytes, Bytes)>, only_new: bool },
    Append { key: Bytes, data: Bytes },
    Add { key: Bytes, by: i64 },
    Delete { keys: Vec<Bytes> },
    GetDelete { key: Bytes },
    GetExpire { key: Bytes, expiry: Expiry },
    Expire { key: Bytes, expiry: Expiry },
    Clear,
}

/// A question to the state.
#[derive(Clone, Debug)]
pub(crate) enum Query {
    Get { key: Bytes },
    GetMany { keys: Vec<Bytes> },
    Length { key: Bytes },
    Exists { keys: Vec<Bytes> },
    Type { key: Bytes },
    TimeToLive { key: Bytes, millis: bool },
    Size,
    Keys { pattern: Pattern },
    Scan { cursor: u64, pattern: Pattern, count: usize, strings: bool },
}

/// One entry of the log: consecutive writes of one connection, applied together, and the wall-clock
/// time their proposer stamped on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) now_ms: u64,
    pub(crate) ops: Vec<Op>,
}

impl Write {
    /// Infallible: postcard fails only when its output cannot grow.
    pub(crate) fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).unwrap_or_default().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        decode(bytes)
    }
}

/// Exactly one value; bytes behind it are an error.
fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes behind the value", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// What a client is answered, in no particular protocol version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Ok,
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Bytes),
    Null,
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Reply {
    pub(crate) fn simple(text: &str) -> Self {
        Self::Simple(text.to_owned())
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Bulk(Bytes::copy_from_slice(text.as_bytes()))
    }

    pub(crate) fn bulk(data: Option<Bytes>) -> Self {
        data.map_or(Self::Null, Self::Bulk)
    }

    pub(crate) fn count(n: usize) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }

    pub(crate) fn not_an_integer() -> Self {
        Self::Error("ERR value is not an integer or out of range".to_owned())
    }

    pub(crate) fn syntax() -> Self {
        Self::Error("ERR syntax error".to_owned())
    }

    pub(crate) fn too_large(what: &str, max: usize) -> Self {
        Self::Error(format!("ERR {what} exceeds the limit of {max} bytes"))
    }

    pub(crate) fn encode_all(replies: &[Self]) -> Bytes {
        postcard::to_stdvec(replies).unwrap_or_default().into()
    }

    pub(crate) fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, String> {
        decode(bytes)
    }
}

/// A 64-bit integer as Redis reads it: no sign but `-`, no blanks, no leading zeros.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (n.to_string().as_bytes() == text).then_some(n)
}
