//! Rules about source files.

use super::crates::{CRATES, all_rust_files, assert_none, root, rust_files};

const FILE_LINES_MAX: usize = 600;
const LIB_LINES_MAX: usize = 150;
const EXAMPLE_LINES_MAX: usize = 80;
const COLUMNS_MAX: usize = 100;

/// Lines before the unit tests of a file.
fn non_test_lines(text: &str) -> usize {
    text.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]")).count()
}

#[test]
fn files_are_small_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for name in CRATES.iter().map(|name| format!("{name}/src")).chain(["examples/kv".to_owned()]) {
        for file in rust_files(&name) {
            let lines = non_test_lines(&file.text);
            if lines > FILE_LINES_MAX {
                wrong.push(format!("{}: {lines} lines, limit {FILE_LINES_MAX}", file.name));
            }
        }
    }
    for file in all_rust_files() {
        if !file.text.starts_with("//!") {
            wrong.push(format!("{}: no //! at the top", file.name));
        }
        let name = file.name.rsplit('/').next().unwrap_or_default();
        if ["mod.rs", "util.rs", "utils.rs", "common.rs", "helpers.rs"].contains(&name) {
            wrong.push(format!("{}: files are named after what they hold", file.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn libs_hold_documentation_and_reexports_only() {
    let mut wrong = Vec::new();
    for name in CRATES {
        let file = std::fs::read_to_string(root().join(name).join("src/lib.rs")).unwrap();
        let code = file.lines().filter(|l| !l.trim().is_empty() && !l.trim().starts_with("//"));
        let count = code.clone().count();
        if count > LIB_LINES_MAX {
            wrong.push(format!("{name}/src/lib.rs: {count} code lines, limit {LIB_LINES_MAX}"));
        }
        wrong.extend(
            code.filter(|l| {
                l.starts_with("fn ") || l.starts_with("pub fn ") || l.starts_with("impl")
            })
            .map(|line| format!("{name}/src/lib.rs: logic: {line}")),
        );
    }
    assert_none(&wrong);
}

#[test]
fn lines_fit() {
    let mut wrong = Vec::new();
    for file in all_rust_files() {
        for (number, line) in (1..).zip(file.text.lines()) {
            let columns = line.chars().count();
            // A table cannot be wrapped.
            let table = line.trim_start_matches(['/', '!', ' ']).starts_with('|');
            if columns > COLUMNS_MAX && !table {
                wrong.push(format!("{}:{number}: {columns} columns", file.name));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_is_left_undone_or_ignored() {
    // Spelled in two parts, so that this file does not find itself.
    let banned = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["to", "do!("],
        ["unimpl", "emented!("],
        ["```ig", "nore"],
        ["#[ig", "nore"],
        ["thread::sl", "eep("],
    ];
    let mut wrong = Vec::new();
    for file in all_rust_files() {
        for (number, line) in (1..).zip(file.text.lines()) {
            for parts in &banned {
                let word = parts.concat();
                // A demo paces itself for who watches, a benchmark pauses between runs.
                let paced =
                    file.name.starts_with("examples/kv/demo") || file.name.contains("/benches/");
                if line.contains(&word) && !(paced && word.contains("sleep")) {
                    wrong.push(format!("{}:{number}: {word}", file.name));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn errors_say_what_happened_to_state() {
    let mut wrong = Vec::new();
    for name in CRATES {
        for file in rust_files(&format!("{name}/src")) {
            let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
            for (at, line) in lines.iter().enumerate() {
                let message =
                    line.starts_with("#[error(") && !line.starts_with("#[error(transparent");
                if message && is_variant(&lines, at) && !documented_effect(&lines, at) {
                    wrong.push(format!(
                        "{}:{}: no `Effect:` in the documentation",
                        file.name,
                        at + 1
                    ));
                }
            }
        }
    }
    assert_none(&wrong);
}

/// The attribute belongs to a variant, not to a struct.
fn is_variant(lines: &[&str], at: usize) -> bool {
    let item = lines[at + 1..]
        .iter()
        .find(|line| line.chars().next().is_some_and(|first| first.is_ascii_alphabetic()));
    item.is_some_and(|line| !line.starts_with("pub ") && !line.starts_with("struct "))
}

fn documented_effect(lines: &[&str], at: usize) -> bool {
    let above = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("///") || line.starts_with("#["));
    above.filter_map(|line| line.strip_prefix("/// ")).any(|text| text.starts_with("Effect:"))
}

#[test]
fn tokio_is_named_behind_its_one_door_only() {
    let mut wrong = Vec::new();
    for name in CRATES {
        for file in rust_files(&format!("{name}/src")) {
            let door = [
                "transport/src/tcp",
                "transport/src/udp",
                "transport/src/tokio_runtime",
                "clocks/src/commit_wait", // the one function of the ground floor that waits
            ];
            if door.iter().any(|allowed| file.name.starts_with(allowed)) {
                continue;
            }
            for (number, line) in (1..).zip(file.text.lines()) {
                let code = !line.trim_start().starts_with("//");
                let named = ["tokio::time", "tokio::spawn", "tokio::net", "tokio::task"];
                if code && named.iter().any(|path| line.contains(path)) {
                    wrong.push(format!("{}:{number}: {}", file.name, line.trim()));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn examples_of_crates_are_short() {
    let mut wrong = Vec::new();
    for name in CRATES {
        for file in rust_files(&format!("{name}/examples")) {
            let lines = file.text.lines().count();
            if lines > EXAMPLE_LINES_MAX {
                wrong.push(format!("{}: {lines} lines, limit {EXAMPLE_LINES_MAX}", file.name));
            }
        }
    }
    assert_none(&wrong);
}
