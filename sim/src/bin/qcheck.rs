//! `qcheck`: judges histories in files. Each is read, searched for an order, and named with its
//! verdict; the exit code says the worst.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use quorate_sim::specs::{CasRegister, Counter, FencedLock, Kv, Queue, Set};
use quorate_sim::{Form, History, STEPS_MAX, Spec, Verdict, linearizable_steps};

const USAGE: &str = "\
usage: qcheck --model cas-register|kv|counter|lock|queue|set --format jsonl|jepsen-log
              [--steps N] [--why] FILE...
exit: 0 all linearizable, 1 some not, 2 bad input, 3 some undecided";

/// What was found, as the exit code says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    illegal: bool,
    bad: bool,
    undecided: bool,
}

impl Found {
    /// Bad input is told first, since nothing is known of it; then what is certainly wrong.
    const fn code(self) -> u8 {
        match self {
            Self { bad: true, .. } => 2,
            Self { illegal: true, .. } => 1,
            Self { undecided: true, .. } => 3,
            _ => 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Jsonl,
    JepsenLog,
}

/// The command line.
struct Args {
    judge: Judge,
    format: Format,
    steps: u64,
    why: bool,
    files: Vec<PathBuf>,
}

/// Judges one file against one model, and prints its line.
type Judge = fn(&PathBuf, &Args, &mut dyn Write) -> Result<Verdict, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|arg| arg == "--help" || arg == "-h") {
        let _ = writeln!(io::stdout(), "{USAGE}");
        return ExitCode::SUCCESS;
    }
    let args = match Args::parse(arguments.into_iter()) {
        Ok(args) => args,
        Err(wrong) => {
            let _ = writeln!(io::stderr(), "qcheck: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = Found::default();
    for file in &args.files {
        match (args.judge)(file, &args, &mut out) {
            Ok(Verdict::Linearizable { .. }) => {}
            Ok(Verdict::Illegal(_)) => found.illegal = true,
            Ok(Verdict::Undecided { .. }) => found.undecided = true,
            Err(wrong) => {
                found.bad = true;
                // In the order of the files, also where both go to one terminal.
                let _ = out.flush();
                let _ = writeln!(io::stderr(), "{wrong}");
            }
        }
    }
    if out.flush().is_err() {
        return ExitCode::from(2); // nobody reads: nothing was judged for anybody
    }
    ExitCode::from(found.code())
}

impl Args {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let (mut judge, mut format, mut steps) = (None, None, STEPS_MAX);
        let (mut why, mut files) = (false, Vec::new());
        let mut only_files = false;
        while let Some(argument) = arguments.next() {
            let mut value = |name: &str| {
                let text = arguments.next().and_then(|value| value.into_string().ok());
                text.ok_or_else(|| format!("{name} needs a value"))
            };
            match argument.to_str().filter(|_| !only_files) {
                Some("--") => only_files = true,
                Some("--model") => judge = Some(model(&value("--model")?)?),
                Some("--format") => format = Some(self::format(&value("--format")?)?),
                Some("--steps") => {
                    let text = value("--steps")?;
                    steps = text.parse().map_err(|_| format!("not a number: {text}"))?;
                }
                Some("--why") => why = true,
                Some(flag) if flag.starts_with('-') => return Err(format!("unknown: {flag}")),
                _ => files.push(PathBuf::from(argument)),
            }
        }
        let judge = judge.ok_or("--model is missing")?;
        let format = format.ok_or("--format is missing")?;
        if files.is_empty() {
            return Err("no file".to_owned());
        }
        Ok(Self { judge, format, steps, why, files })
    }
}

fn model(name: &str) -> Result<Judge, String> {
    Ok(match name {
        "cas-register" => judge::<CasRegister>,
        "kv" => judge::<Kv>,
        "counter" => judge::<Counter>,
        "lock" => judge::<FencedLock>,
        "queue" => judge::<Queue>,
        "set" => judge::<Set>,
        _ => return Err(format!("unknown model: {name}")),
    })
}

fn format(name: &str) -> Result<Format, String> {
    match name {
        "jsonl" => Ok(Format::Jsonl),
        "jepsen-log" => Ok(Format::JepsenLog),
        _ => Err(format!("unknown format: {name}")),
    }
}

fn judge<S>(file: &PathBuf, args: &Args, out: &mut dyn Write) -> Result<Verdict, Box<dyn Error>>
where
    S: Spec + Default,
    S::Op: Form<Ret = S::Ret>,
{
    let name = file.display();
    let opened = File::open(file).map_err(|error| format!("{name}: {error}"))?;
    let input = BufReader::new(opened);
    let history = match args.format {
        Format::Jsonl => History::<S::Op, S::Ret>::read_jsonl(input),
        Format::JepsenLog => History::read_jepsen_log(input),
    };
    let history = history.map_err(|wrong| {
        let (line, text) = (wrong.line(), wrong.to_string());
        let said = format!("line {line}: ");
        format!("{name}:{line}: {}", text.strip_prefix(&said).unwrap_or(&text))
    })?;
    if history.is_empty() {
        return Err(format!("{name}: the file holds no operation").into());
    }
    #[expect(clippy::disallowed_methods, reason = "printed only: steps bound the work, H30")]
    let begun = std::time::Instant::now();
    let (verdict, steps) = linearizable_steps(&S::default(), &history, args.steps);
    let elapsed = begun.elapsed().as_millis();
    let word = match verdict {
        Verdict::Linearizable { .. } => "linearizable",
        Verdict::Illegal(_) => "not-linearizable",
        Verdict::Undecided { .. } => "undecided",
    };
    let operations = history.len();
    writeln!(out, "{name} {word} operations={operations} steps={steps} elapsed_ms={elapsed}")?;
    if args.why && !verdict.is_linearizable() {
        for line in verdict.to_string().lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(verdict)
}
