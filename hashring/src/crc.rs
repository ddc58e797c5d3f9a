//! CRC-32 (IEEE 802.3, reflected), sixteen bytes a step by tables made at compile time.

const POLYNOMIAL: u32 = 0xEDB8_8320;

/// `TABLES[0]` advances one byte; `TABLES[k]` the same byte with k zero bytes behind it.
static TABLES: [[u32; 256]; STEP] = tables();

/// Bytes a step: each step waits for the one before, so long steps are quicker.
const STEP: usize = 16;

const fn tables() -> [[u32; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut table = 1;
    while table < STEP {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The checksum of bytes.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    let (steps, rest) = bytes.as_chunks::<STEP>();
    for step in steps {
        // The sum so far goes into the first four bytes; then no byte depends on another.
        let mut mixed = *step;
        for (byte, carried) in mixed.iter_mut().zip(sum.to_le_bytes()) {
            *byte ^= carried;
        }
        sum = 0;
        for (at, &byte) in mixed.iter().enumerate() {
            sum ^= TABLES[STEP - 1 - at][usize::from(byte)];
        }
    }
    for &byte in rest {
        sum = (sum >> 8) ^ TABLES[0][((sum ^ u32::from(byte)) & 0xFF) as usize];
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn sixteen_at_a_time_are_one_at_a_time() {
        let bytes: Vec<u8> = (0..100_u8).map(|i| i.wrapping_mul(37)).collect();
        let bit = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
        for end in 0..bytes.len() {
            let step = |sum: u32, &byte: &u8| (0..8).fold(sum ^ u32::from(byte), |sum, _| bit(sum));
            let sum = bytes[..end].iter().fold(u32::MAX, step);
            assert_eq!(crc32(&bytes[..end]), !sum, "{end} bytes");
        }
    }
}
