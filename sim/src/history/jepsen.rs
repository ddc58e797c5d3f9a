//! Histories as lines of a Jepsen log.

use std::io::{self, BufRead, Write};

use super::error::HistoryError;
use super::form::{Fields, Form, Value};
use super::lines::{Kind, Line, Wrong, read};
use super::{Event, History, OpId, Outcome};

impl<O: Form> History<O, O::Ret> {
    /// Reads the log of a Jepsen test: `<process>\t:<type>\t:<f>\t<value>`, perhaps with what a
    /// logger puts in front (`INFO  jepsen.util - `) and with a key behind. Lines of other shapes
    /// are noise.
    ///
    /// The log has no times, so all events are at zero, in the order of lines. Values are `nil`,
    /// integers and `[3 0]`; those of `:info` and `:fail` say why, and are not read. A failed
    /// `:cas` did compare: it is read as a success that answers no.
    ///
    /// # Errors
    /// [`HistoryError`], with the line: it has the shape but says what the operation cannot have
    /// said, or breaks a rule of histories. Lines are 1 MiB at most.
    ///
    /// # Examples
    /// ```
    /// use quorate_sim::{History, specs::{RegisterOp, RegisterRet}};
    ///
    /// let log = "INFO  jepsen.util - 0\t:invoke\t:cas\t[3 0]\n\
    ///            INFO  jepsen.core - Worker 1 starting\n\
    ///            INFO  jepsen.util - 0\t:fail\t:cas\t[3 0]\n";
    /// let history = History::<RegisterOp, RegisterRet>::read_jepsen_log(log.as_bytes())?;
    /// assert_eq!(history.len(), 1);
    /// # Ok::<(), quorate_sim::HistoryError>(())
    /// ```
    pub fn read_jepsen_log(input: impl BufRead) -> Result<Self, HistoryError> {
        read(input, parse, true)
    }

    /// Writes what [`read_jepsen_log`](Self::read_jepsen_log) reads, without times.
    ///
    /// An operation that answers yes or no and certainly did not happen is left out: the format
    /// has no word for it, since `:fail` is its answer no, and `:info` would say less than is
    /// known.
    ///
    /// # Errors
    /// As `out` has them; [`io::ErrorKind::InvalidInput`] for a key with a tab or the end of a
    /// line in it.
    pub fn write_jepsen_log(&self, mut out: impl Write) -> io::Result<()> {
        for event in self.events() {
            let (Event::Invoke(id) | Event::End(id)) = event;
            if self.unspeakable(id) {
                continue;
            }
            let (mut kind, fields, process) = self.words(event);
            if kind == Kind::Ok && fields.result == Some(false) {
                kind = Kind::Fail;
            }
            let value = edn(&fields.value);
            write!(out, "{process}\t:{}\t:{}\t{value}", kind.name(), fields.f)?;
            if let Some(key) = &fields.key {
                if key.contains(['\t', '\n', '\r']) {
                    let why = format!("a jepsen log cannot hold the key {key:?}");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
                }
                write!(out, "\t{key}")?;
            }
            writeln!(out)?;
        }
        out.flush()
    }

    fn unspeakable(&self, id: OpId) -> bool {
        let operation = &self.operations[id.index()];
        matches!(operation.outcome, Some((_, Outcome::Fail))) && operation.op.answers()
    }
}

fn edn(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        value => value.to_string().replace(',', " "),
    }
}

fn parse(text: &str) -> Result<Option<Line>, Wrong> {
    let columns: Vec<&str> = text.splitn(6, '\t').collect();
    let (process, kind, f, rest) = match columns.as_slice() {
        [process, kind, f, rest @ ..] if !rest.is_empty() => (process, kind, f, rest),
        _ => return Ok(None),
    };
    // What a logger puts in front ends with a space.
    let process = process.rsplit(' ').next().unwrap_or_default();
    let numbered = !process.is_empty() && process.bytes().all(|b| b.is_ascii_digit());
    let kind = kind.strip_prefix(':').and_then(Kind::named);
    let (Some(kind), Some(f), true) = (kind, f.strip_prefix(':'), numbered) else {
        return Ok(None);
    };
    let number = process.parse();
    let wide = |_| ("a process of 64 bits".to_owned(), process.to_owned());
    let mut fields = Fields::new(f);
    fields.value = value(rest[0].trim());
    if let Some(key) = rest.get(1) {
        if key.contains('\r') {
            return Err(("a key without the end of a line".to_owned(), format!("{key:?}")));
        }
        fields.key = Some((*key).into());
    }
    Ok(Some(Line { process: number.map_err(wide)?, kind, fields, time: None }))
}

/// `nil`, an integer, or a vector of integers.
fn value(text: &str) -> Value {
    if text == "nil" {
        return Value::Null;
    }
    if let Ok(n) = text.parse() {
        return Value::Integer(n);
    }
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    // In EDN a comma is white space.
    let list = inner.and_then(|inner| {
        let words = inner.split([' ', ',', '\t']).filter(|word| !word.is_empty());
        words.map(|word| word.parse().ok()).collect::<Option<Vec<i128>>>()
    });
    list.map_or_else(|| Value::Other(text.into()), Value::List)
}
