//! Child processes of the tests, ended by their own handles.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const ARGS: &str = "QUORATE_KV_ARGS";
pub(crate) const FAILED: i32 = 1;
const PATIENCE: Duration = Duration::from_secs(30);

/// The program with these arguments.
pub(crate) fn kv(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(ARGS, args.join("\n"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A child that is killed when the test is done with it.
pub(crate) struct Process(Option<Child>);

impl Process {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self(Some(kv(args).spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it runs")
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        let pid = i32::try_from(self.child().id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// SIGKILL: no word, no flush.
    pub(crate) fn kill(&mut self) {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
    }

    /// Ctrl-C, and how the process ended.
    pub(crate) fn interrupt(mut self) -> ExitStatus {
        self.signal(Signal::INT);
        let mut child = self.0.take().unwrap();
        // What it still says must not fill the pipe.
        let mut rest = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `kv local`: three nodes in a process of their own.
pub(crate) struct Local {
    process: Process,
    pub(crate) ports: Vec<u16>,
    _temporary: Option<TempDir>,
}

impl Local {
    pub(crate) fn start(more: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("data");
        let mut local = Self::start_on(&dir, more);
        local._temporary = Some(temporary);
        local
    }

    pub(crate) fn start_on(dir: &Path, more: &[&str]) -> Self {
        let args = ["local", "--port", "0", "--dir", dir.to_str().unwrap()];
        let mut process = Process::start(&[&args[..], more].concat());
        let mut lines = BufReader::new(process.child().stdout.as_mut().unwrap()).lines();
        let mut ports = Vec::new();
        while ports.len() < 3 {
            let line = lines.next().expect("three addresses before it ends").unwrap();
            let address = line.split_whitespace().nth(1).and_then(|a| a.strip_prefix("127.0.0.1:"));
            ports.extend(address.and_then(|port| port.parse::<u16>().ok()));
        }
        Self { process, ports, _temporary: None }
    }

    pub(crate) fn stop(self) -> ExitStatus {
        self.process.interrupt()
    }

    pub(crate) fn raw(&self, node: usize) -> Raw {
        Raw::connect(self.ports[node])
    }
}

/// A connection on which bytes are sent and expected literally.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &str) {
        let mut found = vec![0; expected.len()];
        let mut at = 0;
        while at < found.len() {
            let n = self.0.read(&mut found[at..]).unwrap_or(0);
            if n == 0 {
                break;
            }
            at += n;
        }
        assert_eq!(String::from_utf8_lossy(&found[..at]), expected);
    }

    /// An inline command and its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str, expected: &str) {
        self.send(format!("{command}\r\n").as_bytes());
        self.expect(expected);
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// One line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.0.read(&mut byte).unwrap_or(0) == 1 {
            line.push(byte[0]);
            if byte[0] == b'\n' {
                break;
            }
        }
        String::from_utf8_lossy(&line).into_owned()
    }
}

pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
