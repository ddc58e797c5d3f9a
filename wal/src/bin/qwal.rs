//! `qwal`: looks into write-ahead logs, verifies and scrubs them, copies them, and records that
//! damage is accepted. Everything but `repair --accept` leaves the log as it is.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use quorate_wal::{Lsn, RecoveryReport, StreamId, Tail, WalReader};

#[path = "qwal/dump.rs"]
mod dump;
#[path = "qwal/json.rs"]
mod json;
#[path = "qwal/repair.rs"]
mod repair;
#[path = "qwal/verify.rs"]
mod verify;

const USAGE: &str = "\
usage: qwal stat DIR [--json]
       qwal dump DIR [--from LSN] [--stream SPACE/ID] [--hex] [--json]
       qwal verify DIR [--json]
       qwal scrub DIR [--json]
       qwal repair DIR [--accept] [--json]
       qwal checkpoint DIR TO [--json]
exit: 0 sound, 1 torn or unverifiable, 2 corrupt, 3 usage or I/O";

/// What a command found, as the exit code says it; a worse one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Sound = 0,
    Torn = 1,
    Corrupt = 2,
    Failed = 3,
}

impl State {
    fn of(report: &RecoveryReport) -> Self {
        if !report.damage.is_empty() {
            Self::Corrupt
        } else if report.tail == Tail::Clean {
            Self::Sound
        } else {
            Self::Torn
        }
    }
}

type Outcome = Result<State, Box<dyn Error>>;

/// The command line.
#[derive(Debug, Default)]
struct Args {
    words: Vec<OsString>,
    json: bool,
    hex: bool,
    accept: bool,
    from: Option<Lsn>,
    stream: Option<StreamId>,
}

impl Args {
    fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut args = args.peekable();
        while let Some(arg) = args.next() {
            let mut value = |name: &str| {
                let text = args.next().and_then(|v| v.into_string().ok());
                text.ok_or_else(|| format!("{name} needs a value"))
            };
            match arg.to_str() {
                Some("--json") => parsed.json = true,
                Some("--hex") => parsed.hex = true,
                Some("--accept") => parsed.accept = true,
                Some("--from") => parsed.from = Some(lsn(&value("--from")?)?),
                Some("--stream") => parsed.stream = Some(stream(&value("--stream")?)?),
                Some(flag) if flag.starts_with('-') => return Err(format!("unknown: {flag}")),
                _ => parsed.words.push(arg),
            }
        }
        Ok(parsed)
    }

    /// The command and its directories, if the options belong to it.
    fn command(&self) -> Result<(&str, PathBuf, Option<PathBuf>), String> {
        let name = self.words.first().and_then(|w| w.to_str()).unwrap_or("");
        let (dirs, dump, repair) = match name {
            "stat" | "verify" | "scrub" => (1, false, false),
            "dump" => (1, true, false),
            "repair" => (1, false, true),
            "checkpoint" => (2, false, false),
            _ => return Err("no such command".to_owned()),
        };
        let dump_only = self.hex || self.from.is_some() || self.stream.is_some();
        if self.words.len() != dirs + 1 || (dump_only && !dump) || (self.accept && !repair) {
            return Err(format!("wrong arguments for {name}"));
        }
        let dir = |i: usize| self.words.get(i).map(PathBuf::from);
        Ok((name, dir(1).unwrap_or_default(), dir(2)))
    }
}

fn lsn(text: &str) -> Result<Lsn, String> {
    text.parse().map(Lsn::new).map_err(|_| format!("not a number: {text}"))
}

fn stream(text: &str) -> Result<StreamId, String> {
    let parts = text.split_once('/');
    let parsed = parts.and_then(|(space, id)| Some((space.parse().ok()?, id.parse().ok()?)));
    let found = parsed.map(|(space, id)| StreamId::new(space, id));
    found.ok_or_else(|| format!("not SPACE/ID: {text}"))
}

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = run(&mut out);
    let flushed = out.flush();
    let outcome = outcome.and_then(|state| flushed.map(|()| state).map_err(Into::into));
    let state = outcome.unwrap_or_else(|error| {
        // There is nowhere to say that standard error is gone.
        drop(writeln!(io::stderr(), "qwal: {error}"));
        State::Failed
    });
    ExitCode::from(state as u8)
}

fn run(out: &mut dyn Write) -> Outcome {
    let args = Args::parse(std::env::args_os().skip(1));
    let parsed = args.and_then(|args| {
        let (command, dir, to) = args.command()?;
        Ok((command.to_owned(), dir, to, args))
    });
    let (command, dir, to, args) = parsed.map_err(|why| format!("{why}\n{USAGE}"))?;
    match (command.as_str(), to) {
        ("repair", _) => repair::repair(out, &dir, args.json, args.accept),
        ("checkpoint", Some(to)) => repair::checkpoint(out, &dir, &to, args.json),
        (name, _) => {
            let (reader, report) = WalReader::open(&dir)?;
            match name {
                "stat" => verify::stat(out, &reader, &report, args.json),
                "dump" => dump::dump(out, &reader, &report, &args),
                "scrub" => verify::scrub(out, &reader, &report, args.json),
                _ => verify::verify(out, &report, args.json),
            }
        }
    }
}
