//! Runs the reference scripts of another project's Raft: the quorum arithmetic byte for byte, whole
//! groups with every message, write and applied entry in order. Grammar and rules: the README
//! beside the scripts; where they are: `QUORATE_RAFT_SCRIPTS`.

mod env;
mod parse;
mod print;
mod quorum;

use parse::Case;
use std::path::{Path, PathBuf};

/// Verbs of cases that change the membership: this version starts groups and does not change them.
const NOT_YET: [&str; 1] = ["propose-conf-change"];

enum Verdict {
    Passed,
    Failed(String),
    NotYet(&'static str),
}

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
                Verdict::Passed => passed += 1,
                Verdict::NotYet(why) => println!("not yet supported: {name} ({why})"),
                Verdict::Failed(why) => {
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

fn run(folder: &str, file: &Path) -> Verdict {
    let cases = parse::cases(&std::fs::read_to_string(file).unwrap());
    if folder == "confchange" {
        return Verdict::NotYet("membership changes");
    }
    if cases.iter().any(|case| NOT_YET.contains(&case.verb.as_str())) {
        return Verdict::NotYet("proposes a membership change");
    }
    let mut env = env::Env::default();
    for case in &cases {
        let actual = match folder {
            "quorum" => quorum::run(case),
            _ => env.run(case),
        };
        let (expected, actual) = (comparable(&case.expected), comparable(&actual));
        if expected != actual {
            return Verdict::Failed(difference(file, case, &expected, &actual));
        }
    }
    Verdict::Passed
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
