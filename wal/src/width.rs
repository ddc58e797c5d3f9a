//! Integer conversions whose range is an invariant of the format, in one place.

/// `usize` to `u64`; never narrows on the platforms Rust supports.
#[inline]
pub(crate) const fn wide(n: usize) -> u64 {
    n as u64
}

/// A length or offset inside one segment; segments are at most 1 GiB.
#[inline]
#[expect(clippy::expect_used, reason = "offsets inside a segment are below 2^32 by config")]
pub(crate) fn off(n: usize) -> u32 {
    u32::try_from(n).expect("an offset inside a segment fits 32 bits")
}

/// A length read from a verified structure, as an index.
#[inline]
#[expect(clippy::expect_used, reason = "lengths here were bounded by the caller")]
pub(crate) fn index(n: u64) -> usize {
    usize::try_from(n).expect("a bounded length fits the address space")
}

/// `u32` to `usize`; the crate needs at least 32-bit addresses.
#[inline]
pub(crate) const fn at(n: u32) -> usize {
    n as usize
}

/// Rounds up to the payload padding of 8 bytes.
#[inline]
pub(crate) const fn pad8(n: usize) -> usize {
    (n + 7) & !7
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[inline]
pub(crate) fn u128_at(bytes: &[u8], at: usize) -> u128 {
    let mut word = [0; 16];
    word.copy_from_slice(&bytes[at..at + 16]);
    u128::from_le_bytes(word)
}
