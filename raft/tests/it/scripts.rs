//! Runs the reference scripts of another project's Raft: the quorum arithmetic byte for byte, whole
//! groups with every message, write and applied entry in order. Grammar and rules: the README
//! beside the scripts; where they are: `QUORATE_RAFT_SCRIPTS`.

mod confchange;
mod env;
mod parse;
mod print;
mod quorum;

use parse::Case;
use std::path::{Path, PathBuf};

#[test]
fn scripts() {
    let root = std::env::var_os("QUORATE_RAFT_SCRIPTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/raft-testdata"),
        PathBuf::from,
    );
    let (mut passed, mut total, mut failures) = (0, 0, Vec::new());
    for folder in ["quorum", "confchange", "interaction"] {
        for file in scripts_in(&root.join(folder)) {
            total += 1;
            let name = format!("{folder}/{}", file.file_name().unwrap().to_string_lossy());
            match run(folder, &file) {
                Ok(()) => passed += 1,
                Err(why) => {
                    println!("failed: {name}\n{why}");
                    failures.push(name);
                }
            }
        }
    }
    if total == 0 {
        println!("SKIPPED: no scripts under {}", root.display());
        return;
    }
    println!("scripts passed: {passed}/{total}");
    assert!(failures.is_empty(), "failed: {failures:?}");
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
        let actual = match folder {
            "quorum" => quorum::run(case),
            "confchange" => algebra.run(case),
            _ => env.run(case),
        };
        let (expected, actual) = (comparable(&case.expected), comparable(&actual));
        if expected != actual {
            return Err(difference(file, case, &expected, &actual));
        }
    }
    Ok(())
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
