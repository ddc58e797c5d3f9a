//! What both formats of files share: lines of bounded length, and events that follow the rules.

use std::io::{BufRead, Read as _};

use super::error::HistoryError;
use super::form::{Fields, Form, Value};
use super::log::{Log, Misuse};
use super::{History, Outcome};
use crate::plant::planted;
use crate::time::SimTime;

/// Bytes of a line at most, without its end.
const BYTES_MAX: usize = 1 << 20;

/// How an event begins or ends an operation, in the words of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

impl Kind {
    pub(super) fn named(name: &str) -> Option<Self> {
        let of = [Self::Invoke, Self::Ok, Self::Fail, Self::Info];
        of.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }
}

/// One event, as a line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) process: u64,
    pub(super) kind: Kind,
    pub(super) fields: Fields,
    /// `None` if the line does not say: then as the line before.
    pub(super) time: Option<SimTime>,
}

/// What a line should have said, and what it says.
pub(super) type Wrong = (String, String);

/// How a format reads a line: `None` if it is noise.
pub(super) type Parser = fn(&str) -> Result<Option<Line>, Wrong>;

/// A history in the making.
struct Reading<O, R> {
    log: Log<O, R>,
    /// The line that is read, from 1.
    line: u64,
    now: SimTime,
    /// `:fail` is an answer of operations that answer yes or no.
    fail_answers: bool,
}

/// Reads a whole file.
pub(super) fn read<O: Form>(
    mut input: impl BufRead,
    parser: Parser,
    fail_answers: bool,
) -> Result<History<O, O::Ret>, HistoryError> {
    let log = Log::new(History::<O, O::Ret>::OPERATIONS_MAX);
    let mut reading = Reading { log, line: 0, now: SimTime::ZERO, fail_answers };
    let mut bytes = Vec::new();
    loop {
        reading.line += 1;
        let line = reading.line;
        bytes.clear();
        let limit = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX) + 2;
        let read = input.by_ref().take(limit).read_until(b'\n', &mut bytes);
        if read.map_err(|source| HistoryError::Io { line, source })? == 0 {
            return Ok(reading.log.into_history());
        }
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.len() > BYTES_MAX {
            return Err(HistoryError::TooLong { line, bytes_max: BYTES_MAX });
        }
        let text = std::str::from_utf8(text);
        let text = text.map_err(|error| reading.wrong(("UTF-8".to_owned(), error.to_string())))?;
        if let Some(event) = parser(text).map_err(|wrong| reading.wrong(wrong))? {
            reading.event(&event)?;
        }
    }
}

impl<O: Form> Reading<O, O::Ret> {
    fn wrong(&self, (expected, found): Wrong) -> HistoryError {
        HistoryError::Line { line: self.line, expected, found }
    }

    fn broken(&self, rule: Misuse) -> HistoryError {
        let expected = match rule {
            Misuse::Busy { .. } => "the outcome of its last operation first",
            Misuse::Idle { .. } | Misuse::Unheard { .. } => "an invoke first",
            Misuse::Ended { .. } => "one outcome",
            Misuse::Backwards { .. } => "events in the order of time",
        };
        HistoryError::Order { line: self.line, expected, found: rule.to_string() }
    }

    fn event(&mut self, line: &Line) -> Result<(), HistoryError> {
        let at = line.time.unwrap_or(self.now);
        if at < self.now {
            return Err(self.broken(Misuse::Backwards { at, last: self.now }));
        }
        self.now = at;
        if line.kind != Kind::Invoke {
            return self.outcome(line);
        }
        let op = O::parse(line.process, &line.fields);
        let op = op.map_err(|expected| self.wrong((expected, shown(&line.fields))))?;
        let invoked = self.log.invoke(at, line.process, op, &None);
        invoked.map_err(|rule| self.broken(rule))?;
        if self.log.is_full() {
            let operations_max = History::<O, O::Ret>::OPERATIONS_MAX;
            return Err(HistoryError::TooMany { line: self.line, operations_max });
        }
        Ok(())
    }

    fn outcome(&mut self, line: &Line) -> Result<(), HistoryError> {
        let opened = self.log.open(line.process).map_err(|rule| self.broken(rule))?;
        let (id, op) = opened;
        let asked = op.fields();
        let mut said = line.fields.clone();
        // Where there are no keys, loggers put other things into their column.
        let keys = said.key.as_ref().zip(asked.key.as_ref());
        if said.f != asked.f || keys.is_some_and(|(said, asked)| said != asked) {
            return Err(self.wrong((format!("the outcome of {}", shown(&asked)), shown(&said))));
        }
        let answer = self.fail_answers && op.answers() && !planted("failed_cas_dropped");
        let outcome = match line.kind {
            Kind::Fail if !answer => Outcome::Fail,
            Kind::Ok | Kind::Fail => {
                if answer {
                    said.result = Some(line.kind == Kind::Ok);
                }
                let ret = op.parse_ret(&said);
                Outcome::Ok(ret.map_err(|expected| self.wrong((expected, shown(&said))))?)
            }
            Kind::Info | Kind::Invoke => Outcome::Unknown,
        };
        self.log.end(id, self.now, outcome).map_err(|rule| self.broken(rule))
    }
}

/// An operation in the words of the files.
fn shown(fields: &Fields) -> String {
    let key = fields.key.as_ref().map(|key| format!(" of key {key:?}")).unwrap_or_default();
    let result = fields.result.map(|yes| format!(" and result {yes}")).unwrap_or_default();
    format!("{}{key} with value {}{result}", fields.f, fields.value)
}

/// Of an outcome that repeats what was asked for, whether it does.
pub(crate) fn repeated(asked: &Value, said: &Value) -> Result<(), String> {
    if *said == Value::Null || said == asked {
        return Ok(());
    }
    Err(format!("the value that was asked for, {asked}, or null"))
}
