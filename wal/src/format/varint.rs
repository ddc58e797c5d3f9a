//! Canonical LEB128: at most 10 bytes, shortest form only.

/// Appends `value`.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Takes one number off the front of `input`; `None` if it is cut short, too long or not in its
/// shortest form.
pub(crate) fn take(input: &mut &[u8]) -> Option<u64> {
    // Most numbers are this small.
    if let [byte @ 0..0x80, rest @ ..] = *input {
        *input = rest;
        return Some(u64::from(*byte));
    }
    let mut value = 0_u64;
    for (i, &byte) in input.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        if i == 9 && part > 1 {
            return None;
        }
        value |= part << (7 * i);
        if byte & 0x80 == 0 {
            if byte == 0 && i > 0 {
                return None;
            }
            *input = &input[i + 1..];
            return Some(value);
        }
    }
    None
}
