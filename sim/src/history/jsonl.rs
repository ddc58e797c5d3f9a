//! Histories as JSON lines: one event each, as a flat object.

use std::io::{self, BufRead, Write};

use super::error::HistoryError;
use super::form::{Fields, Form, Value};
use super::json::{Json, object, quoted};
use super::lines::{Kind, Line, Wrong, read};
use super::{Event, History, Outcome};
use crate::time::SimTime;

impl<O: Form> History<O, O::Ret> {
    /// Reads JSON lines, one event each: `process`, `type` (`invoke`, `ok`, `fail`, `info`) and
    /// `f`, then as the operation has it `key`, `value`, `result`, and `time` in nanoseconds.
    ///
    /// The order of lines is the order of events; `time` must not go back, and a line without it
    /// has that of the line before. Members of other names are ignored, empty lines too.
    ///
    /// # Errors
    /// [`HistoryError`], with the line: it is no such object, or breaks a rule of histories.
    /// Lines are 1 MiB at most.
    pub fn read_jsonl(input: impl BufRead) -> Result<Self, HistoryError> {
        read(input, parse, false)
    }

    /// Writes what [`read_jsonl`](Self::read_jsonl) reads; operations are the same again, except
    /// that they are numbered as they were invoked.
    ///
    /// # Errors
    /// As `out` has them.
    ///
    /// # Examples
    /// ```
    /// use quorate_sim::{Recorder, SimTime, specs::{RegisterOp, RegisterRet}};
    ///
    /// let recorder = Recorder::new();
    /// let cas = recorder.invoke(SimTime::ZERO, 4, RegisterOp::Cas { expected: 3, new: 0 });
    /// recorder.ok(cas, SimTime::from_nanos(7), RegisterRet::Swapped(false));
    ///
    /// let mut out = Vec::new();
    /// recorder.history().write_jsonl(&mut out)?;
    /// assert_eq!(String::from_utf8_lossy(&out), concat!(
    ///     r#"{"process":4,"type":"invoke","f":"cas","value":[3,0],"time":0}"#, "\n",
    ///     r#"{"process":4,"type":"ok","f":"cas","value":[3,0],"result":false,"time":7}"#, "\n",
    /// ));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_jsonl(&self, mut out: impl Write) -> io::Result<()> {
        for event in self.events() {
            let (kind, fields, process) = self.words(event);
            let time = self.time(event).as_nanos();
            write!(out, "{{\"process\":{process},\"type\":\"{}\"", kind.name())?;
            write!(out, ",\"f\":{}", quoted(&fields.f))?;
            if let Some(key) = &fields.key {
                write!(out, ",\"key\":{}", quoted(key))?;
            }
            write!(out, ",\"value\":{}", fields.value)?;
            if let Some(result) = fields.result {
                write!(out, ",\"result\":{result}")?;
            }
            writeln!(out, ",\"time\":{time}}}")?;
        }
        out.flush()
    }

    /// An event in the words of the files.
    pub(super) fn words(&self, event: Event) -> (Kind, Fields, u64) {
        let (Event::Invoke(id) | Event::End(id)) = event;
        let operation = &self.operations[id.index()];
        let asked = operation.op.fields();
        let outcome = operation.outcome.as_ref().map(|(_, outcome)| outcome);
        let (kind, fields) = match (event, outcome) {
            (Event::Invoke(_), _) => (Kind::Invoke, asked),
            (Event::End(_), Some(Outcome::Ok(ret))) => {
                let said = operation.op.ret_fields(ret);
                (Kind::Ok, Fields { f: asked.f, key: asked.key, ..said })
            }
            (Event::End(_), Some(Outcome::Fail)) => (Kind::Fail, asked),
            (Event::End(_), _) => (Kind::Info, asked),
        };
        (kind, fields, operation.process)
    }
}

fn parse(text: &str) -> Result<Option<Line>, Wrong> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let (mut process, mut kind, mut time, mut f) = (None, None, None, None);
    let mut fields = Fields::new("");
    for (name, json) in object(text)? {
        match name.as_str() {
            "process" => process = Some(unsigned(&name, &json)?),
            "time" => time = Some(SimTime::from_nanos(unsigned(&name, &json)?)),
            "type" => kind = Some(named(&json)?),
            "f" => f = Some(string(&name, json)?),
            "key" => fields.key = Some(string(&name, json)?.into()),
            "value" => fields.value = value(json),
            "result" => {
                let Json::Bool(yes) = json else {
                    return Err(("true or false as \"result\"".to_owned(), shown(&json)));
                };
                fields.result = Some(yes);
            }
            _ => {}
        }
    }
    let missing = |name: &str| (format!("a member {name:?}"), "none".to_owned());
    fields.f = f.ok_or_else(|| missing("f"))?.into();
    let process = process.ok_or_else(|| missing("process"))?;
    let kind = kind.ok_or_else(|| missing("type"))?;
    Ok(Some(Line { process, kind, fields, time }))
}

fn shown(json: &Json) -> String {
    match json {
        Json::Text(text) => quoted(text),
        Json::Bool(yes) => yes.to_string(),
        other => value(other.clone()).to_string(),
    }
}

fn unsigned(name: &str, json: &Json) -> Result<u64, Wrong> {
    let number = if let Json::Integer(n) = json { u64::try_from(*n).ok() } else { None };
    number.ok_or_else(|| (format!("an integer of 64 bits as {name:?}"), shown(json)))
}

fn string(name: &str, json: Json) -> Result<String, Wrong> {
    match json {
        Json::Text(text) => Ok(text),
        json => Err((format!("a string as {name:?}"), shown(&json))),
    }
}

fn named(json: &Json) -> Result<Kind, Wrong> {
    let kind = if let Json::Text(text) = json { Kind::named(text) } else { None };
    let expected = "\"invoke\", \"ok\", \"fail\" or \"info\" as \"type\"";
    kind.ok_or_else(|| (expected.to_owned(), shown(json)))
}

fn value(json: Json) -> Value {
    let list = |of: &[Json]| {
        let integer = |json: &Json| if let Json::Integer(n) = json { Some(*n) } else { None };
        of.iter().map(integer).collect::<Option<Vec<i128>>>()
    };
    match json {
        Json::Null => Value::Null,
        Json::Integer(n) => Value::Integer(n),
        Json::Number(text) => Value::Other(text.into()),
        Json::Text(text) => Value::Other(quoted(&text).into()),
        Json::Bool(yes) => Value::Other(yes.to_string().into()),
        Json::List(of) => {
            list(&of).map_or_else(|| Value::Other("a list of other things".into()), Value::List)
        }
    }
}
