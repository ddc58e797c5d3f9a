//! Each example runs, and shows what it says. That of the disk is in `disk::example`.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

#[path = "../../examples/async_node.rs"]
mod async_node;
#[path = "../../examples/composed/main.rs"]
mod composed;
#[path = "../../examples/lease.rs"]
#[expect(dead_code, reason = "a program of its own; the test calls what it calls")]
mod lease;
#[path = "../../examples/register.rs"]
#[expect(dead_code, reason = "a program of its own; the test calls what it calls")]
mod register;

#[test]
fn the_lease_needs_its_margin_and_its_fence() {
    let text = lease::run();
    print!("{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("margin false, fence true: exclusive lease at "), "{text}");
    assert!(lines[1].starts_with("margin true, fence false: monotone written at "), "{text}");
    let refused = lines[2].strip_prefix("margin true, fence true: well, ").unwrap();
    assert!(!refused.starts_with("0 "), "{text}");
}

const EXAMPLE: &str = "SIM_TEST_EXAMPLE";

/// Runs an example with these words in a process of its own, as its `main` does; whether it
/// passed, and what it printed.
fn run(words: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["examples::one_example", "--exact", "--nocapture"]).env(EXAMPLE, words);
    for name in ["SEEDS", "SEED", "JOBS", "REPLAY", "TRACE"] {
        command.env_remove(format!("QUORATE_{name}"));
    }
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, said) = text.split_once("\n@ begin\n").unwrap_or_else(|| panic!("{output:?}"));
    let (said, ended) = said.split_once("\n@ end ").unwrap_or_else(|| panic!("{output:?}"));
    (ended.starts_with("well"), said.trim_end().to_owned())
}

/// The part of the other process.
#[test]
fn one_example() {
    let Ok(words) = std::env::var(EXAMPLE) else { return };
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    println!("\n@ begin");
    let ended = match &*words[0] {
        "register" => register::run(&words),
        "composed" => composed::main(),
        "async_node" => async_node::main(),
        other => panic!("no example {other}"),
    };
    println!("\n@ end {}", if ended == ExitCode::SUCCESS { "well" } else { "badly" });
}

/// The line that begins so, without its beginning.
fn line<'a>(text: &'a str, beginning: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(beginning));
    found.unwrap_or_else(|| panic!("no line {beginning}: {text}"))
}

/// How often each class had an effect, of the table that a campaign prints.
fn effects(text: &str) -> BTreeMap<&str, u64> {
    let rows = text.lines().skip_while(|line| !line.starts_with("class ")).skip(1);
    let cells = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
    let rows = cells.take_while(|cells| cells.len() == 4);
    rows.map(|cells| (cells[0], cells[2].parse().unwrap())).collect()
}

/// It passes, and every class of faults that it has changed something.
fn passes(words: &str, seeds: &str, classes: &[&str]) {
    let (well, text) = run(words, &[("QUORATE_SEEDS", seeds)]);
    print!("{text}");
    assert!(well && text.ends_with("passed"), "{text}");
    assert!(text.contains(&format!(": {seeds} seeds, ")), "{text}");
    let effects = effects(&text);
    assert!(classes.iter().all(|class| effects.contains_key(class)), "{effects:?}");
    assert!(effects.values().all(|times| *times > 0), "{effects:?}");
}

#[test]
fn the_register_fails_and_its_failure_is_small_and_comes_back() {
    let (well, text) = run("register", &[]);
    assert!(!well, "{text}");
    assert!(line(&text, "  linearizable at ").contains(": not linearizable: "), "{text}");
    let (steps, _) = line(&text, "the plan, ").split_once(" of ").unwrap();
    assert!(steps.parse::<u32>().unwrap() <= 6, "{steps} steps");
    let file = line(&text, "replay: QUORATE_REPLAY=").split(' ').next().unwrap();
    let (well, again) = run("register", &[("QUORATE_REPLAY", file)]);
    assert!(!well, "{again}");
    let said = ["hash ", "  linearizable at ", "campaign register failed with "];
    assert_eq!(said.map(|what| line(&again, what)), said.map(|what| line(&text, what)));
    // With the mistake mended the same plan finds nothing.
    let (well, mended) = run("register --fixed", &[("QUORATE_REPLAY", file)]);
    assert!(!well && mended.contains("does not reproduce") && mended.contains("it passes"));
}

#[test]
fn the_fixed_register_passes() {
    passes("register --fixed", "10", &["partition", "pause", "delay", "clog", "break"]);
}

#[test]
fn the_history_of_the_register_has_the_verdict_that_was_printed() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("h.jsonl");
    let file = file.to_str().unwrap();
    for (flag, well, verdict) in
        [("", false, "not-linearizable"), (" --fixed", true, "linearizable")]
    {
        let (passed, text) = run(&format!("register --seed 7 --history {file}{flag}"), &[]);
        assert_eq!((passed, text.contains(": not linearizable: ")), (well, !well), "{text}");
        let mut qcheck = Command::new(env!("CARGO_BIN_EXE_qcheck"));
        let judged = qcheck.args(["--model", "cas-register", "--format", "jsonl", file]);
        let judged = String::from_utf8(judged.output().unwrap().stdout).unwrap();
        assert!(judged.starts_with(&format!("{file} {verdict} operations=")), "{judged}");
    }
}

#[test]
fn the_composed_node_loses_nothing() {
    passes("composed", "50", &["crash", "crash-mid", "disk-sync-error", "partition", "clock-step"]);
}

#[test]
fn the_async_node_answers_under_faults() {
    passes("async_node", "10", &["crash", "partition", "break", "pause", "delay"]);
}

/// The page about failures quotes the register: every line of it, in the order of the program. The
/// replay line is shown as the example prints it; a unit test holds its words.
#[test]
fn the_page_about_failures_quotes_what_is_printed() {
    let page = include_str!("../../docs/reading_a_failure.md");
    let (_, quoted) = page.split_once("```text\n").unwrap();
    let (quoted, _) = quoted.split_once("\n```").unwrap();
    let (_, text) = run("register", &[]);
    let mut printed = text.lines();
    let mut lines = 0;
    for wanted in quoted.lines().filter(|wanted| wanted.trim() != "…") {
        let file = |line: &str| {
            let path = line.strip_prefix("replay: QUORATE_REPLAY=")?.split(' ').next()?;
            let from = path.rfind("quorate-sim/")?;
            Some(path[from..].to_owned())
        };
        let is_it = |line: &str| match file(wanted) {
            Some(path) => file(line) == Some(path),
            None => line == wanted,
        };
        assert!(printed.any(is_it), "not printed, or not in this order: {wanted}\n{text}");
        lines += 1;
    }
    assert!(lines > 15, "{lines} lines");
}
