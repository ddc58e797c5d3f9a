//! What clients of a group saw, under faults, judged by two checkers that share no code: this
//! workspace's own and the one of `todc-utils`. They must agree, also on histories that others
//! recorded.
//!
//! `QUORATE_HISTORIES=dir` writes every history into files, one register each, as lines of a Jepsen
//! log. A relative path is one of the workspace.

mod clients;
mod cores;
mod judge;
mod nodes;
mod records;
mod server;

use judge::{Register, judge};
use quorate_sim::specs::{RegisterOp, RegisterRet};
use quorate_sim::{Campaign, History, Recorder, SimTime, Workload};
use records::Tally;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

#[cfg(mutant)]
pub(crate) use cores::hunted;

/// Where histories are to be written.
fn folder() -> Option<PathBuf> {
    let wanted = std::env::var_os("QUORATE_HISTORIES")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(wanted);
    fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

/// Runs a campaign and says what was judged.
fn run<W: Workload>(campaign: &Campaign<W>, tally: &Mutex<Tally>) -> String {
    let report = match campaign.run() {
        Ok(report) => report,
        Err(failure) => panic!("{failure}"),
    };
    let t = tally.lock().unwrap();
    assert!(t.histories > 0 && t.unknown > 0, "{t:?}");
    assert!(t.reads > t.operations / 4 && t.reads < t.operations, "{t:?}");
    format!("{report}\n{t}")
}

/// How many seeds.
const fn seeds(debug: u64, release: u64) -> u64 {
    if cfg!(debug_assertions) { debug } else { release }
}

#[test]
fn linearizable() {
    let tally = Arc::new(Mutex::new(Tally::default()));
    println!("{}", run(&cores::campaign(&tally, folder()).seeds(seeds(80, 200)), &tally));
}

#[test]
fn linearizable_over_whole_nodes() {
    let tally = Arc::new(Mutex::new(Tally::default()));
    println!("{}", run(&nodes::campaign(&tally, folder()).seeds(seeds(15, 40)), &tally));
}

#[test]
fn both_checkers_give_recorded_histories_their_verdicts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/linearizability");
    let Ok(verdicts) = fs::read_to_string(folder.join("VERDICTS")) else {
        println!("SKIPPED: no recorded histories in {}", folder.display());
        return;
    };
    for line in verdicts.lines() {
        let (file, verdict) = line.split_once(' ').unwrap();
        let history = History::read_jepsen_log(&fs::read(folder.join(file)).unwrap()[..]).unwrap();
        assert_eq!(judge(&history), Ok(verdict == "true"), "{file}");
    }
    println!("recorded histories judged as recorded: {}", verdicts.lines().count());
}

/// A write that was acknowledged, and a read after it that does not see it.
fn with_a_stale_read(unknown: bool) -> Register {
    let recorder = Recorder::new();
    let mut now = 0;
    let mut at = || {
        now += 1;
        SimTime::from_nanos(now)
    };
    let mut done = |process, op, ret| {
        let id = recorder.invoke(at(), process, op);
        recorder.ok(id, at(), ret);
    };
    done(1, RegisterOp::Write(1), RegisterRet::Written);
    done(1, RegisterOp::Write(2), RegisterRet::Written);
    done(2, RegisterOp::Read, RegisterRet::Value(Some(1)));
    let open = recorder.invoke(SimTime::from_nanos(50), 3, RegisterOp::Write(1));
    if unknown {
        recorder.unknown(open, SimTime::from_nanos(51));
    } else {
        recorder.fail(open, SimTime::from_nanos(51));
    }
    recorder.history()
}

#[test]
fn both_checkers_refuse_a_stale_read() {
    // What is invoked afterwards explains nothing, however it ends.
    assert_eq!(judge(&with_a_stale_read(true)), Ok(false));
    assert_eq!(judge(&with_a_stale_read(false)), Ok(false));
}
