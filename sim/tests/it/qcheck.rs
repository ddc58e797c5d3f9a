//! The built `qcheck`: output and exit codes.

use std::path::Path;
use std::process::{Command, Output};

use crate::recorded::folder;

fn qcheck(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qcheck")).args(args).output().unwrap()
}

/// Exit code, standard output without what took how long, standard error.
fn told(output: &Output) -> (i32, Vec<String>, String) {
    let out = String::from_utf8(output.stdout.clone()).unwrap();
    let timeless = |line: &str| match line.split_once(" elapsed_ms=") {
        Some((rest, time)) => {
            let _: u64 = time.parse().unwrap();
            rest.to_owned()
        }
        None => line.to_owned(),
    };
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    (output.status.code().unwrap(), out.lines().map(timeless).collect(), error)
}

/// A file of lines about a set.
fn file(dir: &Path, name: &str, lines: &[&str]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, lines.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

const ADD: &str = r#"{"process":0,"type":"invoke","f":"add","value":1}"#;
const READ: &str = r#"{"process":1,"type":"invoke","f":"read"}"#;
const SEEN: &str = r#"{"process":1,"type":"ok","f":"read","value":[1]}"#;

#[test]
fn the_exit_code_says_the_worst() {
    let home = tempfile::tempdir().unwrap();
    let good = file(home.path(), "good", &[ADD, READ, SEEN]);
    let illegal = file(home.path(), "illegal", &[READ, SEEN]);
    let bad = file(home.path(), "bad", &[ADD, "nonsense"]);
    let empty = file(home.path(), "empty", &[]);
    let run = |steps: &str, files: &[&String]| {
        let set = ["--model", "set", "--format", "jsonl", "--steps", steps];
        let files = files.iter().map(|file| file.as_str());
        told(&qcheck(&set.into_iter().chain(files).collect::<Vec<_>>()))
    };
    let line = |name: &str, verdict: &str| format!("{name} {verdict}");
    let (code, out, error) = run("100", &[&good]);
    assert_eq!((code, &*error), (0, ""));
    assert_eq!(out, [line(&good, "linearizable operations=2 steps=4")]);
    let (code, out, _) = run("100", &[&good, &illegal]);
    assert_eq!((code, out.len()), (1, 2));
    assert!(out[1].starts_with(&line(&illegal, "not-linearizable operations=1 steps=")));
    let (code, out, _) = run("0", &[&good]);
    assert_eq!((code, out), (3, vec![line(&good, "undecided operations=2 steps=0")]));
    // One step shows that the read is impossible, and is not enough for the other file.
    let (code, out, _) = run("1", &[&good, &illegal]);
    assert!((code, out.len()) == (1, 2) && out[0].contains("undecided"), "{out:?}");
    let (code, out, error) = run("100", &[&bad, &illegal, &good]);
    assert_eq!((code, out.len()), (2, 2), "the others are judged all the same");
    assert_eq!(error, format!("{bad}:2: expected '{{', found \"nonsense\" at byte 0\n"));
    let (code, _, error) = run("100", &[&empty]);
    assert_eq!((code, error), (2, format!("{empty}: the file holds no operation\n")));
    let (code, _, error) = run("100", &[&format!("{empty}.not")]);
    assert!(code == 2 && error.starts_with(&format!("{empty}.not: ")), "{error}");
}

#[test]
fn why_tells_the_counterexample() {
    let home = tempfile::tempdir().unwrap();
    let illegal = file(home.path(), "illegal", &[READ, SEEN]);
    let args = ["--why", "--model", "set", "--format", "jsonl", &illegal];
    let (_, out, _) = told(&qcheck(&args));
    assert_eq!(out.last().unwrap(), "    #0 process 1: Read -> Elements({1}), events 1 to 2");
}

#[test]
fn every_model_judges() {
    let home = tempfile::tempdir().unwrap();
    for (model, asked, answer) in [
        ("cas-register", "\"f\":\"read\"", "\"value\":null"),
        ("kv", "\"f\":\"read\",\"key\":\"x\"", "\"value\":null"),
        ("counter", "\"f\":\"read\"", "\"value\":0"),
        ("lock", "\"f\":\"acquire\"", "\"value\":7"),
        ("queue", "\"f\":\"dequeue\"", "\"value\":null"),
        ("set", "\"f\":\"read\"", "\"value\":[]"),
    ] {
        let invoke = format!("{{\"process\":0,\"type\":\"invoke\",{asked}}}");
        let ok = format!("{{\"process\":0,\"type\":\"ok\",{asked},{answer}}}");
        let file = file(home.path(), model, &[&invoke, &ok]);
        let (code, out, error) = told(&qcheck(&["--model", model, "--format", "jsonl", &file]));
        assert_eq!((code, out.len(), &*error), (0, 1, ""), "{model}");
    }
}

#[test]
fn wrong_arguments_are_bad_input() {
    for (args, wrong) in [
        (&["--model", "set", "--format", "jsonl"][..], "no file"),
        (&["--format", "jsonl", "f"], "--model is missing"),
        (&["--model", "set", "f"], "--format is missing"),
        (&["--model", "tree"], "unknown model: tree"),
        (&["--format", "edn"], "unknown format: edn"),
        (&["--steps", "many"], "not a number: many"),
        (&["--steps"], "--steps needs a value"),
        (&["--fast"], "unknown: --fast"),
    ] {
        let (code, out, error) = told(&qcheck(args));
        assert!(code == 2 && out.is_empty() && error.contains(wrong), "{args:?}: {error}");
    }
    let (code, out, _) = told(&qcheck(&["--help"]));
    assert!(code == 0 && out[0].starts_with("usage: qcheck"));
}

#[test]
fn recorded_histories_are_judged_as_their_list_says() {
    let Some(folder) = folder() else { return };
    let names = std::fs::read_to_string(folder.join("VERDICTS")).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let files: Vec<String> = names.lines().map(|l| path(l.split(' ').next().unwrap())).collect();
    let judge = |files: &[String]| {
        let options = ["--model", "cas-register", "--format", "jepsen-log"];
        told(&qcheck(
            &options.into_iter().chain(files.iter().map(String::as_str)).collect::<Vec<_>>(),
        ))
    };
    let (code, out, _) = judge(&files);
    assert_eq!((code, out.len()), (1, files.len()));
    for (line, verdict) in out.iter().zip(names.lines()) {
        let word = if verdict.ends_with("true") { "linearizable" } else { "not-linearizable" };
        assert_eq!(line.split(' ').nth(1), Some(word), "{line}");
    }
    assert_eq!(judge(&[path("etcd_002.log")]).0, 0);
    let (code, out, error) = judge(&[path("README.md")]);
    assert!(code == 2 && out.is_empty() && error.ends_with("the file holds no operation\n"));
}
