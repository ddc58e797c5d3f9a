//! [`Timestamp`] and [`Stamp`]: what the hybrid clock hands out.

use crate::WallTime;
use core::fmt;
use core::num::NonZeroU64;
use core::str::FromStr;

/// Bits of the counter.
const LOGICAL_BITS: u32 = 12;
const LOGICAL_MASK: u64 = (1 << LOGICAL_BITS) - 1;
const MICROS_PER_SEC: u64 = 1_000_000;

/// A reading of a hybrid logical clock in one word: 52 bits of microseconds since 1970, 12 bits of
/// counter.
///
/// The order of timestamps is the order of their words, of their bytes and of events that caused
/// one another. The counter carries into the microseconds: a clock that hands out more than 4,096
/// stamps in a microsecond borrows from the next one.
///
/// # Limits
/// Clocks read physical time up to [`LAST_MICROS`](Self::LAST_MICROS) (2112-09-05T06:28:35Z);
/// later stamps only count, which the other 2⁵² values last for.
///
/// # Examples
/// ```
/// use quorate_clocks::Timestamp;
///
/// let t: Timestamp = "1700000000.123456+7".parse()?;
/// assert_eq!((t.micros(), t.logical()), (1_700_000_000_123_456, 7));
/// assert_eq!(Timestamp::from_bytes(t.to_bytes()), Some(t));
/// assert!(t < Timestamp::from_parts(t.micros(), 8).unwrap());
/// assert_eq!(size_of::<Option<Timestamp>>(), 8);
/// # Ok::<(), quorate_clocks::ParseTimestampError>(())
/// ```
///
/// # Source
/// Kulkarni, Demirbas et al. 2014 (hybrid logical clocks); the 52/12 layout is that of
/// `YugabyteDB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The smallest: nothing was stamped before it.
    pub const MIN: Self = Self(NonZeroU64::MIN);

    /// The last microsecond that is read from a clock.
    pub const LAST_MICROS: u64 = (1 << 52) - (1 << 40);

    /// From its parts. `None` if `logical` is above 4,095, `micros` above
    /// [`LAST_MICROS`](Self::LAST_MICROS), or both are zero.
    #[must_use]
    pub const fn from_parts(micros: u64, logical: u16) -> Option<Self> {
        if micros > Self::LAST_MICROS || logical as u64 > LOGICAL_MASK {
            return None;
        }
        Self::from_bits(micros << LOGICAL_BITS | logical as u64)
    }

    /// From its word; `None` for 0.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match NonZeroU64::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// Its word, `micros << 12 | logical`; never 0.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.to_bits() >> LOGICAL_BITS
    }

    /// The counter, 0 to 4,095.
    #[must_use]
    pub const fn logical(self) -> u16 {
        let bytes = self.to_bits().to_le_bytes();
        u16::from_le_bytes([bytes[0], bytes[1]]) & 0xFFF
    }

    /// The first nanosecond of its microsecond.
    #[must_use]
    pub const fn wall(self) -> WallTime {
        WallTime::from_nanos(self.micros() * 1_000)
    }

    /// The last nanosecond of its microsecond: the event was not later by the clock that stamped it
    /// (unless the stamp ran ahead of that clock).
    #[must_use]
    pub const fn wall_end(self) -> WallTime {
        WallTime::from_nanos(self.micros() * 1_000 + 999)
    }

    /// Eight bytes, big-endian: byte order is the order of timestamps.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.to_bits().to_be_bytes()
    }

    /// From [`to_bytes`](Self::to_bytes); `None` for eight zero bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        Self::from_bits(u64::from_be_bytes(bytes))
    }

    /// Eight bytes whose order is the reverse of the order of timestamps: newest first in a sorted
    /// store.
    #[must_use]
    pub const fn to_bytes_descending(self) -> [u8; 8] {
        (!self.to_bits()).to_be_bytes()
    }

    /// From [`to_bytes_descending`](Self::to_bytes_descending); `None` for eight bytes 0xFF.
    #[must_use]
    pub const fn from_bytes_descending(bytes: [u8; 8]) -> Option<Self> {
        Self::from_bits(!u64::from_be_bytes(bytes))
    }

    /// The word of a physical reading: its microsecond, with counter 0.
    pub(crate) const fn physical(wall: WallTime) -> u64 {
        let micros = wall.as_nanos() / 1_000;
        let micros = if micros < Self::LAST_MICROS { micros } else { Self::LAST_MICROS };
        micros << LOGICAL_BITS
    }
}

/// Seconds, a dot, six digits of microseconds, a plus sign, the counter: `1700000000.123456+7`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, micros) = (self.micros() / MICROS_PER_SEC, self.micros() % MICROS_PER_SEC);
        write!(f, "{secs}.{micros:06}+{}", self.logical())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

/// Why a text is not a [`Timestamp`]: only the form that `Display` writes is taken, so that equal
/// timestamps have equal texts. // H10
///
/// # Examples
/// ```
/// use quorate_clocks::Timestamp;
/// let error = "1700000000.12+7".parse::<Timestamp>().unwrap_err();
/// assert_eq!(error.offset, 13); // four more digits belong there
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseTimestampError {
    /// The byte at which the text stops being one.
    pub offset: usize,
}

impl fmt::Display for ParseTimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a timestamp from byte {} on", self.offset)
    }
}

impl core::error::Error for ParseTimestampError {}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let mut text = Text { bytes: text.as_bytes(), at: 0 };
        let secs = text.number((1 << 52) / MICROS_PER_SEC)?;
        text.expect(b'.')?;
        let at = text.at;
        let mut micros = secs * MICROS_PER_SEC;
        for place in [100_000, 10_000, 1_000, 100, 10, 1] {
            micros += text.digit()? * place;
        }
        if micros >> 52 != 0 {
            return Err(ParseTimestampError { offset: at });
        }
        text.expect(b'+')?;
        let at = text.at;
        let logical = text.number(LOGICAL_MASK)?;
        text.end()?;
        Self::from_bits(micros << LOGICAL_BITS | logical).ok_or(ParseTimestampError { offset: at })
    }
}

struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Text<'_> {
    const fn error(&self) -> ParseTimestampError {
        ParseTimestampError { offset: self.at }
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseTimestampError> {
        if self.bytes.get(self.at) != Some(&byte) {
            return Err(self.error());
        }
        self.at += 1;
        Ok(())
    }

    fn digit(&mut self) -> Result<u64, ParseTimestampError> {
        let digit = self.bytes.get(self.at).filter(|b| b.is_ascii_digit());
        let digit = digit.map(|b| u64::from(b - b'0')).ok_or_else(|| self.error())?;
        self.at += 1;
        Ok(digit)
    }

    /// Digits without leading zeros, up to `max`.
    fn number(&mut self, max: u64) -> Result<u64, ParseTimestampError> {
        let mut value = self.digit()?;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            if value == 0 {
                return Err(self.error());
            }
            let digit = self.digit()?;
            value = value * 10 + digit;
            if value > max {
                return Err(ParseTimestampError { offset: self.at - 1 });
            }
        }
        Ok(value)
    }

    const fn end(&self) -> Result<(), ParseTimestampError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.error()) }
    }
}

/// A timestamp with the node that took it: unique in the cluster, so that a tie never needs to be
/// broken by chance.
///
/// # Examples
/// ```
/// use quorate_clocks::{Stamp, Timestamp};
///
/// let time = Timestamp::from_parts(1_700_000_000_000_000, 0).unwrap();
/// assert!(Stamp { time, node: 1_u64 } < Stamp { time, node: 2 });
/// assert_eq!(size_of::<Stamp<u64>>(), 16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(clippy::exhaustive_structs, reason = "a pair that callers build")]
pub struct Stamp<N> {
    /// When.
    pub time: Timestamp,
    /// Where.
    pub node: N,
}

impl Stamp<u64> {
    /// Sixteen bytes, big-endian: byte order is the order of stamps.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.time.to_bytes());
        bytes[8..].copy_from_slice(&self.node.to_be_bytes());
        bytes
    }

    /// From [`to_bytes`](Self::to_bytes); `None` if the timestamp is zero.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let word = u128::from_be_bytes(bytes);
        let [time, node] = [word >> 64, word & u128::from(u64::MAX)];
        let [time, node] = [time, node].map(|half| u64::try_from(half).unwrap_or(u64::MAX));
        Some(Self { time: Timestamp::from_bits(time)?, node })
    }
}

// Keys and messages carry these: their sizes are part of the promise.
const _: () = assert!(size_of::<Option<Timestamp>>() == 8);
const _: () = assert!(size_of::<Stamp<u64>>() == 16);

#[cfg(feature = "serde")]
mod with_serde {
    use super::Timestamp;
    use alloc::string::{String, ToString};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Text in human-readable formats: a JSON number loses bits above 2⁵³. // H29
    impl Serialize for Timestamp {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if serializer.is_human_readable() {
                serializer.serialize_str(&self.to_string())
            } else {
                serializer.serialize_u64(self.to_bits())
            }
        }
    }

    impl<'de> Deserialize<'de> for Timestamp {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            if deserializer.is_human_readable() {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            } else {
                let bits = u64::deserialize(deserializer)?;
                Self::from_bits(bits).ok_or_else(|| D::Error::custom("a timestamp is never 0"))
            }
        }
    }
}
