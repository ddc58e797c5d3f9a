//! SipHash-1-3: one round per word, three at the end.

/// The four words of state.
struct State([u64; 4]);

impl State {
    const fn new(key: (u64, u64)) -> Self {
        Self([
            key.0 ^ 0x736f_6d65_7073_6575,
            key.1 ^ 0x646f_7261_6e64_6f6d,
            key.0 ^ 0x6c79_6765_6e65_7261,
            key.1 ^ 0x7465_6462_7974_6573,
        ])
    }

    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    const fn absorb(&mut self, word: u64, rounds: u32) {
        self.0[3] ^= word;
        let mut done = 0;
        while done < rounds {
            self.round();
            done += 1;
        }
        self.0[0] ^= word;
    }

    const fn finish(mut self, rounds: u32) -> u64 {
        self.0[2] ^= 0xFF;
        let mut done = 0;
        while done < rounds {
            self.round();
            done += 1;
        }
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }
}

/// `SipHash` with one round per word and three at the end.
pub(crate) fn siphash13(key: (u64, u64), bytes: &[u8]) -> u64 {
    siphash(key, bytes, 1, 3)
}

fn siphash(key: (u64, u64), bytes: &[u8], per_word: u32, at_end: u32) -> u64 {
    let mut state = State::new(key);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state.absorb(u64::from_le_bytes(*word), per_word);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len().to_le_bytes()[0]; // the length modulo 256
    state.absorb(u64::from_le_bytes(last), per_word);
    state.finish(at_end)
}

#[cfg(test)]
mod tests {
    use super::{siphash, siphash13};

    const KEY: (u64, u64) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);

    /// Aumasson and Bernstein 2012, appendix A: `SipHash`-2-4 of the bytes 0 to 14.
    #[test]
    fn the_vector_of_the_paper() {
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(KEY, &message, 2, 4), 0xa129_ca61_49be_45e5);
    }

    /// The standard library hashes strings by SipHash-1-3 with a zero key.
    #[test]
    fn one_and_three_rounds_as_the_standard_library_has_them() {
        use std::hash::Hasher;
        let message: Vec<u8> = (0..70).collect();
        for end in 0..message.len() {
            let mut theirs = std::collections::hash_map::DefaultHasher::new();
            theirs.write(&message[..end]);
            assert_eq!(siphash13((0, 0), &message[..end]), theirs.finish(), "{end} bytes");
        }
        assert_ne!(siphash13(KEY, b"x"), siphash13((0, 0), b"x"));
    }
}
