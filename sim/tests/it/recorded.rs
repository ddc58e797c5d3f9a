//! The recorded histories of `../shared/linearizability`, with their verdicts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use quorate_sim::specs::{CasRegister, RegisterOp, RegisterRet};
use quorate_sim::{History, STEPS_MAX, Verdict, linearizable};

/// Where they are, unless `QUORATE_HISTORIES` says so.
pub(crate) fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/linearizability");
    let named = std::env::var_os("QUORATE_HISTORIES").map(PathBuf::from);
    let wanted = named.is_some();
    let folder = named.unwrap_or(beside);
    if folder.join("VERDICTS").is_file() {
        return Some(folder);
    }
    assert!(!wanted, "QUORATE_HISTORIES: no file VERDICTS in {}", folder.display());
    eprintln!("SKIPPED: no recorded histories in {}", folder.display());
    None
}

fn verdicts(folder: &Path) -> BTreeMap<String, bool> {
    let text = fs::read_to_string(folder.join("VERDICTS")).unwrap();
    let line = |line: &str| {
        let (file, verdict) = line.split_once(' ').unwrap();
        (file.to_owned(), verdict.parse().unwrap())
    };
    text.lines().map(line).collect()
}

fn read(file: &Path) -> History<RegisterOp, RegisterRet> {
    let input = BufReader::new(File::open(file).unwrap());
    History::read_jepsen_log(input).unwrap_or_else(|wrong| panic!("{}: {wrong}", file.display()))
}

#[test]
fn recorded_histories_have_their_verdicts() {
    let Some(folder) = folder() else { return };
    let wanted = verdicts(&folder);
    let mut right = 0;
    for (file, is_linearizable) in &wanted {
        let history = read(&folder.join(file));
        let verdict = linearizable(&CasRegister, &history, STEPS_MAX);
        assert_eq!(
            (verdict.is_linearizable(), verdict.is_illegal()),
            (*is_linearizable, !is_linearizable),
            "{file}: {verdict}"
        );
        if let Verdict::Illegal(why) = &verdict {
            assert!(why.is_shortest() && !why.blocked().is_empty(), "{file}: {why}");
        }
        right += 1;
    }
    println!("recorded histories: {right}/{}", wanted.len());
    assert!(wanted.len() >= 50 && wanted.values().any(|v| *v) && wanted.values().any(|v| !*v));
}

/// The shortest illegal prefix, cut out of the file, is illegal, and one line less is not.
#[test]
fn prefixes_cut_out_of_the_files_are_the_shortest() {
    let Some(folder) = folder() else { return };
    for (file, _) in verdicts(&folder).into_iter().filter(|(_, linear)| !linear) {
        let text = fs::read_to_string(folder.join(&file)).unwrap();
        let events: Vec<&str> = text.lines().filter(|line| line.contains("\t:")).collect();
        let judged = |count: usize| {
            let input = events[..count].join("\n");
            let history = History::read_jepsen_log(input.as_bytes()).unwrap();
            linearizable(&CasRegister, &history, STEPS_MAX)
        };
        let Verdict::Illegal(why) = judged(events.len()) else { panic!("{file}") };
        assert!(judged(why.events()).is_illegal(), "{file}");
        assert!(judged(why.events() - 1).is_linearizable(), "{file}");
    }
}

#[test]
fn recorded_histories_survive_both_formats() {
    let Some(folder) = folder() else { return };
    for file in verdicts(&folder).keys() {
        let history = read(&folder.join(file));
        let (mut lines, mut log) = (Vec::new(), Vec::new());
        history.write_jsonl(&mut lines).unwrap();
        history.write_jepsen_log(&mut log).unwrap();
        assert_eq!(History::read_jsonl(&lines[..]).unwrap(), history, "{file}");
        assert_eq!(History::read_jepsen_log(&log[..]).unwrap(), history, "{file}");
    }
}
