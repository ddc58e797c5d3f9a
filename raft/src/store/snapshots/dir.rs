//! [`SnapshotDir`]: snapshots as files of a folder.
//!
//! `snap-<term>-<index>-<maker>.qrsf` is complete and verified; `.tmp` is being made, `.part` is
//! arriving. A file gets its final name only after it was synced, and the folder is synced after
//! that.

use super::{SnapshotFile, SnapshotReceiver, SnapshotStore, SnapshotWriter, format};
use crate::SnapshotMeta;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const WRITE_BUFFER: usize = 256 << 10;

/// Snapshots in a folder, newest first; one older than the newest is kept for transfers under way.
///
/// # Cost
/// A snapshot is read once in full when the folder is opened, to verify it.
///
/// # Examples
/// ```
/// use quorate_raft::{SnapshotDir, SnapshotStore};
///
/// let dir = tempfile::tempdir().unwrap();
/// let store = SnapshotDir::open(dir.path().join("snapshots")).unwrap();
/// assert_eq!(store.latest().unwrap(), None);
/// ```
#[derive(Debug)]
pub struct SnapshotDir {
    dir: PathBuf,
}

impl SnapshotDir {
    /// Opens or creates the folder; what an interrupted creation left is removed.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(&dir)?;
        for name in names(&dir)?.iter().filter(|name| name.ends_with(".tmp")) {
            fs::remove_file(dir.join(name))?;
        }
        Ok(Self { dir })
    }

    fn path(&self, meta: &SnapshotMeta, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", stem(meta)))
    }

    /// Names of complete snapshots, newest first: names sort like (term, index).
    fn complete(&self) -> io::Result<Vec<String>> {
        let mut found = names(&self.dir)?;
        found.retain(|name| name.starts_with("snap-") && name.ends_with(".qrsf"));
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }
}

fn stem(meta: &SnapshotMeta) -> String {
    let (term, index) = (meta.last.term.value(), meta.last.index.value());
    format!("snap-{term:016x}-{index:016x}-{:032x}", meta.maker.value())
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        // A name that is not text is not one of ours.
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Final name, durable; then whatever is older than the two newest goes.
fn publish(dir: &Path, from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(dir)?;
    for old in (SnapshotDir { dir: dir.to_owned() }).complete()?.into_iter().skip(2) {
        fs::remove_file(dir.join(old))?;
    }
    Ok(())
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    bytes: u64,
}

impl OpenFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

impl SnapshotFile for OpenFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cfg(unix)]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buf, offset)
    }

    #[cfg(not(unix))]
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        use std::io::{Seek as _, SeekFrom};
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(offset))?;
        file.read(buf)
    }
}

struct Writer {
    dir: PathBuf,
    temporary: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
    finished: bool,
}

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SnapshotWriter for Writer {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        publish(&self.dir, &self.temporary, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: `open` removes it otherwise.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

struct Receiver {
    dir: PathBuf,
    partial: PathBuf,
    path: PathBuf,
    id: SnapshotMeta,
    file: File,
    offset: u64,
    /// Of everything up to the offset; none if it was not read again yet.
    crc: Option<crc32fast::Hasher>,
}

impl Receiver {
    /// The checksum so far. What arrived before this receiver was made is read once, when it is
    /// first wanted: whoever makes a receiver holds up everyone else who wants the store.
    fn summed(&mut self) -> io::Result<&mut crc32fast::Hasher> {
        let crc = match self.crc.take() {
            Some(crc) => crc,
            None => sum_of(&mut self.file)?,
        };
        Ok(self.crc.insert(crc))
    }
}

/// The checksum of a file, whose cursor is at its end then.
fn sum_of(file: &mut File) -> io::Result<crc32fast::Hasher> {
    use std::io::Seek as _;
    file.rewind()?;
    let (mut crc, mut buf) = (crc32fast::Hasher::new(), vec![0_u8; WRITE_BUFFER]);
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(crc),
            n => crc.update(&buf[..n]),
        }
    }
}

impl SnapshotReceiver for Receiver {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn crc(&mut self) -> io::Result<u32> {
        Ok(self.summed()?.clone().finalize())
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.summed()?; // also puts the file's cursor to its end
        self.file.write_all(piece)?;
        self.summed()?.update(piece);
        self.offset += piece.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        use std::io::Seek as _;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.crc = Some(crc32fast::Hasher::new());
        self.offset = 0;
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<SnapshotMeta> {
        self.file.sync_all()?;
        let verified = format::verify(&OpenFile::open(&self.partial)?);
        let same = |m: &SnapshotMeta| m.last == self.id.last && m.maker == self.id.maker;
        match verified {
            Ok(meta) if same(&meta) => {
                publish(&self.dir, &self.partial, &self.path)?;
                Ok(meta)
            }
            other => {
                // Not worth resuming.
                fs::remove_file(&self.partial)?;
                let error =
                    || io::Error::new(io::ErrorKind::InvalidData, "another snapshot's content");
                Err(other.err().unwrap_or_else(error))
            }
        }
    }
}

impl SnapshotStore for SnapshotDir {
    fn latest(&self) -> io::Result<Option<SnapshotMeta>> {
        for name in self.complete()? {
            // Rot is told by the older one taking over, and by the log that starts behind it.
            if let Ok(meta) = format::verify(&OpenFile::open(&self.dir.join(&name))?) {
                return Ok(Some(meta));
            }
            // The bare core has no tracing.
            #[cfg(any(feature = "tokio", feature = "wal"))]
            tracing::warn!(file = name, "snapshot fails verification, ignored");
        }
        Ok(None)
    }

    fn open(&self, meta: &SnapshotMeta) -> io::Result<Box<dyn SnapshotFile>> {
        Ok(Box::new(OpenFile::open(&self.path(meta, "qrsf"))?))
    }

    fn create(&mut self, meta: &SnapshotMeta) -> io::Result<Box<dyn SnapshotWriter>> {
        let (temporary, path) = (self.path(meta, "tmp"), self.path(meta, "qrsf"));
        let file = BufWriter::with_capacity(WRITE_BUFFER, File::create(&temporary)?);
        Ok(Box::new(Writer { dir: self.dir.clone(), temporary, path, file, finished: false }))
    }

    fn receive(&mut self, id: &SnapshotMeta) -> io::Result<Box<dyn SnapshotReceiver>> {
        let partial = self.path(id, "part");
        for name in names(&self.dir)?.iter().filter(|name| name.ends_with(".part")) {
            if self.dir.join(name) != partial {
                fs::remove_file(self.dir.join(name))?;
            }
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&partial)?;
        let offset = file.metadata()?.len();
        let (dir, path) = (self.dir.clone(), self.path(id, "qrsf"));
        Ok(Box::new(Receiver { dir, partial, path, id: id.clone(), file, offset, crc: None }))
    }
}
