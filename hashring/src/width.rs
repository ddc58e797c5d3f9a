//! Lengths that limits have already bounded, as the narrower integers of formats and indexes.

#![expect(clippy::cast_possible_truncation, reason = "each asserts that its limit was checked")]

/// At most 65,535: nodes, positions in a row, lengths of names.
#[inline]
pub(crate) fn to_u16(value: usize) -> u16 {
    debug_assert!(value <= usize::from(u16::MAX), "a limit was not checked");
    value as u16
}

/// At most 2³² − 1: partitions, tokens, ranges, lengths of bodies.
#[inline]
pub(crate) fn to_u32(value: usize) -> u32 {
    debug_assert!(value <= u32::MAX as usize, "a limit was not checked");
    value as u32
}

/// At most 255: replicas.
#[inline]
pub(crate) fn to_u8(value: usize) -> u8 {
    debug_assert!(value <= usize::from(u8::MAX), "a limit was not checked");
    value as u8
}
