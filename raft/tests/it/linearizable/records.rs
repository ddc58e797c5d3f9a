//! What clients saw of one group: their histories, judged and written down.

use super::clients::Asks;
use super::judge::{Register, by_register, judge};
use quorate_sim::specs::{KvOp, KvRet, RegisterOp, RegisterRet};
use quorate_sim::{ClosedLoop, History, NodeId, Outcome, Recorder, Sim, SimTime};
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const CLIENTS: u64 = 5;
/// Operations of one register: judging takes time.
const OPERATIONS_MAX: usize = 1_000;
/// Looks at the healed group before its clients stop: what the faults left behind is read, too.
const LOOKS: u32 = 6;

/// What was judged, over all seeds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) histories: usize,
    pub(crate) operations: usize,
    pub(crate) reads: usize,
    pub(crate) unknown: usize,
    longest: usize,
    written: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, operations, reads, unknown, longest, written } = self;
        writeln!(
            f,
            "{operations} operations, {reads} of them reads, {unknown} of unknown outcome"
        )?;
        writeln!(f, "longest history: {longest} operations; files written: {written}")?;
        write!(f, "judged {histories} histories by two checkers: all linearizable")
    }
}

impl Tally {
    fn add(&mut self, register: &Register) {
        let open = |outcome: &Option<(SimTime, Outcome<RegisterRet>)>| {
            matches!(outcome, None | Some((_, Outcome::Unknown)))
        };
        self.histories += 1;
        self.operations += register.len();
        self.longest = self.longest.max(register.len());
        for (_, operation) in register.operations() {
            self.reads += usize::from(operation.op == RegisterOp::Read);
            self.unknown += usize::from(open(&operation.outcome));
        }
    }
}

/// The clients of one seed's group.
pub(crate) struct Records {
    /// Begins the names of files.
    name: String,
    recorder: Recorder<KvOp, KvRet>,
    tally: Arc<Mutex<Tally>>,
    folder: Option<PathBuf>,
    looks: u32,
}

impl Records {
    pub(crate) fn new(
        name: &str,
        seed: u64,
        tally: Arc<Mutex<Tally>>,
        folder: Option<PathBuf>,
    ) -> Self {
        let name = format!("{name}-{seed:04}");
        Self { name, recorder: Recorder::new(), tally, folder, looks: 0 }
    }

    fn clients() -> impl Iterator<Item = NodeId> {
        (1..=CLIENTS).map(|n| NodeId::new(100 + n))
    }

    pub(crate) fn add_clients(&self, sim: &mut Sim, servers: &[NodeId]) {
        for id in Self::clients() {
            let (asks, recorder) = (Asks::new(id, servers), self.recorder.clone());
            sim.add_client(id, move |ctx| ClosedLoop::new(ctx, asks.clone(), recorder.clone()));
        }
    }

    /// Whether the clients have seen enough of the healed group, and have their answers.
    pub(crate) fn are_complete(&mut self, sim: &mut Sim) -> bool {
        self.looks += 1;
        let enough = self.looks >= LOOKS;
        let mut waiting = false;
        for id in Self::clients() {
            sim.with_node(id, |client: &mut ClosedLoop<Asks>, _| {
                if enough {
                    client.stop();
                }
                waiting |= client.is_waiting();
            });
        }
        enough && !waiting
    }

    pub(crate) fn judge(&self) -> Result<(), String> {
        for (key, register) in by_register(&self.recorder.history()) {
            if register.len() > OPERATIONS_MAX {
                return Err(format!("{} operations of {key}", register.len()));
            }
            if !judge(&register)? {
                return Err(format!("{key} is not linearizable"));
            }
            let mut tally = self.tally.lock().unwrap();
            tally.add(&register);
            if let Some(folder) = &self.folder {
                write(&folder.join(format!("{}-{key}.log", self.name)), &register)?;
                tally.written += 1;
            }
        }
        Ok(())
    }
}

/// One file, and the proof that it says the same.
fn write(file: &Path, register: &Register) -> Result<(), String> {
    let wrong = |why: &dyn fmt::Display| format!("{}: {why}", file.display());
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
