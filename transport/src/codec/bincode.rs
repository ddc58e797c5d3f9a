//! [`Bincode`]: bincode 2 by serde, with a limit in both directions.

use super::{Codec, CodecError, width};
use ::bincode::config::{Configuration, Limit, LittleEndian, Varint};
use ::bincode::de::read::Reader;
use ::bincode::enc::write::Writer;
use ::bincode::error::{DecodeError, EncodeError};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// Values of serde as bincode 2 (standard configuration). Id 2.
///
/// No more than `LIMIT` bytes are written or read, and no length inside a body makes it allocate
/// more than that for bytes and strings, and 1 MiB for other sequences (serde's own bound).
///
/// Upstream is no longer maintained (RUSTSEC-2025-0141), so this is a feature of its own and in no
/// default graph. Prefer [`Postcard`](crate::Postcard) for something new.
///
/// # Limits
/// When reading, bincode counts every number and length with its full width (a `u64` as 8 bytes)
/// although it may be written in one byte: a body of many small numbers is refused with `TooLarge`
/// before it is `LIMIT` bytes long. Give the limit room.
///
/// Neither the format nor serde bounds how deep a recursive type is read, nor how many values that
/// take no bytes (`Vec<()>`) a length may claim. Do not read such types from peers that are not
/// trusted.
///
/// # Examples
/// ```
/// use quorate_transport::{Bincode, Codec, CodecError};
///
/// let codec = Bincode::<32>;
/// let mut out = Vec::new();
/// codec.encode(&("key".to_string(), 7_u64), &mut out)?;
/// let back: (String, u64) = codec.decode(&out.into())?;
/// assert_eq!(back, ("key".to_string(), 7));
///
/// let long = "longer than thirty-two bytes are".to_string();
/// assert_eq!(codec.encode(&long, &mut Vec::new()), Err(CodecError::TooLarge { limit: 32 }));
/// # Ok::<(), CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "its one choice is in its type")]
pub struct Bincode<const LIMIT: usize = 1_048_576>;

/// Reads, and knows how far.
struct Counted<'a> {
    body: &'a [u8],
    at: usize,
}

impl Reader for Counted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        let rest = &self.body[self.at..];
        let missing = || DecodeError::UnexpectedEnd { additional: bytes.len() - rest.len() };
        let found = rest.get(..bytes.len()).ok_or_else(missing)?;
        bytes.copy_from_slice(found);
        self.at += bytes.len();
        Ok(())
    }

    fn peek_read(&mut self, n: usize) -> Option<&[u8]> {
        self.body[self.at..].get(..n)
    }

    fn consume(&mut self, n: usize) {
        // Only what was peeked at is consumed.
        self.at = self.body.len().min(self.at + n);
    }
}

/// Appends, and stops at the limit instead of finding out afterwards.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
    over: bool,
}

impl Writer for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            self.over = true;
            return Err(EncodeError::Other("over the limit"));
        };
        self.left = left;
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

impl<T: Serialize + DeserializeOwned, const LIMIT: usize> Codec<T> for Bincode<LIMIT> {
    const ID: u8 = 2;

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let mut writer = Bounded { out, left: LIMIT, over: false };
        let done = ::bincode::serde::encode_into_writer(value, &mut writer, config::<LIMIT>());
        match (done, writer.over) {
            (Ok(()), _) => Ok(()),
            (Err(_), true) => Err(CodecError::TooLarge { limit: width(LIMIT) }),
            (Err(_), false) => Err(CodecError::Encode),
        }
    }

    fn decode(&self, body: &Bytes) -> Result<T, CodecError> {
        let limit = width(LIMIT);
        if body.len() > LIMIT {
            return Err(CodecError::TooLarge { limit });
        }
        let mut reader = Counted { body, at: 0 };
        // Lengths inside are held against the limit before anything is set aside. // H5
        let done = ::bincode::serde::decode_from_reader(&mut reader, config::<LIMIT>());
        match done {
            Ok(value) if reader.at == body.len() => Ok(value),
            Ok(_) => Err(CodecError::Trailing { bytes: width(body.len() - reader.at) }),
            Err(DecodeError::LimitExceeded) => Err(CodecError::TooLarge { limit }),
            Err(_) => Err(CodecError::Malformed { offset: width(reader.at) }),
        }
    }
}

const fn config<const LIMIT: usize>() -> Configuration<LittleEndian, Varint, Limit<LIMIT>> {
    ::bincode::config::standard().with_limit::<LIMIT>()
}
