//! [`FileMark`]: a durable mark in a file of its own.

use crate::slots::{MARK_FILE_BYTES, SlotFile, SlotMark};
use crate::{DurableMark, MarkError, MarkKind, MarkOp, MarkStats};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A [`DurableMark`] in a file of 1,024 bytes that holds the value twice.
///
/// A crash at any moment of a raise, or one rotten byte anywhere, leaves the last acknowledged
/// value or the one being written. What cannot be read is refused, never created anew.
///
/// # Limits
/// A second handle on the file is refused on Linux, Android, Apple's systems and the BSDs
/// (`flock`); elsewhere the caller must see to it. Network file systems may not honour the lock.
/// Creating a mark needs a file system with hard links.
///
/// # Cost
/// A raise: two writes and two syncs of 32 bytes. No allocation. Opening: two or three of each.
///
/// # Examples
/// ```
/// use quorate_clocks::{FileMark, GenerationClock, MarkKind};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("generation");
/// let mut clock = GenerationClock::new(FileMark::open_or_create(&path, MarkKind::Generation)?);
/// let first = clock.bump()?;
/// drop(clock); // the process ends
///
/// let mut clock = GenerationClock::new(FileMark::open(&path, MarkKind::Generation)?);
/// assert_eq!(clock.current(), first);
/// assert!(clock.bump()? > first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileMark {
    slots: SlotMark<Disk>,
}

impl FileMark {
    /// Creates a mark of value 0, durable with its name. It appears under that name complete or not
    /// at all: it is written as the same name with `.new` at its end, and then linked. Whatever has
    /// the name already is left alone, also a symbolic link to nothing.
    ///
    /// # Errors
    /// [`MarkError::Exists`]; [`MarkError::Locked`] while somebody else creates it;
    /// [`MarkError::Io`].
    pub fn create_new(path: impl AsRef<Path>, kind: MarkKind) -> Result<Self, MarkError> {
        let path = path.as_ref();
        let exists = || Err(MarkError::Exists { path: path.to_owned() });
        if is_taken(path)? {
            return exists();
        }
        let unfinished = unfinished(path);
        let file = open_unfinished(path, &unfinished)?;
        // Only now: whoever held the lock before may have given the file its name meanwhile.
        if is_taken(path)? || !is_named(&file, &unfinished) {
            return exists();
        }
        step(file.set_len(MARK_FILE_BYTES as u64), MarkOp::Write, &unfinished)?;
        let slots = SlotMark::create(Disk(file), path.to_owned(), kind)?;
        // A link, since a rename would replace what got the name in the last moment.
        match std::fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return exists(),
            linked => step(linked, MarkOp::Rename, path)?,
        }
        step(std::fs::remove_file(&unfinished), MarkOp::Rename, &unfinished)?;
        step(sync_dir(path), MarkOp::SyncDir, path)?;
        Ok(Self { slots })
    }

    /// Opens a mark, repairs one slot if it is torn, rotten or behind, and writes both anew: the
    /// value is on the disk when this returns, whatever failed before.
    ///
    /// # Errors
    /// [`MarkError::NotFound`], [`MarkError::Locked`], [`MarkError::Kind`],
    /// [`MarkError::Corrupt`], [`MarkError::Io`]. After the last one the file holds what was
    /// acknowledged or what was read, and opens again once the reason has passed.
    pub fn open(path: impl AsRef<Path>, kind: MarkKind) -> Result<Self, MarkError> {
        let path = path.as_ref();
        let file = match File::options().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(MarkError::NotFound { path: path.to_owned() });
            }
            opened => step(opened, MarkOp::Open, path)?,
        };
        lock(&file, path)?;
        let unfinished = unfinished(path);
        if is_named(&file, &unfinished) {
            // Its creator died between the two names; a later creation must not write to it.
            step(std::fs::remove_file(&unfinished), MarkOp::Rename, &unfinished)?;
        }
        let slots = SlotMark::open(Disk(file), path.to_owned(), kind)?;
        // Whoever created it may have died before the name was durable.
        step(sync_dir(path), MarkOp::SyncDir, path)?;
        Ok(Self { slots })
    }

    /// Opens the mark, or creates it if there is no such file.
    ///
    /// A file that was lost is indistinguishable from one that never was: use this for a first
    /// start only, and [`open`](Self::open) for a node that has been in service.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and [`create_new`](Self::create_new), but for the two that the
    /// other one settles. [`MarkError::NotFound`] for a symbolic link to nothing.
    pub fn open_or_create(path: impl AsRef<Path>, kind: MarkKind) -> Result<Self, MarkError> {
        let path = path.as_ref();
        match Self::open(path, kind) {
            Err(MarkError::NotFound { .. }) => {}
            opened => return opened,
        }
        match Self::create_new(path, kind) {
            Err(MarkError::Exists { .. }) => Self::open(path, kind),
            created => created,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.slots.path()
    }

    /// What it did since it was opened.
    #[must_use]
    pub const fn stats(&self) -> MarkStats {
        self.slots.stats()
    }
}

impl DurableMark for FileMark {
    type Error = MarkError;

    fn get(&self) -> u64 {
        self.slots.get()
    }

    fn raise(&mut self, to: u64) -> Result<(), MarkError> {
        self.slots.raise(to)
    }
}

fn step<T>(result: io::Result<T>, op: MarkOp, path: &Path) -> Result<T, MarkError> {
    result.map_err(|source| MarkError::Io { path: path.to_owned(), op, source })
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The slots in a file.
#[derive(Debug)]
struct Disk(File);

impl SlotFile for Disk {
    fn bytes(&mut self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        self.0.read_exact(buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(offset))?;
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_vendor = "apple"
))]
fn lock(file: &File, path: &Path) -> Result<(), MarkError> {
    if step(crate::sys::lock_exclusive(file), MarkOp::Lock, path)? {
        return Ok(());
    }
    Err(MarkError::Locked { path: path.to_owned() })
}

/// No `flock` here: keeping others away is the caller's duty, as the documentation says.
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_vendor = "apple"
)))]
fn lock(_file: &File, _path: &Path) -> Result<(), MarkError> {
    Ok(())
}

/// Whether anything has the name; a symbolic link counts, wherever it leads.
fn is_taken(path: &Path) -> Result<bool, MarkError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => step(Err(error), MarkOp::Open, path),
    }
}

/// A file to become the mark `path`, locked: a new one, or one that a creator left behind.
fn open_unfinished(path: &Path, unfinished: &Path) -> Result<File, MarkError> {
    let open = || {
        if std::fs::symlink_metadata(unfinished).is_ok_and(|meta| meta.is_symlink()) {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "a symbolic link is there");
            return step(Err(error), MarkOp::Open, unfinished);
        }
        let mut options = File::options();
        let opened = options.read(true).write(true).create(true).truncate(false).open(unfinished);
        let file = step(opened, MarkOp::Open, unfinished)?;
        lock(&file, path)?;
        Ok(file)
    };
    let file = open()?;
    if !has_other_names(&file) || !is_named(&file, unfinished) {
        return Ok(file);
    }
    // It is a mark already, which was moved away since: its value must not be written over.
    step(std::fs::remove_file(unfinished), MarkOp::Rename, unfinished)?;
    drop(file);
    open()
}

#[cfg(unix)]
fn has_other_names(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().map_or(true, |meta| meta.nlink() > 1)
}

/// Nobody says here without more than std.
#[cfg(not(unix))]
fn has_other_names(_file: &File) -> bool {
    false
}

/// Whether `path` is a name of the open file.
#[cfg(unix)]
fn is_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    let opened = file.metadata().map(id).ok();
    opened.is_some() && opened == std::fs::symlink_metadata(path).map(id).ok()
}

/// A new name is durable once its directory is.
#[cfg(unix)]
fn sync_dir(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Directories cannot be opened here.
#[cfg(not(unix))]
fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}
