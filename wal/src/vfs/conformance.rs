//! What every [`Vfs`] must do, as one list to run over each of them (feature `testing`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{OpenMode, Vfs};

/// Makes a fresh file system and an existing, empty directory on it.
pub type Make<'a> = &'a dyn Fn() -> (Arc<dyn Vfs>, PathBuf);

/// Runs the whole list, each check on a file system of its own.
///
/// # Panics
/// If the file system breaks a rule; the message names it.
///
/// # Examples
/// ```
/// use std::{path::PathBuf, sync::Arc};
/// use quorate_wal::vfs::{MemVfs, Vfs, conformance};
/// conformance::run(&|| {
///     let disk = MemVfs::new();
///     disk.create_dir_all("d".as_ref()).expect("an empty disk takes a directory");
///     (Arc::new(disk), PathBuf::from("d"))
/// });
/// ```
pub fn run(make: Make<'_>) {
    for check in [open_modes, content, names, lists, locks, entropy] {
        let (vfs, dir) = make();
        check(vfs.as_ref(), &dir);
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a test helper reports by panicking")]
fn ok<T>(result: std::io::Result<T>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(e) => panic!("{what}: {e}"),
    }
}

#[track_caller]
fn refused<T>(result: std::io::Result<T>, kind: ErrorKind, what: &str) {
    assert_eq!(result.err().map(|e| e.kind()), Some(kind), "{what}");
}

fn open_modes(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("f");
    refused(vfs.open(&path, OpenMode::Read), ErrorKind::NotFound, "read of nothing");
    refused(vfs.open(&path, OpenMode::Write), ErrorKind::NotFound, "write creates nothing");
    let file = ok(vfs.open(&path, OpenMode::CreateNew), "create");
    assert_eq!(ok(file.len(), "len"), 0, "a new file is empty");
    refused(vfs.open(&path, OpenMode::CreateNew), ErrorKind::AlreadyExists, "create twice");
    let reader = ok(vfs.open(&path, OpenMode::Read), "read");
    assert!(reader.write_at(b"x", 0).is_err(), "a file opened for reading takes no write");
}

fn content(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("f");
    let file = ok(vfs.open(&path, OpenMode::CreateNew), "create");
    assert_eq!(ok(file.write_at(b"hello", 3), "write"), 5, "five bytes fit one write");
    assert_eq!(ok(file.len(), "len"), 8, "a write extends the file");
    let mut buf = [9; 16];
    assert_eq!(ok(file.read_at(&mut buf, 0), "read"), 8, "a read ends at the end");
    assert_eq!(&buf[..8], b"\0\0\0hello", "the gap is zero");
    assert_eq!(ok(file.read_at(&mut buf, 8), "read"), 0, "nothing at the end");
    assert_eq!(ok(file.read_at(&mut buf, 99), "read"), 0, "nothing beyond it");
    ok(file.sync_data(), "sync_data");
    ok(file.set_len(4), "shrink");
    ok(file.set_len(6), "grow");
    ok(file.sync_all(), "sync_all");
    let other = ok(vfs.open(&path, OpenMode::Read), "second handle");
    assert_eq!(ok(other.read_at(&mut buf, 0), "read"), 6, "handles see one file");
    assert_eq!(&buf[..6], b"\0\0\0h\0\0", "what was cut does not come back");
    ok(file.reserve(6), "reserve");
    ok(file.drop_cache(), "drop_cache");
}

fn names(vfs: &dyn Vfs, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    let file = ok(vfs.open(&a, OpenMode::CreateNew), "create a");
    ok(file.write_at(b"A", 0), "write a");
    ok(vfs.open(&b, OpenMode::CreateNew), "create b");
    ok(vfs.rename(&a, &b), "rename replaces");
    refused(vfs.open(&a, OpenMode::Read), ErrorKind::NotFound, "the old name is gone");
    let mut buf = [0; 1];
    let moved = ok(vfs.open(&b, OpenMode::Read), "open the new name");
    assert_eq!(ok(moved.read_at(&mut buf, 0), "read"), 1, "the content moved along");
    ok(vfs.remove(&b), "remove");
    refused(vfs.remove(&b), ErrorKind::NotFound, "remove twice");
    assert_eq!(ok(file.read_at(&mut buf, 0), "read"), 1, "an open file outlives its name");
    ok(vfs.sync_dir(dir), "sync_dir");
}

fn lists(vfs: &dyn Vfs, dir: &Path) {
    assert!(ok(vfs.list(dir), "list").is_empty(), "the directory starts empty");
    let file = ok(vfs.open(&dir.join("f"), OpenMode::CreateNew), "create");
    ok(file.write_at(b"123", 0), "write");
    ok(vfs.create_dir_all(&dir.join("x/y")), "create_dir_all");
    ok(vfs.create_dir_all(&dir.join("x/y")), "create_dir_all again");
    let mut items = ok(vfs.list(dir), "list");
    items.sort_by(|a, b| a.name.cmp(&b.name));
    let seen: Vec<_> =
        items.iter().map(|i| (i.name.to_string_lossy().into_owned(), i.bytes, i.is_dir)).collect();
    assert_eq!(seen, [("f".to_owned(), 3, false), ("x".to_owned(), 0, true)], "list");
    refused(vfs.list(&dir.join("nothing")), ErrorKind::NotFound, "list of nothing");
    refused(vfs.list(&dir.join("f")), ErrorKind::NotADirectory, "list of a file");
}

fn locks(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("LOCK");
    let held = ok(vfs.lock(&path), "lock");
    refused(vfs.lock(&path), ErrorKind::WouldBlock, "lock while held");
    drop(held);
    let again = ok(vfs.lock(&path), "lock after release");
    drop(again);
}

fn entropy(vfs: &dyn Vfs, _dir: &Path) {
    let mut seen: Vec<u128> = (0..64).map(|_| ok(vfs.entropy(), "entropy")).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 64, "entropy repeats");
}
