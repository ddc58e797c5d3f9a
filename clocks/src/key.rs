//! [`VersionedKey`]: keys with a timestamp whose bytes sort by key, then newest first.

use crate::Timestamp;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// The longest key.
const KEY_BYTES_MAX: usize = 64 << 10;
/// Behind a zero byte: it belongs to the key.
const ESCAPED: u8 = 0xFF;
/// Behind a zero byte: the key is over.
const END: u8 = 0x00;
const STAMP: usize = 8;

/// The byte form of a key of a multi-version store: a sorted store then holds all versions of a key
/// side by side, the newest first.
///
/// To read a key as of `t`, seek to its form with `t`: the first entry at or behind it is the
/// newest version not above `t`, if it still has that key.
///
/// # Shape
/// The key with each 0x00 as 0x00 0xFF, then 0x00 0x00, then the timestamp in its descending form.
/// Two forms compare as `(key, Reverse(timestamp))`.
///
/// # Limits
/// Keys of at most 64 KiB.
///
/// # Examples
/// ```
/// use quorate_clocks::{Timestamp, VersionedKey};
///
/// let [old, new] = [1, 2].map(|micros| Timestamp::from_parts(micros, 0).unwrap());
/// let mut rows = Vec::new();
/// for (key, t) in [("b", new), ("a", old), ("a", new)] {
///     let mut row = Vec::new();
///     VersionedKey::encode_into(key.as_bytes(), t, &mut row)?;
///     rows.push(row);
/// }
/// rows.sort();
/// let (key, t) = VersionedKey::split(&rows[0])?;
/// assert_eq!((&*key, t), (&b"a"[..], new));
/// # Ok::<(), quorate_clocks::KeyError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct VersionedKey;

impl VersionedKey {
    /// Appends the form of `key` at `t`.
    ///
    /// # Errors
    /// [`KeyError::TooLong`] above 64 KiB; `out` is as it was.
    pub fn encode_into(key: &[u8], t: Timestamp, out: &mut Vec<u8>) -> Result<(), KeyError> {
        if key.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { len: key.len(), limit: KEY_BYTES_MAX });
        }
        out.reserve(key.len() + 2 + STAMP);
        for &byte in key {
            out.push(byte);
            if byte == 0 {
                out.push(ESCAPED);
            }
        }
        out.extend_from_slice(&[0, END]);
        out.extend_from_slice(&t.to_bytes_descending());
        Ok(())
    }

    /// The key and the timestamp of a form.
    ///
    /// # Cost
    /// Allocates only for a key with zero bytes.
    ///
    /// # Errors
    /// [`KeyError`] for anything but what [`encode_into`](Self::encode_into) writes.
    pub fn split(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, Timestamp), KeyError> {
        let (end, zeros) = key_end(bytes)?;
        let stamp = &bytes[end + 2..];
        if stamp.len() > STAMP {
            return Err(KeyError::Trailing { offset: end + 2 + STAMP });
        }
        let Ok(stamp) = stamp.try_into() else {
            return Err(KeyError::Short { offset: bytes.len() });
        };
        let t = Timestamp::from_bytes_descending(stamp);
        let t = t.ok_or(KeyError::Timestamp { offset: end + 2 })?;
        Ok((unescape(&bytes[..end], zeros), t))
    }
}

/// Where the terminator stands, and how many zero bytes the key has.
fn key_end(bytes: &[u8]) -> Result<(usize, usize), KeyError> {
    let (mut at, mut zeros) = (0, 0);
    loop {
        // Each escaped zero takes two bytes here and is one of the key.
        let len = at - zeros;
        if len > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { len, limit: KEY_BYTES_MAX });
        }
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(0), Some(&END)) => return Ok((at, zeros)),
            (Some(0), Some(&ESCAPED)) => {
                zeros += 1;
                at += 2;
            }
            (Some(0), Some(&found)) => return Err(KeyError::Escape { offset: at + 1, found }),
            (Some(_), Some(_)) => at += 1,
            (_, None) | (None, _) => return Err(KeyError::Short { offset: bytes.len() }),
        }
    }
}

fn unescape(escaped: &[u8], zeros: usize) -> Cow<'_, [u8]> {
    if zeros == 0 {
        return Cow::Borrowed(escaped);
    }
    let mut key = Vec::with_capacity(escaped.len() - zeros);
    let mut after_zero = false;
    for &byte in escaped {
        if !after_zero {
            key.push(byte);
        }
        after_zero = !after_zero && byte == 0;
    }
    Cow::Owned(key)
}

/// Why bytes are not a [`VersionedKey`], or a key cannot be one.
///
/// # Examples
/// ```
/// use quorate_clocks::{KeyError, VersionedKey};
///
/// assert_eq!(VersionedKey::split(b"key"), Err(KeyError::Short { offset: 3 }));
/// assert_eq!(VersionedKey::split(b"k\0\x01"), Err(KeyError::Escape { offset: 2, found: 1 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Effect: nothing was read. The bytes end before the key or its timestamp does; the rest may
    /// be still to come.
    Short {
        /// Where they end.
        offset: usize,
    },
    /// Effect: nothing was read. Bytes follow behind the timestamp; a retry fails again.
    Trailing {
        /// The first of them.
        offset: usize,
    },
    /// Effect: nothing was read. Neither 0x00 nor 0xFF follows a zero byte; a retry fails again.
    Escape {
        /// Where it stands.
        offset: usize,
        /// What stands there.
        found: u8,
    },
    /// Effect: nothing was read. Eight bytes 0xFF are no timestamp; a retry fails again.
    Timestamp {
        /// Where they begin.
        offset: usize,
    },
    /// Effect: nothing was read or written. The key is too long; a retry fails again.
    TooLong {
        /// Its length, as far as it was read.
        len: usize,
        /// The longest.
        limit: usize,
    },
}

impl KeyError {
    /// Whether more bytes may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Short { .. })
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { offset } => write!(f, "versioned key ends too early, at {offset}"),
            Self::Trailing { offset } => write!(f, "trailing bytes from byte {offset} on"),
            Self::Escape { offset, found } => {
                write!(f, "byte {found:#04x} follows a zero byte at byte {offset}")
            }
            Self::Timestamp { offset } => write!(f, "no timestamp at byte {offset}"),
            Self::TooLong { len, limit } => write!(f, "key of {len} bytes, the limit is {limit}"),
        }
    }
}

impl core::error::Error for KeyError {}
