//! kill -9 of a real process on the real file system: what the child said was durable is there.
//!
//! The child is this test binary run again with an environment variable; it is ended by its own
//! handle, and at the latest by its own count.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use quorate_wal::{Batch, Config, Lsn, ReadBound, StreamId, Wal};

const CHILD: &str = "QUORATE_WAL_KILL_CHILD";

fn config() -> Config {
    let config = Config::embedded().segment_bytes(64 << 10).batch_bytes_max(8 << 10);
    config.staged_bytes_max(32 << 10).build().unwrap()
}

/// Not a test of its own: the body of the child.
#[test]
fn child_of_kill() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let (wal, report) = Wal::open(dir, config()).unwrap();
    let mut out = std::io::stdout();
    let group = StreamId::new(1, 1);
    let mut next = report.durable.as_u64() + 1;
    let mut batch = Batch::new();
    for _ in 0..20_000 {
        batch.clear();
        let index = wal.stream(group).bounds().end.max(1);
        batch.record(&next.to_le_bytes().repeat(20)).extend(group, index, 1, 1, &[1; 100]);
        let lsn = wal.commit_blocking(&batch).unwrap().as_u64();
        assert_eq!(lsn, next + 1);
        next += 2;
        writeln!(out, "durable {lsn}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn killed_children_lose_nothing_they_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let mut last = 0;
    for round in 0..20_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::child_of_kill", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, &dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).filter_map(|line| {
            line.rsplit_once("durable ").and_then(|(_, n)| n.parse::<u64>().ok())
        });
        let mut acked = last;
        for (n, lsn) in said.enumerate() {
            acked = lsn;
            if n as u64 == 30 + round * 17 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acked > last, "the child worked");
        let (wal, report) = Wal::open(&dir, config()).unwrap();
        assert!(report.durable.as_u64() >= acked, "lost: {acked} of {report:?}");
        for record in wal.read(Lsn::new(1), ReadBound::Durable) {
            let record = record.unwrap();
            assert_eq!(record.bytes[..], record.lsn.as_u64().to_le_bytes().repeat(20));
        }
        let blocks = wal.stream(StreamId::new(1, 1)).bounds();
        assert_eq!(blocks.end - blocks.start, report.durable.as_u64() / 2);
        last = report.durable.as_u64();
    }
}
