//! A reader of flat JSON objects: one a line, as strict as the standard, and no more than needed.
//!
//! Source: RFC 8259.

use super::lines::Wrong;

/// A member's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// An integer that fits.
    Integer(i128),
    /// Any other number, as it stands there.
    Number(String),
    Text(String),
    /// A list of values that are no lists.
    List(Vec<Self>),
}

/// Members in their order; a name that comes twice is an error.
pub(super) type Object = Vec<(String, Json)>;

/// Reads the one object of a line.
pub(super) fn object(line: &str) -> Result<Object, Wrong> {
    let mut text = Text { line, at: 0 };
    let mut members: Object = Vec::new();
    text.space();
    text.expect('{')?;
    text.space();
    if text.skip('}') {
        return text.end(members);
    }
    loop {
        text.space();
        let name = text.string("the name of a member, in quotes")?;
        if members.iter().any(|(known, _)| *known == name) {
            return Err(("each member once".to_owned(), format!("{name:?} again")));
        }
        text.space();
        text.expect(':')?;
        let value = text.value(true)?;
        members.push((name, value));
        text.space();
        if text.skip('}') {
            return text.end(members);
        }
        if !text.skip(',') {
            return text.wrong("',' or '}'");
        }
    }
}

/// A text in quotes, as [`object`] reads it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Where the reader is in the line.
struct Text<'a> {
    line: &'a str,
    at: usize,
}

impl Text<'_> {
    fn rest(&self) -> &str {
        &self.line[self.at..]
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn wrong<T>(&self, expected: &str) -> Result<T, Wrong> {
        let found = match self.rest().chars().take(12).collect::<String>() {
            rest if rest.is_empty() => "the end of the line".to_owned(),
            rest => format!("{rest:?} at byte {}", self.at),
        };
        Err((expected.to_owned(), found))
    }

    fn space(&mut self) {
        self.at += self.rest().bytes().take_while(|b| b" \t\r\n".contains(b)).count();
    }

    fn skip(&mut self, c: char) -> bool {
        let found = self.next() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn expect(&mut self, c: char) -> Result<(), Wrong> {
        if self.skip(c) { Ok(()) } else { self.wrong(&format!("{c:?}")) }
    }

    fn end(&mut self, members: Object) -> Result<Object, Wrong> {
        self.space();
        if self.rest().is_empty() { Ok(members) } else { self.wrong("the end of the line") }
    }

    fn value(&mut self, list: bool) -> Result<Json, Wrong> {
        self.space();
        match self.next() {
            Some('"') => self.string("a string").map(Json::Text),
            Some('[') if list => self.list(),
            Some('-' | '0'..='9') => self.number(),
            Some('n') => self.word("null", Json::Null),
            Some('t') => self.word("true", Json::Bool(true)),
            Some('f') => self.word("false", Json::Bool(false)),
            _ if list => self.wrong("a string, number, true, false, null or list"),
            _ => self.wrong("a string, number, true, false or null: lists hold no lists"),
        }
    }

    fn word(&mut self, word: &str, is: Json) -> Result<Json, Wrong> {
        if !self.rest().starts_with(word) {
            return self.wrong(word);
        }
        self.at += word.len();
        Ok(is)
    }

    fn list(&mut self) -> Result<Json, Wrong> {
        let mut of = Vec::new();
        self.at += 1;
        self.space();
        if self.skip(']') {
            return Ok(Json::List(of));
        }
        loop {
            of.push(self.value(false)?);
            self.space();
            if self.skip(']') {
                return Ok(Json::List(of));
            }
            if !self.skip(',') {
                return self.wrong("',' or ']'");
            }
        }
    }

    fn digits(&mut self) -> Result<(), Wrong> {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        if count == 0 { self.wrong("a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Json, Wrong> {
        let from = self.at;
        self.skip('-');
        // No zeros in front of other digits.
        if !self.skip('0') {
            self.digits()?;
        }
        let mut integer = true;
        if self.skip('.') {
            integer = false;
            self.digits()?;
        }
        if self.skip('e') || self.skip('E') {
            integer = false;
            let _ = self.skip('+') || self.skip('-');
            self.digits()?;
        }
        let text = &self.line[from..self.at];
        let number = text.parse().ok().filter(|_| integer).map(Json::Integer);
        Ok(number.unwrap_or_else(|| Json::Number(text.to_owned())))
    }

    fn string(&mut self, expected: &str) -> Result<String, Wrong> {
        if !self.skip('"') {
            return self.wrong(expected);
        }
        let mut out = String::new();
        loop {
            let plain = self.rest().find(|c| matches!(c, '"' | '\\' | '\0'..='\x1f'));
            let Some(plain) = plain else { return self.wrong("'\"' at the end of a string") };
            out.push_str(&self.line[self.at..self.at + plain]);
            self.at += plain;
            if self.skip('"') {
                return Ok(out);
            }
            if !self.skip('\\') {
                return self.wrong("no control character in a string");
            }
            out.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Result<char, Wrong> {
        let plain = [
            ('"', '"'),
            ('\\', '\\'),
            ('/', '/'),
            ('b', '\x08'),
            ('f', '\x0c'),
            ('n', '\n'),
            ('r', '\r'),
            ('t', '\t'),
        ];
        if let Some((_, c)) = plain.into_iter().find(|(name, _)| self.skip(*name)) {
            return Ok(c);
        }
        if !self.skip('u') {
            return self.wrong("an escape: \" \\ / b f n r t u");
        }
        let first = self.hex()?;
        let code = match first {
            0xd800..=0xdbff if self.rest().starts_with("\\u") => {
                self.at += 2;
                let second = self.hex()?;
                let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
                low.map(|low| 0x1_0000 + ((first - 0xd800) << 10) + low)
            }
            code => Some(code),
        };
        match code.and_then(char::from_u32) {
            Some(c) => Ok(c),
            None => self.wrong("both halves of a surrogate pair before this"),
        }
    }

    fn hex(&mut self) -> Result<u32, Wrong> {
        let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => self.wrong("four hexadecimal digits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Json, object, quoted};

    fn value(text: &str) -> Json {
        let object = object(&format!("{{\"v\":{text}}}")).unwrap();
        object.into_iter().next().unwrap().1
    }

    #[test]
    fn every_kind_of_value_is_read() {
        for (text, is) in [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("-0", Json::Integer(0)),
            ("18446744073709551615", Json::Integer(i128::from(u64::MAX))),
            ("1.5", Json::Number("1.5".to_owned())),
            ("1e3", Json::Number("1e3".to_owned())),
            ("[ ]", Json::List(vec![])),
            ("[1 , null]", Json::List(vec![Json::Integer(1), Json::Null])),
            (r#""a\n\u0041\ud83d\ude00\/""#, Json::Text("a\nA\u{1f600}/".to_owned())),
        ] {
            assert_eq!(value(text), is, "{text}");
        }
        let wide = "1".repeat(60);
        assert_eq!(value(&wide), Json::Number(wide.clone()), "too wide for any integer");
    }

    #[test]
    fn what_is_no_flat_object_is_refused() {
        for text in [
            "",
            "[]",
            "{",
            "{}x",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":+1}",
            "{\"a\":nul}",
            "{\"a\":{}}",
            "{\"a\":[[1]]}",
            "{\"a\":[1,]}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1,\"a\":2}",
            "{a:1}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\t\"}",
            "{\"a\":\"open}",
            "{\"a\":\"\\u00é0\"}",
        ] {
            assert!(object(text).is_err(), "{text}");
        }
        let (expected, found) = object("{\"a\":1 \"b\":2}").unwrap_err();
        assert_eq!((&*expected, &*found), ("',' or '}'", "\"\\\"b\\\":2}\" at byte 7"));
    }

    #[test]
    fn quoted_text_comes_back() {
        let text: String = (0..0x300).filter_map(char::from_u32).chain(['\u{1f600}']).collect();
        assert_eq!(value(&quoted(&text)), Json::Text(text));
    }
}
