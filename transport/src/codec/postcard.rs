//! [`Postcard`]: postcard 1 by serde.

use super::{Codec, CodecError, width};
use ::postcard::{Deserializer, Error, de_flavors, ser_flavors};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::cell::Cell;

/// Values of serde as postcard 1. Id 1.
///
/// No length inside a body makes it allocate for more elements than bytes are left.
///
/// # Limits
/// Neither the format nor serde bounds how deep a recursive type is read, nor how many values that
/// take no bytes (`Vec<()>`) a length may claim. Do not read such types from peers that are not
/// trusted.
///
/// # Examples
/// ```
/// use quorate_transport::{Codec, CodecError, Postcard};
///
/// let mut out = Vec::new();
/// Postcard.encode(&("key".to_string(), 7_u64), &mut out)?;
/// let back: (String, u64) = Postcard.decode(&out.into())?;
/// assert_eq!(back, ("key".to_string(), 7));
/// # Ok::<(), CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to say, and never will")]
pub struct Postcard;

/// Reads, and tells how far.
struct Counted<'de> {
    body: &'de [u8],
    at: &'de Cell<usize>,
}

impl<'de> de_flavors::Flavor<'de> for Counted<'de> {
    type Remainder = ();
    type Source = &'de [u8];

    fn pop(&mut self) -> Result<u8, Error> {
        let byte = self.body.get(self.at.get()).ok_or(Error::DeserializeUnexpectedEnd)?;
        self.at.set(self.at.get() + 1);
        Ok(*byte)
    }

    /// Keeps claimed lengths from driving allocation. // H5
    fn size_hint(&self) -> Option<usize> {
        Some(self.body.len() - self.at.get())
    }

    fn try_take_n(&mut self, n: usize) -> Result<&'de [u8], Error> {
        let rest = &self.body[self.at.get()..];
        let taken = rest.get(..n).ok_or(Error::DeserializeUnexpectedEnd)?;
        self.at.set(self.at.get() + n);
        Ok(taken)
    }

    fn finalize(self) -> Result<(), Error> {
        Ok(())
    }
}

struct Appended<'a>(&'a mut Vec<u8>);

impl ser_flavors::Flavor for Appended<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> Result<(), Error> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> Result<(), Error> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> Result<(), Error> {
        Ok(())
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    const ID: u8 = 1;

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let done = ::postcard::serialize_with_flavor(value, Appended(out));
        done.map_err(|_| CodecError::Encode)
    }

    fn decode(&self, body: &Bytes) -> Result<T, CodecError> {
        let at = Cell::new(0);
        let done: Option<T> = decode(body, &at);
        let value = done.ok_or_else(|| malformed(at.get()))?;
        match body.len() - at.get() {
            0 => Ok(value),
            left => Err(CodecError::Trailing { bytes: width(left) }),
        }
    }
}

fn decode<'de, T: DeserializeOwned>(body: &'de [u8], at: &'de Cell<usize>) -> Option<T> {
    let mut deserializer = Deserializer::from_flavor(Counted { body, at });
    T::deserialize(&mut deserializer).ok()
}

fn malformed(at: usize) -> CodecError {
    CodecError::Malformed { offset: width(at) }
}
