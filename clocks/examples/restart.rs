//! A node that is killed and restarted with its wall clock set back by an hour: its stamps go on
//! rising at once, without a sleep.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use quorate_clocks::*;
use std::path::Path;
use std::process::Command;

/// Tells the child process where its mark is.
const NODE: &str = "QUORATE_RESTART_NODE";
const HOUR_NS: i64 = 3_600_000_000_000;

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(path) = std::env::var_os(NODE) {
        return node(Path::new(&path));
    }
    let folder = std::env::temp_dir().join(format!("quorate-restart-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("horizon");
    // The first life runs in a process that dies without a word.
    let mut child = Command::new(std::env::current_exe()?);
    // The arguments are for the test that contains this file; the example knows none.
    child.args(["--exact", "examples::restart_runs", "--nocapture"]).env(NODE, &path);
    let output = child.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().find_map(|line| line.strip_prefix("last stamp "));
    let last: Timestamp = last.ok_or("the first life said nothing")?.parse()?;
    println!("killed after    {last} ({})", output.status);
    let first = second_life(&path, last)?;
    println!("restarted with  {first}");
    assert!(first > last);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Issues stamps, prints the last one, and is aborted.
fn node(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (hlc, mut mark) = open(SystemClock::new(), path)?;
    persist(&hlc, &mut mark)?;
    let mut last = hlc.now()?;
    for _ in 0..10_000 {
        match hlc.now() {
            Ok(stamp) => last = stamp,
            Err(_) => persist(&hlc, &mut mark)?, // the horizon is behind: write, then go on
        }
    }
    println!("last stamp {last}");
    std::process::abort();
}

fn second_life(path: &Path, last: Timestamp) -> Result<Timestamp, Box<dyn std::error::Error>> {
    let an_hour_behind = SkewedClock::new(SystemClock::new(), -HOUR_NS, 0);
    assert!(an_hour_behind.wall() < last.wall());
    let (hlc, mut mark) = open(an_hour_behind, path)?;
    persist(&hlc, &mut mark)?;
    Ok(hlc.now()?)
}

fn open<C: Clock>(
    clock: C,
    path: &Path,
) -> Result<(HorizonHlc<C>, FileMark), Box<dyn std::error::Error>> {
    let mark = FileMark::open_or_create(path, MarkKind::Horizon)?;
    let stored = Timestamp::from_bits(mark.get()); // 0: a new node
    Ok((HorizonHlc::recover(clock, HlcConfig::default(), stored)?, mark))
}

/// Durable first, then used.
fn persist<C: Clock>(hlc: &HorizonHlc<C>, mark: &mut FileMark) -> Result<(), MarkError> {
    if let Some(due) = hlc.poll_persist() {
        mark.raise(due.horizon().to_bits())?;
        hlc.persisted(due);
    }
    Ok(())
}
