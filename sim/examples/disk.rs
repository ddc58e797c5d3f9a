//! A settings file is replaced: write a new one, rename it over the old one, tell the user. Every
//! state that a power cut can leave is listed; those that lose what the user was told are marked.
//! Then the same with its syncs, and none is marked.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use quorate_sim::{DiskConfig, SimDisk, SimVfs};
use quorate_wal::vfs::{OpenMode, Vfs};

const OLD: &[u8] = b"volume=3";
const NEW: &[u8] = b"volume=11";

/// As it is often done: it works until the power fails.
fn replace(vfs: &SimVfs) -> io::Result<()> {
    let file = vfs.open(Path::new("settings.new"), OpenMode::CreateNew)?;
    file.write_at(NEW, 0)?;
    vfs.rename(Path::new("settings.new"), Path::new("settings"))
}

/// As it has to be done: the bytes before the name that leads to them, the name before the answer.
fn replace_durably(vfs: &SimVfs) -> io::Result<()> {
    let file = vfs.open(Path::new("settings.new"), OpenMode::CreateNew)?;
    file.write_at(NEW, 0)?;
    file.sync_all()?;
    vfs.rename(Path::new("settings.new"), Path::new("settings"))?;
    vfs.sync_dir(Path::new(""))
}

/// A disk with the old settings, all of it durable.
fn disk() -> io::Result<SimDisk> {
    let disk = SimDisk::new(7, DiskConfig::default());
    let vfs = disk.vfs();
    let file = vfs.open(Path::new("settings"), OpenMode::CreateNew)?;
    file.write_at(OLD, 0)?;
    file.sync_all()?;
    vfs.sync_dir(Path::new(""))?;
    Ok(disk)
}

/// The states after a replacement that was acknowledged, a line each.
fn list(title: &str, replace: fn(&SimVfs) -> io::Result<()>) -> io::Result<String> {
    let disk = disk()?;
    replace(&disk.vfs())?;
    let states = disk.crash_states(1_000);
    let all = if states.is_exhaustive() { "all" } else { "some" };
    let mut text = format!("{title}: {all} states after a power cut\n");
    for (n, state) in states.enumerate() {
        let _ = write!(text, "  {n}:");
        for (path, _) in state.files() {
            let bytes = state.read_durable(&path)?;
            let _ = write!(text, " {}=\"{}\"", path.display(), bytes.escape_ascii());
        }
        let kept = state.read_durable("settings")? == NEW;
        text.push_str(if kept { "\n" } else { "  <- LOST\n" });
    }
    Ok(text)
}

pub(crate) fn run() -> io::Result<String> {
    let wrong = list("write, rename", replace)?;
    let right = list("write, sync file, rename, sync directory", replace_durably)?;
    Ok(format!("{wrong}\n{right}"))
}

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> io::Result<()> {
    print!("{}", run()?);
    Ok(())
}
