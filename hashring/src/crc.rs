//! CRC-32 (IEEE 802.3, reflected), eight bytes a step by tables made at compile time.

const POLYNOMIAL: u32 = 0xEDB8_8320;

/// `TABLES[0]` advances one byte; `TABLES[k]` the same byte with k zero bytes behind it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
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
    while table < 8 {
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
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let [a, b, c, d, e, f, g, h] = *word;
        let low = sum ^ u32::from_le_bytes([a, b, c, d]);
        let [a, b, c, d] = low.to_le_bytes();
        let entry = |table: usize, byte: u8| TABLES[table][usize::from(byte)];
        sum = entry(7, a) ^ entry(6, b) ^ entry(5, c) ^ entry(4, d);
        sum ^= entry(3, e) ^ entry(2, f) ^ entry(1, g) ^ entry(0, h);
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
    fn eight_at_a_time_is_one_at_a_time() {
        let bytes: Vec<u8> = (0..100_u8).map(|i| i.wrapping_mul(37)).collect();
        let bit = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 };
        for end in 0..bytes.len() {
            let step = |sum: u32, &byte: &u8| (0..8).fold(sum ^ u32::from(byte), |sum, _| bit(sum));
            let sum = bytes[..end].iter().fold(u32::MAX, step);
            assert_eq!(crc32(&bytes[..end]), !sum, "{end} bytes");
        }
    }
}
