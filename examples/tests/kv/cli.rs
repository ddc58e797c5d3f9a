//! Arguments: what is wrong is said in one line that names the argument.

use crate::process::kv;

#[track_caller]
fn refused(args: &[&str], expected: &str) {
    let out = kv(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(text.contains(expected), "{expected:?} is not in {text:?}");
}

const PEERS: [&str; 4] = ["--peer", "1=127.0.0.1:7001", "--peer", "2=127.0.0.1:7002"];

#[test]
fn bad_arguments_are_named() {
    let node = ["node", "--dir", "unused", "--id"];
    let with = |more: &[&'static str]| [&node[..], more].concat();
    refused(&[&with(&["3"])[..], &PEERS].concat(), "--id 3: no --peer 3=");
    let twice = [&with(&["1"])[..], &PEERS, &["--peer", "1=127.0.0.1:7003"]].concat();
    refused(&twice, "--peer 1=127.0.0.1:7003: node 1 is given twice");
    refused(&with(&["1", "--peer", "1"]), "--peer 1: expected ID=HOST:PORT");
    refused(&with(&["1", "--peer", "0=127.0.0.1:1"]), "--peer 0=127.0.0.1:1: ");
    refused(&with(&["1", "--peer", "1=nowhere"]), "--peer 1=nowhere: ");
    refused(&with(&["0", "--peer", "1=127.0.0.1:1"]), "--id");
    refused(&["local", "--cluster", "zz"], "--cluster");
    refused(&["local", "--election-timeout", "1"], "--election-timeout");
    refused(&["nonsense"], "nonsense");
}

#[test]
fn help_names_every_mode_and_default() {
    let out = kv(&["--help"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    for part in ["local", "node", "demo", "--dir", "kv-data", "6380"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
