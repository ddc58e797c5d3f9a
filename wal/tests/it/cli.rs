//! The built `qwal`: output and exit codes of every command.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use quorate_wal::vfs::{MemVfs, Vfs};
use quorate_wal::{Batch, Lsn, Slot, WalReader};
use tempfile::TempDir;

use crate::rig::{dir, group, open, segments};

/// Exit code and standard output.
fn qwal(args: &[&str]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_qwal")).args(args).output().unwrap();
    let out = String::from_utf8(done.stdout).unwrap();
    let code = done.status.code().unwrap();
    assert_eq!(done.stderr.is_empty(), code != 3, "{args:?}: {:?}", done.stderr);
    (code, out)
}

/// A log on the real file system, as a disk in memory left it.
fn export(disk: &MemVfs) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for item in disk.list(dir()).unwrap() {
        let bytes = disk.contents(&dir().join(&item.name)).unwrap();
        std::fs::write(home.path().join(&item.name), bytes).unwrap();
    }
    home
}

fn written() -> MemVfs {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for n in 1..=90_u64 {
        let mut batch = Batch::new();
        batch.record(format!("record {n}").as_bytes()).extend(group(7), n, 1, 3, &[n as u8; 200]);
        wal.commit_blocking(batch.meta(group(7), Slot::new(2).unwrap(), b"\"vote\"\n")).unwrap();
    }
    assert!(wal.stats().rolls >= 2);
    wal.shutdown().wait().unwrap();
    disk
}

fn sound() -> TempDir {
    export(&written())
}

/// The last group is rotten, and nothing speaks for it.
fn torn() -> TempDir {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for _ in 0..5 {
        wal.append_blocking(b"a record that may be the last").unwrap();
    }
    let left = disk.kill();
    drop(wal);
    let path = &segments(&left)[0];
    let bytes = left.contents(path).unwrap();
    let needle = b"may be the last";
    let at = bytes.windows(needle.len()).rposition(|w| w == needle).unwrap();
    left.flip(path, at as u64 * 8).unwrap();
    export(&left)
}

/// One record in the middle is rotten: number 61.
fn corrupt() -> TempDir {
    let disk = written();
    let path = &segments(&disk)[0];
    let bytes = disk.contents(path).unwrap();
    let at = bytes.windows(9).position(|w| w == b"record 21").unwrap();
    disk.flip(path, at as u64 * 8).unwrap();
    export(&disk)
}

fn text(dir: &TempDir) -> &str {
    dir.path().to_str().unwrap()
}

fn bytes_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let items = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    items
        .map(|item| {
            let name = item.file_name().into_string().unwrap();
            (name, std::fs::read(item.path()).unwrap())
        })
        .collect()
}

#[test]
fn cli_exit_codes_say_what_was_found() {
    let logs = [(sound(), 0), (torn(), 1), (corrupt(), 2)];
    for (log, code) in &logs {
        let before = bytes_of(log.path());
        for command in ["stat", "verify", "scrub", "dump", "repair"] {
            for json in [false, true] {
                let mut args = vec![command, text(log)];
                args.extend(json.then_some("--json"));
                let (found, out) = qwal(&args);
                assert_eq!(found, *code, "{args:?}: {out}");
                assert!(!out.is_empty());
                let object = |line: &str| line.starts_with('{') && line.ends_with('}');
                assert!(!json || out.lines().all(object), "{out}");
            }
        }
        assert_eq!(bytes_of(log.path()), before, "nothing is written");
    }
    for command in ["stat", "verify", "scrub", "dump", "repair"] {
        assert_eq!(qwal(&[command, "/nowhere/at/all"]).0, 3);
        assert_eq!(qwal(&[command]).0, 3);
        assert_eq!(qwal(&[command, "a", "b"]).0, 3);
        assert_eq!(qwal(&[command, text(&logs[0].0), "--wrong"]).0, 3);
    }
    assert_eq!(qwal(&[]).0, 3);
    assert_eq!(qwal(&["verify", text(&logs[0].0), "--accept"]).0, 3);
    assert_eq!(qwal(&["dump", text(&logs[0].0), "--from", "x"]).0, 3);
    assert_eq!(qwal(&["dump", text(&logs[0].0), "--stream", "7"]).0, 3);
}

#[test]
fn cli_stat_and_verify_name_the_fields_of_the_structures() {
    let log = sound();
    let (_, out) = qwal(&["stat", text(&log), "--json"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], r#"{"low":1,"high":0,"durable":270,"written":270,"staged":270}"#);
    let stream =
        r#"{"stream":"1/7","low":1,"next":91,"blocks":90,"bytes":18000,"health":"Intact"}"#;
    assert_eq!(lines[2], stream);
    let (_, out) = qwal(&["verify", text(&log), "--json"]);
    let start =
        r#"{"created":false,"first":1,"durable":270,"tail":"Clean","damage":[],"accepted":[],"#;
    assert!(out.starts_with(start), "{out}");
    assert!(qwal(&["verify", text(&log)]).1.starts_with("sound: tail Clean, proven up to 270"));
    let (_, out) = qwal(&["verify", text(&torn()), "--json"]);
    assert!(out.contains(r#""tail":{"Unverifiable":{"lsns":{"from":5,"to":5}}}"#), "{out}");
    let (_, out) = qwal(&["verify", text(&corrupt())]);
    assert!(
        out.starts_with("Payload in segment 1 at ") && out.contains("records 61..=63"),
        "{out}"
    );
    let (_, out) = qwal(&["scrub", text(&corrupt()), "--json"]);
    let first = out.lines().next().unwrap();
    assert!(first.contains(r#""lost":{"from":61,"to":63}"#), "{first}");
    assert!(first.contains(r#""single_bit":"#) && !first.contains("null"), "{first}");
    assert!(out.lines().last().unwrap().contains(r#""damage":0,"copies_bad":0"#), "{out}");
}

#[test]
fn cli_dump_prints_what_is_asked_for() {
    let log = sound();
    let (_, out) = qwal(&["dump", text(&log), "--from", "265"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..2], ["265 record record 89", "268 record record 90"]);
    assert_eq!(lines[2], r#"1/7 cell 2 \"vote\"\n"#);
    assert!(
        lines[3].starts_with("266 block of 1/7 first 89 count 1 live 89..90 tag 3 YYY"),
        "{out}"
    );
    let (_, out) = qwal(&["dump", text(&log), "--stream", "1/7", "--hex", "--json"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], r#"{"stream":"1/7","slot":2,"bytes":"22766f7465220a"}"#);
    let block = r#"{"stream":"1/7","lsn":2,"first":1,"count":1,"live":[1,2],"tag":3,"bytes":"0101"#;
    assert!(lines[1].starts_with(block), "{}", lines[1]);
    assert_eq!(lines.len(), 91);
    let (_, out) = qwal(&["dump", text(&log), "--json", "--from", "268"]);
    assert!(out.starts_with("{\"lsn\":268,\"bytes\":\"record 90\"}\n"), "{out}");
    let (_, out) = qwal(&["dump", text(&corrupt())]);
    assert!(out.contains("lost to damage: records 61..=63"), "{out}");
}

#[test]
fn cli_repair_accepts_only_when_told_to() {
    let log = corrupt();
    let (code, out) = qwal(&["repair", text(&log)]);
    assert_eq!(code, 2);
    assert!(out.contains("with --accept"), "{out}");
    let (code, out) = qwal(&["repair", text(&log), "--accept"]);
    assert_eq!(code, 0, "{out}");
    assert!(out.ends_with("accepted 1 damaged places\n"), "{out}");
    let (code, out) = qwal(&["verify", text(&log)]);
    assert_eq!(code, 0);
    assert!(out.starts_with("accepted: records 61..=63\n"), "{out}");
    assert_eq!(qwal(&["repair", text(&log), "--accept"]).0, 0, "nothing is left to accept");
    let (reader, _) = WalReader::open(log.path()).unwrap();
    assert!(reader.get(Lsn::new(61)).is_err() && reader.get(Lsn::new(64)).is_ok());
}

#[test]
fn cli_checkpoint_copies_without_writing_to_the_log() {
    let home = tempfile::tempdir().unwrap();
    let to = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let log = sound();
    let before = bytes_of(log.path());
    let (code, out) = qwal(&["checkpoint", text(&log), &to("a"), "--json"]);
    assert_eq!((code, out.as_str()), (0, "{\"lsn\":270}\n"));
    assert_eq!(bytes_of(log.path()), before);
    assert_eq!(qwal(&["verify", &to("a")]).0, 0);
    let (code, out) = qwal(&["checkpoint", text(&torn()), &to("b")]);
    assert_eq!((code, out.as_str()), (1, "copied up to 4\n"));
    assert_eq!(qwal(&["verify", &to("b")]).0, 0, "what is copied is sound");
    assert_eq!(qwal(&["checkpoint", text(&corrupt()), &to("c")]).0, 2);
    assert_eq!(qwal(&["checkpoint", text(&log), &to("a")]).0, 3, "not empty");
    assert_eq!(qwal(&["checkpoint", "/nowhere/at/all", &to("d")]).0, 3);
    assert_eq!(qwal(&["checkpoint", text(&log)]).0, 3);
}
