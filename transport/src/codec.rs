//! [`Codec`]: values of applications as bodies of frames, and back.

#[cfg(feature = "bincode")]
mod bincode;
#[cfg(feature = "postcard")]
mod postcard;

#[cfg(feature = "bincode")]
pub use self::bincode::Bincode;
#[cfg(feature = "postcard")]
pub use self::postcard::Postcard;

use bytes::Bytes;

/// A value that could not become a body, or a body that is not the value it should be.
///
/// # Examples
/// ```
/// use quorate_transport::CodecError;
/// let error = CodecError::WrongCodec { expected: 1, found: 2 };
/// assert_eq!(error.to_string(), "body is of codec 2, expected 1");
/// assert!(!error.is_corruption());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Effect: nothing was sent, or nothing was decoded. The same value fails again.
    #[error("value exceeds {limit} bytes")]
    TooLarge {
        /// The codec's limit.
        limit: u64,
    },
    /// Effect: nothing was decoded. The same body fails again: the two sides mean different types,
    /// or another writer made it.
    #[error("malformed value at byte {offset}")]
    Malformed {
        /// Bytes of the value that were read before.
        offset: u64,
    },
    /// Effect: nothing was decoded. The same body fails again: it is of a longer type.
    #[error("{bytes} bytes after the value")]
    Trailing {
        /// How many.
        bytes: u64,
    },
    /// Effect: nothing was decoded. The same body fails again: the other side uses another codec.
    #[error("body is of codec {found}, expected {expected}")]
    WrongCodec {
        /// This side's.
        expected: u8,
        /// The first byte of the body.
        found: u8,
    },
    /// Effect: nothing was sent. The same value fails again: it has no form in this codec.
    #[error("value cannot be encoded")]
    Encode,
}

impl CodecError {
    /// The code of the [`Reject::Application`](crate::Reject) a [`TypedChannel`] answers to a call
    /// it cannot decode. The detail is the error as text. Components that use typed channels give
    /// their own rejects other codes.
    ///
    /// [`TypedChannel`]: crate::TypedChannel
    pub const REJECT_CODE: u16 = u16::MAX;

    /// Never: the same value or body fails again.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        false
    }

    /// Never: frames have their checksums below. It is a disagreement between programs.
    #[must_use]
    pub const fn is_corruption(self) -> bool {
        false
    }
}

/// How values of type `T` are written in bodies.
///
/// A body of a [`TypedChannel`](crate::TypedChannel) is one byte, the codec's id, and what `encode`
/// appended. Ids below 128 belong to this crate: 0 [`Raw`], 1 `Postcard`, 2 `Bincode`.
///
/// Decoding reads bytes of others: a length inside the body must not make it allocate more than a
/// bounded multiple of what is there, and bytes after the value are an error.
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use quorate_transport::{Codec, CodecError};
///
/// /// Numbers as eight bytes.
/// struct Fixed;
///
/// impl Codec<u64> for Fixed {
///     const ID: u8 = 128;
///
///     fn encode(&self, value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
///         out.extend_from_slice(&value.to_le_bytes());
///         Ok(())
///     }
///
///     fn decode(&self, body: &Bytes) -> Result<u64, CodecError> {
///         let short = CodecError::Malformed { offset: body.len() as u64 };
///         let (raw, rest) = body.split_first_chunk().ok_or(short)?;
///         match rest.len() {
///             0 => Ok(u64::from_le_bytes(*raw)),
///             bytes => Err(CodecError::Trailing { bytes: bytes as u64 }),
///         }
///     }
/// }
///
/// let mut out = Vec::new();
/// Fixed.encode(&7, &mut out)?;
/// assert_eq!(Fixed.decode(&out.into())?, 7);
/// # Ok::<(), CodecError>(())
/// ```
pub trait Codec<T>: Send + Sync + 'static {
    /// First byte of every body. 128 and above for codecs of users.
    const ID: u8;

    /// Appends the value to `out`.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`] or [`CodecError::Encode`]; `out` is then of no use any more.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The value of which `body` (without the id) is the whole encoding.
    ///
    /// # Errors
    /// [`CodecError`]. It never panics.
    fn decode(&self, body: &Bytes) -> Result<T, CodecError>;
}

/// Bytes as they are. Id 0.
///
/// # Cost
/// One copy to encode; decoding to [`Bytes`] shares the frame's.
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use quorate_transport::{Codec, CodecError, Raw};
///
/// let mut out = Vec::new();
/// Raw.encode(&Bytes::from_static(b"hi"), &mut out)?;
/// let back: Vec<u8> = Raw.decode(&out.into())?;
/// assert_eq!(back, b"hi");
/// # Ok::<(), CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it has nothing to say, and never will")]
pub struct Raw;

impl Codec<Bytes> for Raw {
    const ID: u8 = 0;

    fn encode(&self, value: &Bytes, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, body: &Bytes) -> Result<Bytes, CodecError> {
        Ok(body.clone())
    }
}

impl Codec<Vec<u8>> for Raw {
    const ID: u8 = 0;

    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, body: &Bytes) -> Result<Vec<u8>, CodecError> {
        Ok(body.to_vec())
    }
}

/// A length as error variants carry it.
#[cfg(any(feature = "bincode", feature = "postcard"))]
fn width(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
