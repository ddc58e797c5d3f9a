//! Plan files: everything that a failed run depends on besides the code.

use crate::campaign::Setting;
use crate::{Plan, PlanError};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FIRST_LINE: &str = "quorate-sim plan 1";
/// Longer files are none of ours.
const BYTES_MAX: u64 = 64 << 20;

/// A failed run, as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlanFile {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) checker: String,
    pub(crate) hash: u64,
    setting: Setting,
    plan: Plan,
}

impl PlanFile {
    pub(crate) const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    pub(crate) fn of(name: &str, setting: &Setting, attempt: &crate::campaign::Attempt) -> Self {
        let checker = attempt.violation.as_ref().map(|violation| violation.checker.clone());
        Self {
            name: name.to_owned(),
            version: Self::VERSION.to_owned(),
            checker: checker.unwrap_or_default(),
            hash: attempt.hash,
            setting: setting.clone(),
            plan: attempt.plan.clone(),
        }
    }

    /// What to run.
    pub(crate) fn setting(&self) -> Setting {
        Setting { plan: Some(self.plan.clone()), ..self.setting.clone() }
    }

    pub(crate) fn to_text(&self) -> String {
        let Setting { seed, chaos, heal, clients_max, operations_max, .. } = &self.setting;
        let Self { name, version, checker, hash, .. } = self;
        let mut out = format!("{FIRST_LINE}\nname={name}\nversion={version}\nchecker={checker}\n");
        // A string takes everything.
        let _ = writeln!(out, "seed={seed}\nhash={hash:#018x}");
        let _ = writeln!(out, "chaos_ns={}\nheal_ns={}", chaos.as_nanos(), heal.as_nanos());
        let _ = writeln!(out, "clients_max={clients_max}\noperations_max={operations_max}");
        let _ = write!(out, "{}", self.plan);
        out
    }

    pub(crate) fn parse(text: &str) -> Result<Self, PlanError> {
        let mut lines = (1..).zip(text.lines());
        let first = lines.next().map_or("", |(_, line)| line);
        if first != FIRST_LINE {
            return Err(PlanError::new(1, &format!("{FIRST_LINE:?}"), first));
        }
        let mut file = Self {
            name: String::new(),
            version: String::new(),
            checker: String::new(),
            hash: 0,
            setting: Setting::new(0, Duration::ZERO, Duration::ZERO),
            plan: Plan::default(),
        };
        for (number, line) in lines {
            let is_step = line.starts_with(|c: char| c.is_ascii_digit());
            if line.trim().is_empty() {
                continue;
            }
            if is_step {
                file.plan.push_line(number, line)?;
            } else {
                file.set(number, line)?;
            }
        }
        if file.name.is_empty() {
            return Err(PlanError::new(text.lines().count(), "a line name=…", ""));
        }
        Ok(file)
    }

    fn set(&mut self, line: usize, text: &str) -> Result<(), PlanError> {
        let wrong = |expected: &str| PlanError::new(line, expected, text);
        let (key, value) = text.split_once('=').ok_or_else(|| wrong("key=value or a step"))?;
        let number = || value.parse::<u64>().map_err(|_| wrong("a number"));
        let nanos = || number().map(Duration::from_nanos);
        match key {
            "name" => self.name = value.to_owned(),
            "version" => self.version = value.to_owned(),
            "checker" => self.checker = value.to_owned(),
            "seed" => self.setting.seed = number()?,
            "hash" => {
                let hex = value.strip_prefix("0x").and_then(|h| u64::from_str_radix(h, 16).ok());
                self.hash = hex.ok_or_else(|| wrong("a hash such as 0x0123456789abcdef"))?;
            }
            "chaos_ns" => self.setting.chaos = nanos()?,
            "heal_ns" => self.setting.heal = nanos()?,
            "clients_max" => {
                self.setting.clients_max = usize::try_from(number()?).unwrap_or(usize::MAX);
            }
            "operations_max" => self.setting.operations_max = number()?,
            _ => return Err(wrong("a known key")),
        }
        Ok(())
    }

    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let named = |what: String| format!("{}: {what}", path.display());
        let bytes = std::fs::metadata(path).map_err(|error| named(error.to_string()))?.len();
        if bytes > BYTES_MAX {
            return Err(named(format!("expected at most {BYTES_MAX} bytes, found {bytes}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        Self::parse(&text).map_err(|error| named(error.to_string()))
    }

    /// Writes it where builds put what they make.
    pub(crate) fn write(&self) -> io::Result<PathBuf> {
        let folder = folder();
        std::fs::create_dir_all(&folder)?;
        let safe = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
        let name: String = self.name.chars().map(safe).collect();
        let path = folder.join(format!("{name}-{}.plan", self.setting.seed));
        // Whole or not at all: another process may be reading what an earlier run wrote there.
        let new = folder.join(format!(".{name}-{}-{}.new", self.setting.seed, std::process::id()));
        std::fs::write(&new, self.to_text())?;
        std::fs::rename(&new, &path)?;
        Ok(path)
    }
}

/// `target/quorate-sim`, beside the profile of the running test.
fn folder() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let within =
        |name: &str| exe.ancestors().find(|path| path.ends_with(name)).and_then(Path::parent);
    let profile = within("deps").or_else(|| within("examples")).or_else(|| exe.parent());
    let target = profile.and_then(Path::parent).map_or_else(std::env::temp_dir, Path::to_owned);
    target.join("quorate-sim")
}

/// The line that replays a plan file, as far as a running process can know it.
pub(crate) fn command(path: &Path) -> String {
    let exe = std::env::current_exe().unwrap_or_default();
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    command_of(path, &exe, &package, &flags, release)
}

fn command_of(path: &Path, exe: &Path, package: &str, flags: &[String], release: &str) -> String {
    let stem = exe.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    // Test binaries carry a hash behind their name.
    let name = stem.rsplit_once('-').map_or(&*stem, |(name, _)| name);
    let package = if package.is_empty() { String::new() } else { format!(" -p {package}") };
    let variable = format!("QUORATE_REPLAY={}", path.display());
    if exe.ancestors().any(|path| path.ends_with("examples")) {
        let flags =
            if flags.is_empty() { String::new() } else { format!(" -- {}", flags.join(" ")) };
        return format!("{variable} cargo run{release}{package} --example {stem}{flags}");
    }
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or("");
    format!("{variable} cargo test{release}{package} --test {name} {test}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> PlanFile {
        let mut setting = Setting::new(17, Duration::from_secs(30), Duration::from_millis(5));
        setting.clients_max = 2;
        PlanFile {
            name: "register".to_owned(),
            version: "0.1.0".to_owned(),
            checker: "linearizable".to_owned(),
            hash: 0x0123,
            setting,
            plan: "1.500s pause n2\n3.000s resume n2\n".parse().unwrap(),
        }
    }

    #[test]
    fn files_are_read_back() {
        let text = file().to_text();
        assert_eq!(PlanFile::parse(&text), Ok(file()), "{text}");
    }

    /// As the page about failures shows it, and with the flags of the run.
    #[test]
    fn examples_are_replayed_as_they_were_run() {
        let path = Path::new("target/quorate-sim/register-2.plan");
        let exe = Path::new("target/release/examples/register");
        let line = command_of(path, exe, "quorate-sim", &[], " --release");
        let page = include_str!("../docs/reading_a_failure.md");
        assert!(page.contains(&format!("\nreplay: {line}\n")), "{line}");
        let flags = ["--seed", "7"].map(str::to_owned);
        let with_flags = command_of(path, exe, "quorate-sim", &flags, " --release");
        assert_eq!(with_flags, format!("{line} -- --seed 7"));
        let test = command_of(path, "target/debug/deps/it-0f".as_ref(), "", &flags, "");
        let expected = "QUORATE_REPLAY=target/quorate-sim/register-2.plan cargo test --test it ";
        assert!(test.starts_with(expected), "{test}");
    }

    #[test]
    fn bad_files_name_their_line() {
        let text = file().to_text();
        for (from, to, line, expected) in [
            ("quorate-sim plan 1", "quorate-sim plan 2", 1, "\"quorate-sim plan 1\""),
            ("name=register\n", "", 11, "a line name=…"),
            ("checker=", "chequer=", 4, "a known key"),
            ("seed=17", "seed=x", 5, "a number"),
            ("hash=0x", "hash=", 6, "a hash such as 0x0123456789abcdef"),
            ("pause n2", "pause x2", 11, "a node such as n2"),
            ("3.000s", "0.100s", 12, "a time no earlier than the one before"),
            ("resume n2", "resume n2 n3", 12, "the end of the line"),
        ] {
            let error = PlanFile::parse(&text.replacen(from, to, 1)).unwrap_err();
            assert_eq!((error.line, &*error.expected), (line, expected), "{error}");
        }
    }
}
