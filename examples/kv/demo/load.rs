//! The clients: each writes keys of its own, which must not be lost, and writes and reads registers
//! that all share, whose history must be linearizable.

use super::children::connect;
use super::history::{Action, History, Outcome};
use crate::cluster::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A client's patience with an answer. Behind it the outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(6);
/// Registers in use at a time, and operations of a client on one set of them: so that histories of
/// a key stay short enough to be judged.
const REGISTERS: u64 = 4;
const OPS_PER_SET: u64 = 100;
/// After a definite refusal or a lost connection.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(nodes: &[SocketAddr], clients: u64, history: &Arc<History>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..clients)
            .map(|id| {
                let client = Client {
                    id,
                    nodes: nodes.to_vec(),
                    history: Arc::clone(history),
                    stop: Arc::clone(&stop),
                    ops: 0,
                };
                std::thread::spawn(move || client.run())
            })
            .collect();
        Self { stop, threads }
    }

    pub(super) fn stop(self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| "a client panicked")?;
        }
        Ok(())
    }
}

struct Client {
    id: u64,
    nodes: Vec<SocketAddr>,
    history: Arc<History>,
    stop: Arc<AtomicBool>,
    ops: u64,
}

impl Client {
    fn run(mut self) {
        let mut at = usize::try_from(self.id).unwrap_or(0);
        while !self.stop.load(Ordering::Relaxed) {
            at = (at + 1) % self.nodes.len();
            match connect(self.nodes[at], PATIENCE) {
                Ok(connection) => self.work(connection),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Until something goes wrong with the connection.
    fn work(&mut self, mut connection: redis::Connection) {
        while !self.stop.load(Ordering::Relaxed) {
            self.ops += 1;
            let (id, n) = (self.id, self.ops);
            let register = format!("r:{}:{}", n / OPS_PER_SET, n % REGISTERS);
            let action = match n % 3 {
                0 => Action::Write { key: format!("w:{id}:{n}"), value: n.to_string() },
                1 => Action::Write { key: register, value: format!("{id}-{n}") },
                _ => Action::Read { key: register },
            };
            let mut command = match &action {
                Action::Write { key, value } => redis::cmd("SET").arg(key).arg(value).to_owned(),
                Action::Read { key } => redis::cmd("GET").arg(key).to_owned(),
            };
            command.set_no_response(false);
            let call = self.history.begin();
            let answer: redis::RedisResult<Option<String>> = command.query(&mut connection);
            let (outcome, usable) = judge(answer);
            self.history.end(call, action, outcome);
            match usable {
                Usable::Yes => {}
                Usable::AfterPause => std::thread::sleep(PAUSE),
                Usable::No => return,
            }
        }
    }
}

enum Usable {
    Yes,
    AfterPause,
    No,
}

/// What the answer means, and whether the connection can go on.
fn judge(answer: redis::RedisResult<Option<String>>) -> (Outcome, Usable) {
    match answer {
        Ok(value) => (Outcome::Done(value), Usable::Yes),
        Err(error) => match error.code() {
            Some("UNKNOWN") => (Outcome::Unknown, Usable::AfterPause),
            // Any other error the server words itself is definite: nothing was written.
            Some(_) if !error.is_io_error() => (Outcome::Refused, Usable::AfterPause),
            _ => (Outcome::Unknown, Usable::No),
        },
    }
}
