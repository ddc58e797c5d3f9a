//! Runs the reference scripts of another project's Raft: the quorum arithmetic byte for byte, whole
//! groups with every message, write and applied entry in order. Grammar and rules: the README
//! beside the scripts; where they are: `QUORATE_RAFT_SCRIPTS`.

mod confchange;
mod env;
mod node;
mod parse;
mod print;
mod quorum;
mod work;

use parse::Case;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The given scripts, and then this project's own (`tests/scripts`): paths that those do not take.
#[test]
fn scripts() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let given = std::env::var_os("QUORATE_RAFT_SCRIPTS").map(PathBuf::from);
    let given = given.unwrap_or_else(|| PathBuf::from("../shared/raft-testdata"));
    // Tests run in the folder of the package; a relative path is seen from the repository.
    let given = package.join("..").join(given);
    let theirs = run_all(&given);
    let ours = run_all(&package.join("tests/scripts"));
    for why in theirs.failed.iter().chain(&ours.failed) {
        println!("failed: {why}");
    }
    println!("own scripts passed: {}/{}", ours.passed, ours.total);
    assert!(ours.total > 0, "the own scripts are gone");
    if theirs.total == 0 {
        println!("SKIPPED: no scripts under {}", given.display());
    } else {
        println!("scripts passed: {}/{}", theirs.passed, theirs.total);
    }
    let all = ours.passed == ours.total && theirs.passed == theirs.total;
    assert!(all, "scripts failed, see above");
}

#[derive(Default)]
struct Tally {
    passed: usize,
    total: usize,
    failed: Vec<String>,
}

fn run_all(root: &Path) -> Tally {
    let mut tally = Tally::default();
    for folder in ["quorum", "confchange", "interaction"] {
        for file in scripts_in(&root.join(folder)) {
            tally.total += 1;
            match run(folder, &file) {
                Ok(()) => tally.passed += 1,
                Err(why) => tally.failed.push(why),
            }
        }
    }
    tally
}

fn scripts_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    files.sort();
    files
}

/// Runs a script; the first difference ends it.
fn run(folder: &str, file: &Path) -> Result<(), String> {
    let cases = parse::cases(&std::fs::read_to_string(file).unwrap());
    let mut env = env::Env::default();
    let mut algebra = confchange::State::default();
    for case in &cases {
        // A verb that is not known, or a replica that breaks, must not end the other scripts.
        let ran = catch_unwind(AssertUnwindSafe(|| match folder {
            "quorum" => quorum::run(case),
            "confchange" => algebra.run(case),
            _ => env.run(case),
        }));
        let actual = ran.unwrap_or_else(|panic| said(&*panic));
        let (expected, actual) = (comparable(&case.expected), comparable(&actual));
        if expected != actual {
            return Err(difference(file, case, &expected, &actual));
        }
    }
    Ok(())
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("?"))
}

/// Without the reference's log lines, trailing blanks, and the `ok` that stands for no output.
fn comparable(text: &str) -> String {
    let is_log = |line: &str| {
        let line = line.trim_start();
        ["DEBUG ", "INFO ", "WARN ", "ERROR ", "FATAL "].iter().any(|level| line.starts_with(level))
    };
    let kept: Vec<&str> = text.lines().filter(|l| !is_log(l)).map(str::trim_end).collect();
    let text = kept.join("\n").trim_end().to_owned();
    if text == "ok" { String::new() } else { text }
}

fn difference(file: &Path, case: &Case, expected: &str, actual: &str) -> String {
    let line = case.line;
    format!("{}:{line}: {}\nexpected:\n{expected}\nactual:\n{actual}\n", file.display(), case.verb)
}
