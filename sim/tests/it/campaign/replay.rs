//! Plan files: a failure comes back with the same hash, or the campaign says why it does not.

use super::child::{replay, run};
use std::fs;
use std::path::PathBuf;

/// A failure of this campaign, its plan file, and a place for others.
fn failed(campaign: &str) -> (super::child::Ending, String, tempfile::TempDir) {
    let ending = run(campaign, &[]);
    assert_eq!(ending.kind, "violation", "{ending:?}");
    let text = fs::read_to_string(ending.plan_path()).unwrap();
    (ending, text, tempfile::tempdir().unwrap())
}

fn put(dir: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("a.plan");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_printed_command_replays_a_failure_to_the_same_hash() {
    let (ending, ..) = failed("lock-without-fence");
    let command = ending.text.lines().find(|line| line.starts_with("replay: ")).unwrap();
    assert!(command.contains("cargo test") && command.contains("--test it"), "{command}");
    let again = replay("lock-without-fence", &ending.plan_path());
    assert_eq!((again.kind, again.checker), (ending.kind, ending.checker));
    assert_eq!((again.hash, again.seed), (ending.hash, ending.seed));
}

#[test]
fn a_file_of_another_campaign_is_refused() {
    let (ending, ..) = failed("timers-replayed");
    let other = replay("lock-without-fence", &ending.plan_path());
    assert_eq!(other.kind, "environment");
    let both = ["timers-replayed", "lock-without-fence"].map(|name| other.text.contains(name));
    assert_eq!(both, [true, true], "{}", other.text);
}

#[test]
fn other_code_does_not_reproduce_and_says_so() {
    let (ending, text, dir) = failed("timers-replayed");
    let line = format!("hash={}", ending.hash);
    assert!(text.contains(&line), "{text}");
    let path = put(&dir, &text.replace(&line, "hash=0x00000000deadbeef"));
    let unlike = replay("timers-replayed", &path);
    assert_eq!((&*unlike.kind, &*unlike.hash), ("unlike", &*ending.hash));
    for part in ["0x00000000deadbeef", &ending.hash, "the same version", "does not reproduce"] {
        assert!(unlike.text.contains(part), "{part}: {}", unlike.text);
    }
    let version = format!("version={}", env!("CARGO_PKG_VERSION"));
    let other = text.replace(&line, "hash=0x00000000deadbeef").replace(&version, "version=9.9.9");
    let unlike = replay("timers-replayed", &put(&dir, &other));
    assert!(unlike.text.contains("another version"), "{}", unlike.text);
    // Of another version, and yet it happens again: what is the same is the same.
    let again = replay("timers-replayed", &put(&dir, &text.replace(&version, "version=9.9.9")));
    assert_eq!((&*again.kind, again.hash), ("violation", ending.hash));
}

/// The bug was mended: the run passes, and the campaign does not.
#[test]
fn a_run_that_passes_now_does_not_reproduce() {
    let (_, text, dir) = failed("timers-replayed");
    let is_step = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let mended: Vec<&str> = text.lines().filter(|line| !is_step(line)).collect();
    let unlike = replay("timers-replayed", &put(&dir, &mended.join("\n")));
    assert_eq!(unlike.kind, "unlike");
    assert!(unlike.text.contains("it passes"), "{}", unlike.text);
}

#[test]
fn missing_and_broken_files_are_named_with_their_line() {
    let (_, text, dir) = failed("timers-replayed");
    let missing = dir.path().join("none.plan");
    let ending = replay("timers-replayed", &missing);
    assert_eq!(ending.kind, "environment");
    assert!(ending.text.contains(missing.to_str().unwrap()), "{}", ending.text);

    let steps = text.lines().count();
    for (from, to, line, expected) in [
        ("quorate-sim plan 1", "quorate-sim plan 9", 1, "expected \"\\\"quorate-sim plan 1"),
        ("chaos_ns=", "chaos=", 7, "expected a known key"),
        ("pause n", "pose n", steps, "expected a fault, found \"pose\""),
        ("s pause", " pause", steps, "expected a time such as 12.350s"),
    ] {
        let path = put(&dir, &text.replacen(from, to, 1));
        let ending = replay("timers-replayed", &path);
        assert_eq!(ending.kind, "environment", "{ending:?}");
        let wanted = format!("{}: line {line}: ", path.display());
        assert!(ending.text.contains(&wanted), "{wanted} {}", ending.text);
        let plain = expected.replace("\\\"", "");
        assert!(ending.text.replace("\\\"", "").contains(&plain), "{plain}: {}", ending.text);
    }
}
