//! Requests from bytes. `redis-protocol` decodes; before that, the lengths in the request are
//! checked against limits as they arrive, so that a claimed length cannot make us wait for, or
//! hold, gigabytes.

use bytes::{Buf as _, Bytes, BytesMut};
use redis_protocol::resp2::decode::decode_bytes;
use redis_protocol::resp2::types::BytesFrame;

const ARGUMENTS_MAX: u64 = 1 << 20;
/// Of one request, all lengths included. Also the longest argument the protocol takes.
const REQUEST_BYTES_MAX: usize = 32 << 20;
const INLINE_BYTES_MAX: usize = 64 << 10;
/// Digits, marker and line end of a length.
const LENGTH_LINE_MAX: usize = 32;

/// What was taken off the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The arguments of a request; may be none (an empty line, an empty array).
    Request(Vec<Bytes>),
    /// More bytes are needed.
    Incomplete,
    /// This is not the protocol: what to say before closing.
    Broken(String),
}

/// The bytes of a connection that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) buffer: BytesMut,
    /// How far the request at the front was checked, and how many arguments of it are left.
    checked: usize,
    arguments_left: Option<u64>,
    /// Bytes of this connection before the buffer: errors name the position.
    before: u64,
}

impl Requests {
    pub(crate) fn take(&mut self) -> Taken {
        match self.buffer.first() {
            None => Taken::Incomplete,
            Some(b'*') => self.take_array(),
            Some(_) => self.take_inline(),
        }
    }

    fn broken(&self, what: &str) -> Taken {
        let at = self.before + self.checked as u64;
        Taken::Broken(format!("ERR Protocol error: {what} at byte {at}"))
    }

    fn consume(&mut self, len: usize) -> Bytes {
        self.before += len as u64;
        self.checked = 0;
        self.arguments_left = None;
        self.buffer.split_to(len).freeze()
    }

    fn take_array(&mut self) -> Taken {
        match self.check() {
            Ok(true) => {}
            Ok(false) => return Taken::Incomplete,
            Err(what) => return self.broken(&what),
        }
        let request = self.consume(self.checked);
        match decode_bytes(&request) {
            Ok(Some((BytesFrame::Array(frames), _))) => {
                let bulk = |frame| match frame {
                    BytesFrame::BulkString(data) => Some(data),
                    _ => None,
                };
                match frames.into_iter().map(bulk).collect() {
                    Some(args) => Taken::Request(args),
                    None => self.broken("expected bulk strings"),
                }
            }
            Ok(Some((BytesFrame::Null, _))) => Taken::Request(Vec::new()),
            _ => self.broken("malformed request"),
        }
    }

    /// Goes on checking the lengths of the request at the front; true once it is all there.
    fn check(&mut self) -> Result<bool, String> {
        if self.arguments_left.is_none() {
            let Some((count, next)) = self.length(b'*', "multibulk")? else { return Ok(false) };
            if count > ARGUMENTS_MAX {
                return Err(format!("{count} arguments exceeds the limit of {ARGUMENTS_MAX}"));
            }
            self.arguments_left = Some(count);
            self.checked = next;
        }
        while let Some(left) = self.arguments_left.filter(|left| *left > 0) {
            let Some((len, next)) = self.length(b'$', "bulk")? else { return Ok(false) };
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len > REQUEST_BYTES_MAX.saturating_sub(next) {
                return Err(format!("request exceeds the limit of {REQUEST_BYTES_MAX} bytes"));
            }
            let end = next + len;
            match self.buffer.get(end..end + 2) {
                None => return Ok(false),
                Some(b"\r\n") => {}
                Some(_) => {
                    self.checked = end;
                    return Err("expected the end of a bulk string".to_owned());
                }
            }
            self.checked = end + 2;
            self.arguments_left = Some(left - 1);
        }
        Ok(true)
    }

    /// The length line at the position: its value and where it ends.
    fn length(&self, marker: u8, what: &str) -> Result<Option<(u64, usize)>, String> {
        let rest = &self.buffer[self.checked..];
        let Some(first) = rest.first() else { return Ok(None) };
        if *first != marker {
            let (expected, found) = (char::from(marker), first.escape_ascii());
            return Err(format!("expected '{expected}', got '{found}'"));
        }
        let window = &rest[..rest.len().min(LENGTH_LINE_MAX)];
        let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
            let over = rest.len() >= LENGTH_LINE_MAX;
            return if over { Err(format!("invalid {what} length")) } else { Ok(None) };
        };
        let digits = std::str::from_utf8(&window[1..end]).ok();
        let value = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let value = value.and_then(|d| d.parse().ok());
        let value = value.ok_or_else(|| format!("invalid {what} length"))?;
        Ok(Some((value, self.checked + end + 2)))
    }

    /// A line of words, as typed into telnet.
    fn take_inline(&mut self) -> Taken {
        let Some(end) = self.buffer.iter().position(|b| *b == b'\n') else {
            if self.buffer.len() > INLINE_BYTES_MAX {
                self.checked = INLINE_BYTES_MAX;
                return self.broken("too big inline request");
            }
            return Taken::Incomplete;
        };
        if end > INLINE_BYTES_MAX {
            self.checked = INLINE_BYTES_MAX;
            return self.broken("too big inline request");
        }
        let line = self.consume(end + 1);
        match words(&line) {
            Some(words) => Taken::Request(words),
            None => self.broken("unbalanced quotes in request"),
        }
    }
}

/// Words between blanks; quotes keep blanks together. `None` if a quote is left open.
fn words(line: &Bytes) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut rest = line.clone();
    loop {
        while rest.first().is_some_and(u8::is_ascii_whitespace) {
            rest.advance(1);
        }
        let Some(first) = rest.first().copied() else { return Some(words) };
        if first == b'"' || first == b'\'' {
            let end = rest.iter().skip(1).position(|b| *b == first)? + 1;
            words.push(rest.slice(1..end));
            rest.advance(end + 1);
        } else {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            words.push(rest.split_to(end));
        }
    }
}
