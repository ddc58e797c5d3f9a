//! What every [`Vfs`] must do, as one list to run over each of them (feature `testing`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{OpenMode, Vfs, VfsFile};

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
    let checks = [
        open_modes,
        content,
        growth,
        reserve,
        beside,
        names,
        replaced,
        handles,
        lists,
        lists_in_any_order,
        locks,
        lock_files,
        entropy,
    ];
    for check in checks {
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

#[track_caller]
fn read(vfs: &dyn Vfs, path: &Path) -> Vec<u8> {
    let file = ok(vfs.open(path, OpenMode::Read), "open for reading");
    let mut bytes = vec![0; 64];
    let n = ok(file.read_at(&mut bytes, 0), "read");
    bytes.truncate(n);
    bytes
}

#[track_caller]
fn write(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> Arc<dyn VfsFile> {
    let file = ok(vfs.open(path, OpenMode::CreateNew), "create");
    assert_eq!(ok(file.write_at(bytes, 0), "write"), bytes.len(), "a short text is one write");
    file
}

fn growth(vfs: &dyn Vfs, dir: &Path) {
    let file = write(vfs, &dir.join("f"), b"abc");
    ok(file.write_at(b"", 9), "an empty write");
    assert_eq!(ok(file.len(), "len"), 3, "an empty write does not extend");
    ok(file.write_at(b"BC", 1), "overwrite");
    ok(file.sync_data(), "sync_data");
    assert_eq!(read(vfs, &dir.join("f")), b"aBC", "an overwrite keeps the rest");
    ok(file.write_at(b"x", 5), "write behind the end");
    ok(file.sync_all(), "sync_all");
    assert_eq!(read(vfs, &dir.join("f")), b"aBC\0\0x", "a gap reads as zeros");
    let mut none = [];
    assert_eq!(ok(file.read_at(&mut none, 0), "read nothing"), 0, "nothing asked, nothing read");
}

fn reserve(vfs: &dyn Vfs, dir: &Path) {
    let file = write(vfs, &dir.join("f"), b"abc");
    ok(file.reserve(10), "reserve");
    assert!(ok(file.len(), "len") == 10 || ok(file.len(), "len") == 3, "room, or length too");
    ok(file.reserve(1), "reserve less than there is");
    let mut buf = [9; 3];
    assert_eq!(ok(file.read_at(&mut buf, 0), "read"), 3, "reserve cuts nothing off");
    assert_eq!(&buf, b"abc", "reserve changes nothing");
    ok(file.write_at(b"z", 9), "write into the room");
    assert_eq!(read(vfs, &dir.join("f")), b"abc\0\0\0\0\0\0z", "room is zero");
    let reader = ok(vfs.open(&dir.join("f"), OpenMode::Read), "read");
    assert!(reader.set_len(1).is_err(), "a file opened for reading keeps its length");
}

fn beside(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("f");
    let file = write(vfs, &path, &[0; 32]);
    let reader = ok(vfs.open(&path, OpenMode::Read), "read");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=200_u8 {
                ok(file.write_at(&[n; 32], 0), "write while reading");
            }
        });
        let mut newest = 0;
        while newest < 200 {
            let mut buf = [0; 1];
            assert_eq!(ok(reader.read_at(&mut buf, 7), "read while writing"), 1, "length stays");
            assert!(buf[0] >= newest, "a byte goes back from {newest} to {}", buf[0]);
            newest = buf[0];
        }
    });
    assert_eq!(read(vfs, &path), [200; 32], "the last write is what stays");
    let other = ok(vfs.open(&path, OpenMode::Write), "second writer");
    ok(other.write_at(b"!", 31), "write by the second handle");
    let mut buf = [0; 1];
    assert_eq!(ok(file.read_at(&mut buf, 31), "read by the first"), 1, "handles see one file");
    assert_eq!(&buf, b"!", "what one handle writes the other reads");
}

fn replaced(vfs: &dyn Vfs, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    let new = write(vfs, &a, b"new");
    let old = write(vfs, &b, b"old");
    ok(new.sync_all(), "sync the new one");
    ok(vfs.rename(&a, &b), "rename over an existing name");
    ok(vfs.sync_dir(dir), "sync_dir after rename");
    assert_eq!(read(vfs, &b), b"new", "the name shows the new file");
    let mut buf = [0; 3];
    assert_eq!(ok(old.read_at(&mut buf, 0), "read the replaced file"), 3, "it outlives its name");
    assert_eq!(&buf, b"old", "the replaced file is another file");
    assert_eq!(ok(vfs.list(dir), "list").len(), 1, "one name is left");
    refused(vfs.rename(&a, &b), ErrorKind::NotFound, "rename of nothing");
    assert_eq!(read(vfs, &b), b"new", "a refused rename changes nothing");
    ok(vfs.rename(&b, &b), "rename to itself");
    assert_eq!(read(vfs, &b), b"new", "a rename to itself changes nothing");
    refused(vfs.sync_dir(&dir.join("nothing")), ErrorKind::NotFound, "sync_dir of nothing");
}

fn handles(vfs: &dyn Vfs, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    let file = write(vfs, &a, b"1");
    ok(vfs.rename(&a, &b), "rename");
    ok(file.write_at(b"2", 1), "write by a handle from before the rename");
    ok(file.sync_data(), "sync by it");
    assert_eq!(read(vfs, &b), b"12", "the handle follows the file");
    ok(vfs.remove(&b), "remove");
    ok(file.write_at(b"3", 2), "write to a file without a name");
    ok(file.sync_data(), "sync of a file without a name");
    assert_eq!(ok(file.len(), "len"), 3, "it goes on without a name");
    write(vfs, &b, b"fresh");
    assert_eq!(read(vfs, &b), b"fresh", "a new file under the old name");
    assert_eq!(ok(file.len(), "len"), 3, "the two are not one");
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

fn lists_in_any_order(vfs: &dyn Vfs, dir: &Path) {
    let mut names: Vec<String> =
        (0..40_u32).map(|n| format!("{:08x}", n.wrapping_mul(0x9e37_79b9))).collect();
    for name in &names {
        write(vfs, &dir.join(name), name.as_bytes());
    }
    for name in names.split_off(30) {
        ok(vfs.remove(&dir.join(name)), "remove");
    }
    let listed = ok(vfs.list(dir), "list");
    let mut listed: Vec<String> =
        listed.iter().map(|item| item.name.to_string_lossy().into_owned()).collect();
    listed.sort();
    names.sort();
    assert_eq!(listed, names, "each name once, whatever order they were made in");
}

fn lock_files(vfs: &dyn Vfs, dir: &Path) {
    let (a, b) = (dir.join("A"), dir.join("B"));
    write(vfs, &a, b"text of a former holder");
    let held = ok(vfs.lock(&a), "lock an existing file");
    let other = ok(vfs.lock(&b), "another file is another lock");
    drop(other);
    refused(vfs.lock(&a), ErrorKind::WouldBlock, "the first is still held");
    drop(held);
    drop(ok(vfs.lock(&a), "lock after drop"));
    assert_eq!(ok(vfs.list(dir), "list").len(), 2, "lock files stay");
}

fn entropy(vfs: &dyn Vfs, _dir: &Path) {
    let mut seen: Vec<u128> = (0..64).map(|_| ok(vfs.entropy(), "entropy")).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 64, "entropy repeats");
}
