//! CRC-32/ISO-HDLC of short inputs.

use crc32fast::Hasher;
use std::sync::OnceLock;

/// Like `crc32fast::hash`, which asks what the processor can each time: a copy of a hasher that
/// asked once is cheaper, and headers are short.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut hasher = hasher();
    hasher.update(bytes);
    hasher.finalize()
}

/// A hasher of nothing yet.
pub(crate) fn hasher() -> Hasher {
    static FRESH: OnceLock<Hasher> = OnceLock::new();
    FRESH.get_or_init(Hasher::new).clone()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_crc_of_the_format() {
        assert_eq!(super::crc(b"123456789"), 0xCBF4_3926);
        assert_eq!(super::crc(b""), 0);
    }
}
