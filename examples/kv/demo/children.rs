//! The child processes: each a `kv node`, ended and paused by its own handle.

use super::Deed;
use crate::cluster::Error;
use quorate_clocks::{Clock as _, SystemClock};
use quorate_transport::ClusterId;
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const NODES: usize = 3;
const PATIENCE: Duration = Duration::from_millis(50);

struct Node {
    resp: SocketAddr,
    dir: PathBuf,
    /// None while it is down.
    child: Option<Child>,
    paused: bool,
}

pub(super) struct Children {
    nodes: Vec<Node>,
    peers: Vec<SocketAddr>,
    cluster: ClusterId,
    election_timeout: u64,
}

impl Children {
    pub(super) fn start(
        dir: &Path,
        cluster: ClusterId,
        election_timeout: u64,
    ) -> Result<Self, Error> {
        let ports = free_addresses(2 * NODES)?;
        let (resp, peers) = ports.split_at(NODES);
        let node = |(n, resp): (usize, &SocketAddr)| Node {
            resp: *resp,
            dir: dir.join(format!("node-{}", n + 1)),
            child: None,
            paused: false,
        };
        let nodes = resp.iter().enumerate().map(node).collect();
        let mut children = Self { nodes, peers: peers.to_vec(), cluster, election_timeout };
        for n in 0..NODES {
            children.spawn(n)?;
        }
        Ok(children)
    }

    fn spawn(&mut self, n: usize) -> Result<(), Error> {
        let node = &mut self.nodes[n];
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("node").arg("--id").arg((n + 1).to_string());
        command.arg("--resp").arg(node.resp.to_string()).arg("--dir").arg(&node.dir);
        command.arg("--cluster").arg(self.cluster.to_string());
        command.arg("--election-timeout").arg(self.election_timeout.to_string());
        for (id, peer) in (1..).zip(&self.peers) {
            command.arg("--peer").arg(format!("{id}={peer}"));
        }
        node.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        Ok(())
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.resp).collect()
    }

    /// Until each node answers a linearizable read.
    pub(super) fn wait_until_all_serve(&self, within: Duration) -> Result<(), Error> {
        let clock = SystemClock::new();
        let deadline = clock.monotonic().saturating_add(within);
        for node in &self.nodes {
            loop {
                let asked: Result<Option<String>, _> = connect(node.resp, Duration::from_secs(5))
                    .and_then(|mut c| redis::cmd("GET").arg("-").query(&mut c));
                match asked {
                    Ok(_) => break,
                    Err(error) if clock.monotonic() >= deadline => {
                        return Err(format!("{} does not serve: {error}", node.resp).into());
                    }
                    Err(_) => std::thread::sleep(PATIENCE),
                }
            }
        }
        Ok(())
    }

    /// The node that says it leads, if one does.
    pub(super) fn leader(&self) -> Option<usize> {
        (1..).zip(&self.nodes).find(|(_, node)| node.leads()).map(|(id, _)| id)
    }

    fn await_leader(&self) -> Result<usize, Error> {
        let clock = SystemClock::new();
        let deadline = clock.monotonic().saturating_add(Duration::from_secs(20));
        loop {
            if let Some(id) = self.leader() {
                return Ok(id);
            }
            if clock.monotonic() >= deadline {
                return Err("nobody leads".into());
            }
            std::thread::sleep(PATIENCE);
        }
    }

    /// Says what was done.
    pub(super) fn perform(&mut self, deed: Deed, victim: &mut usize) -> Result<String, Error> {
        let leader = self.await_leader()? - 1;
        match deed {
            Deed::KillLeader => {
                *victim = leader;
                self.kill(leader)?;
                Ok(format!("node {} killed", leader + 1))
            }
            Deed::Restart => {
                self.spawn(*victim)?;
                Ok(format!("node {} restarted", *victim + 1))
            }
            Deed::PauseFollower => {
                *victim = (leader + 1) % NODES;
                self.signal(*victim, Signal::STOP)?;
                self.nodes[*victim].paused = true;
                Ok(format!("node {} paused", *victim + 1))
            }
            Deed::Resume => {
                self.signal(*victim, Signal::CONT)?;
                self.nodes[*victim].paused = false;
                Ok(format!("node {} resumed", *victim + 1))
            }
        }
    }

    fn kill(&mut self, n: usize) -> Result<(), Error> {
        if let Some(mut child) = self.nodes[n].child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn signal(&self, n: usize, signal: Signal) -> Result<(), Error> {
        let child = self.nodes[n].child.as_ref().ok_or("a node that is up has a process")?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or("a process has an id")?, signal)?)
    }

    /// A clean end of all.
    pub(super) fn stop(mut self) -> Result<(), Error> {
        for n in 0..NODES {
            if self.nodes[n].child.is_some() {
                self.signal(n, Signal::TERM)?;
            }
        }
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                let status = child.wait()?;
                if !status.success() {
                    return Err(format!("{} ended with {status}", node.resp).into());
                }
            }
        }
        Ok(())
    }
}

impl Drop for Children {
    /// Whatever went wrong, no process stays behind.
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

impl Node {
    fn leads(&self) -> bool {
        if self.child.is_none() || self.paused {
            return false;
        }
        let info: Result<String, _> = connect(self.resp, Duration::from_millis(500))
            .and_then(|mut c| redis::cmd("INFO").query(&mut c));
        info.is_ok_and(|text| text.contains("role:master"))
    }
}

pub(super) fn connect(to: SocketAddr, patience: Duration) -> redis::RedisResult<redis::Connection> {
    let client = redis::Client::open(format!("redis://{to}"))?;
    let connection = client.get_connection_with_timeout(patience)?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))?;
    Ok(connection)
}

/// Addresses that were free a moment ago.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, Error> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}
