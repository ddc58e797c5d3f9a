//! Any text as one word of a plan: marks and paths may hold spaces.

use std::fmt::Write as _;

/// White space and per cent signs as their bytes: `%20`, `%25`.
pub(super) fn word(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '%' || c.is_whitespace() {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "%{byte:02X}"); // a string takes everything
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The text of a word; `None` if there is none, or if a per cent sign stands for no byte of it.
pub(super) fn unword(word: &str) -> Option<String> {
    let mut pieces = word.split('%');
    let mut bytes = pieces.next().unwrap_or("").as_bytes().to_vec();
    for piece in pieces {
        let (hex, rest) = piece.split_at_checked(2)?;
        let is_hex = hex.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(hex, 16).ok().filter(|_| is_hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for text in ["leader elected", "50%", "%20", "a\tb\r\nc", "\u{2003}wide\u{85}", "é", "="] {
            let one = word(text);
            assert!(!one.contains(char::is_whitespace), "{one}");
            assert_eq!(unword(&one).as_deref(), Some(text), "{one}");
        }
        assert_eq!(word("leader elected"), "leader%20elected");
        for wrong in ["", "a%", "a%2", "%zz", "%+1", "%é", "%FF"] {
            assert_eq!(unword(wrong), None, "{wrong}");
        }
    }
}
