//! What clients of a group saw, under faults, judged by two checkers that share no code: this
//! workspace's own and the one of `todc-utils`. They must agree, also on histories that others
//! recorded.
//!
//! `QUORATE_HISTORIES=dir` writes every history into files, one register each, as lines of a Jepsen
//! log. A relative path is one of the workspace.

mod clients;
mod judge;
mod server;

use crate::sim::{self, Group};
use clients::{Asks, KEYS};
use judge::{Register, by_register, judge};
use quorate_sim::specs::{KvOp, KvRet, RegisterOp, RegisterRet};
use quorate_sim::{
    Campaign, ClosedLoop, History, NodeId, Outcome, Recorder, Sim, SimTime, Workload,
};
use server::Server;
use std::cell::Cell;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CLIENTS: u64 = 5;
const OPERATIONS_MAX: usize = 1_000;
/// Looks at the healed group before its clients stop: what the faults left behind is read, too.
const LOOKS: u32 = 6;

/// What a campaign must have met to prove anything.
const MUST_HAPPEN: [&str; 9] = [
    "leader elected",
    "crash of a leader",
    "snapshot installed",
    "leadership moved",
    "client redirected",
    "client reads at a leader",
    "client reads through a follower",
    "client reads by lease",
    "client superseded",
];

/// What was judged, over all seeds.
#[derive(Debug, Default)]
struct Tally {
    histories: usize,
    operations: usize,
    reads: usize,
    unknown: usize,
    longest: usize,
    written: usize,
}

/// The group of the simulation, with clients around it instead of within.
pub(crate) struct Registers {
    seed: u64,
    group: Group,
    recorder: Recorder<KvOp, KvRet>,
    tally: Arc<Mutex<Tally>>,
    folder: Option<PathBuf>,
    looks: u32,
}

impl Registers {
    fn clients() -> impl Iterator<Item = NodeId> {
        (1..=CLIENTS).map(|n| NodeId::new(100 + n))
    }
}

impl Workload for Registers {
    fn setup(&mut self, sim: &mut Sim) {
        let servers = self.group.nodes();
        // Ids of reads, in all lives of all nodes.
        let ids = Rc::new(Cell::new(0));
        for id in servers.clone() {
            let (setup, world) = (self.group.setup.clone(), Rc::clone(&self.group.world));
            let ids = Rc::clone(&ids);
            sim.add(id, move |ctx| {
                Server::boot(ctx, setup.clone(), Rc::clone(&world), Rc::clone(&ids))
            });
        }
        for id in Self::clients() {
            let (asks, recorder) = (Asks::new(id, &servers), self.recorder.clone());
            sim.add_client(id, move |ctx| ClosedLoop::new(ctx, asks.clone(), recorder.clone()));
        }
    }

    fn healed(&mut self, sim: &mut Sim) -> Result<bool, String> {
        self.group.world.borrow_mut().quiet = true;
        self.looks += 1;
        let mut waiting = false;
        for id in Self::clients() {
            let last = self.looks >= LOOKS;
            sim.with_node(id, |client: &mut ClosedLoop<Asks>, _| {
                if last {
                    client.stop();
                }
                waiting |= client.is_waiting();
            });
        }
        Ok(self.looks > LOOKS && !waiting)
    }

    fn finish(&mut self, _: &mut Sim) -> Result<(), String> {
        let history = self.recorder.history();
        for (key, register) in by_register(&history) {
            if register.len() > OPERATIONS_MAX {
                return Err(format!("{} operations of {key}", register.len()));
            }
            if !judge(&register)? {
                return Err(format!("register {key} is not linearizable"));
            }
            self.count(&register);
            if let Some(folder) = &self.folder {
                write(&folder.join(format!("seed-{:04}-{key}.log", self.seed)), &register)?;
                self.tally.lock().unwrap().written += 1;
            }
        }
        Ok(())
    }
}

impl Registers {
    fn count(&self, register: &Register) {
        let tally = &mut *self.tally.lock().unwrap();
        let open = |outcome: &Option<(SimTime, Outcome<RegisterRet>)>| {
            matches!(outcome, None | Some((_, Outcome::Unknown)))
        };
        tally.histories += 1;
        tally.operations += register.len();
        tally.longest = tally.longest.max(register.len());
        for (_, operation) in register.operations() {
            tally.reads += usize::from(operation.op == RegisterOp::Read);
            tally.unknown += usize::from(open(&operation.outcome));
        }
    }
}

/// One file, and the proof that it says the same.
fn write(file: &Path, register: &Register) -> Result<(), String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let mut lines = Vec::new();
    register.write_jepsen_log(&mut lines).map_err(|e| wrong(&e))?;
    let text = String::from_utf8(lines).map_err(|e| wrong(&e))?;
    let mut out = Vec::new();
    for line in text.lines() {
        // As Jepsen's logger has it.
        writeln!(out, "INFO  jepsen.util - {line}").map_err(|e| wrong(&e))?;
    }
    fs::write(file, &out).map_err(|e| wrong(&e))?;
    let again = History::read_jepsen_log(&out[..]).map_err(|e| wrong(&e))?;
    if judge(&again)? { Ok(()) } else { Err(wrong(&"is not what was judged")) }
}

fn campaign(tally: &Arc<Mutex<Tally>>, folder: Option<PathBuf>) -> Campaign<Registers> {
    let tally = Arc::clone(tally);
    let make = move |seed| Registers {
        seed,
        group: Group::new(seed),
        recorder: Recorder::new(),
        tally: Arc::clone(&tally),
        folder: folder.clone(),
        looks: 0,
    };
    Campaign::new("raft-registers", make)
        .config(sim::config)
        .swarm(sim::swarm())
        .chaos(Duration::from_secs(3))
        .heal(Duration::from_secs(20))
        .require(&MUST_HAPPEN)
}

/// For planted bugs: what the clients see must give them away.
#[cfg(mutant)]
pub(crate) fn hunted() -> Campaign<Registers> {
    campaign(&Arc::default(), None).shrink(false)
}

/// Where histories are to be written.
fn folder() -> Option<PathBuf> {
    let wanted = std::env::var_os("QUORATE_HISTORIES")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(wanted);
    fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

#[test]
fn linearizable() {
    let tally = Arc::new(Mutex::new(Tally::default()));
    match campaign(&tally, folder()).seeds(150).run() {
        Ok(report) => println!("{report}"),
        Err(failure) => panic!("{failure}"),
    }
    let t = tally.lock().unwrap();
    println!("{} operations, {} of them reads, {} unknown", t.operations, t.reads, t.unknown);
    println!("longest history: {} operations; files written: {}", t.longest, t.written);
    println!("judged {} histories by two checkers: all linearizable", t.histories);
    assert!(t.histories >= KEYS && t.unknown > 0);
    assert!(t.reads > t.operations / 4 && t.reads < t.operations);
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
