//! What the machine can do at best: the same bytes by system calls alone.

use crate::peers::RECORD;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(crate) const OVERWRITE: &str = "pwrite + fdatasync, pre-written file";
pub(crate) const GROWING: &str = "pwrite + fdatasync, growing file";
const FILE: u64 = 64 << 20;
/// As far apart as the frames of single appends.
const STEP: u64 = 304;

pub(crate) fn create(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).open(path).expect("a new file")
}

/// How much is written at once when a file is written before. It matters: after steps of 1 MiB
/// every small write into the same page cache took 2.5 times as long here (ext4 on Linux 6.18), so
/// that logs of others were quicker than such a "floor".
pub(crate) const STEP_SMALL: usize = 64 << 10;
pub(crate) const STEP_LARGE: usize = 1 << 20;

/// A file written and synced before.
pub(crate) fn prewritten(path: &Path, bytes: u64, step: usize) -> File {
    let file = create(path);
    let zeros = vec![0; step];
    for at in (0..bytes).step_by(step) {
        file.write_all_at(&zeros, at).expect("room");
    }
    file.sync_all().expect("synced");
    file
}

/// One record and a sync after the other, over and over in the same file.
pub(crate) fn overwrite(dir: &Path) -> impl FnMut() + use<> {
    overwrite_after(dir, STEP_SMALL)
}

/// The same on a file that was written before in steps of another size.
pub(crate) fn overwrite_after(dir: &Path, step: usize) -> impl FnMut() + use<> {
    let (file, mut at) = (prewritten(&dir.join(format!("overwrite{step}")), FILE, step), 0);
    move || {
        file.write_all_at(&RECORD, at).expect("room");
        file.sync_data().expect("synced");
        at = if at + 2 * STEP > FILE { 0 } else { at + STEP };
    }
}

/// The same on a file that gets longer with every record.
pub(crate) fn growing(dir: &Path) -> impl FnMut() + use<> {
    let (file, mut at) = (create(&dir.join("growing")), 0);
    move || {
        file.write_all_at(&RECORD, at).expect("room");
        file.sync_data().expect("synced");
        at += STEP;
    }
}

/// One `pwrite` of a record at the end of a file that grows, nothing more.
pub(crate) fn appended(dir: &Path) -> impl FnMut() + use<> {
    let (file, mut at) = (create(&dir.join("appended")), 0);
    move || {
        file.write_all_at(&RECORD, at).expect("room");
        at += STEP;
    }
}

/// One `pwrite` of a record, nothing more.
pub(crate) fn written(dir: &Path, step: usize) -> impl FnMut() + use<> {
    let (file, mut at) = (prewritten(&dir.join(format!("written{step}")), FILE, step), 0);
    move || {
        file.write_all_at(&RECORD, at).expect("room");
        at = if at + 2 * STEP > FILE { 0 } else { at + STEP };
    }
}

/// So many bytes in one `pwrite`, and a sync.
pub(crate) fn overwrite_large(dir: &Path, bytes: usize) -> impl FnMut() + use<> {
    let (file, mut at) = (prewritten(&dir.join("large"), FILE, STEP_SMALL), 0);
    let data = vec![7; bytes];
    move || {
        file.write_all_at(&data, at).expect("room");
        file.sync_data().expect("synced");
        at = if at + 2 * bytes as u64 > FILE { 0 } else { at + bytes as u64 };
    }
}
