//! Making a new log; a crash at any step is completed by the next open (§5.6).

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Config, Prealloc};
use crate::error::OpenError;
use crate::format::manifest::Manifest;
use crate::format::segment::SegmentHeader;
use crate::marks::fresh;
use crate::plant::planted;
use crate::prepare::{PrepareError, prepare, salt};
use crate::vfs::{OpenMode, Vfs, write_full};

/// An I/O error with its place.
pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let path = path.to_path_buf();
    move |source| OpenError::Io { path, source }
}

/// Creates the directory; its name, and that of every new parent, is made durable (H20).
pub(crate) fn directories(vfs: &dyn Vfs, dir: &Path) -> Result<(), OpenError> {
    let mut unnamed: Vec<PathBuf> = Vec::new();
    for path in dir.ancestors() {
        let Some(above) = path.parent() else { break };
        match vfs.list(path) {
            Ok(_) if path != dir => break,
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_at(path)(e)),
            // The log's own directory may have been created by a process that died before it
            // synced the parent.
            _ => unnamed.push(above.to_path_buf()),
        }
    }
    vfs.create_dir_all(dir).map_err(io_at(dir))?;
    for path in unnamed.iter().rev() {
        if planted("no_parent_sync") {
            break;
        }
        vfs.sync_dir(path).map_err(io_at(path))?;
    }
    Ok(())
}

/// The first segment and MANIFEST of a new log.
pub(crate) fn log(vfs: &dyn Vfs, dir: &Path, config: &Config) -> Result<(), OpenError> {
    let uuid = vfs.entropy().map_err(io_at(dir))?;
    first_segment(vfs, dir, uuid, config)?;
    // MANIFEST must not be there without the segment it names, whatever order names survive in.
    vfs.sync_dir(dir).map_err(io_at(dir))?;
    let values = Manifest { uuid, oldest: 1, newest: 1, main_low: 1, ..Manifest::default() };
    manifest(vfs, dir, &values)?;
    Ok(())
}

/// The first segment of a log that was never written.
pub(crate) fn first_segment(
    vfs: &dyn Vfs,
    dir: &Path,
    uuid: u128,
    config: &Config,
) -> Result<(), OpenError> {
    let salt = salt(vfs).map_err(io_at(dir))?;
    let grows = config.prealloc == Prealloc::Grow;
    let (segment_bytes, align) = (config.segment_bytes, config.align.bytes());
    let header = SegmentHeader { uuid, seq: 1, salt, segment_bytes, align, grows };
    match prepare(vfs, dir, header, config.prealloc) {
        Ok(_) => Ok(()),
        Err(PrepareError::NoSpace) => {
            Err(OpenError::NoSpace { needed: config.segment_bytes.into() })
        }
        Err(PrepareError::Failed(failure)) => {
            Err(OpenError::Io { path: failure.path, source: failure.source })
        }
    }
}

/// Writes a whole MANIFEST under a temporary name, then puts it in place.
pub(crate) fn manifest(
    vfs: &dyn Vfs,
    dir: &Path,
    values: &Manifest,
) -> Result<Manifest, OpenError> {
    let (path, tmp) = (dir.join("MANIFEST"), dir.join("MANIFEST.tmp"));
    match vfs.remove(&tmp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_at(&tmp)(e)),
        _ => {}
    }
    let (bytes, newest) = fresh(values);
    let file = vfs.open(&tmp, OpenMode::CreateNew).map_err(io_at(&tmp))?;
    let written = write_full(file.as_ref(), &bytes, 0).and_then(|()| file.sync_all());
    if let Err(e) = written {
        let full = crate::prepare::is_full(&e);
        drop(vfs.remove(&tmp));
        return Err(if full {
            OpenError::NoSpace { needed: bytes.len() as u64 }
        } else {
            io_at(&tmp)(e)
        });
    }
    vfs.rename(&tmp, &path).map_err(io_at(&path))?;
    vfs.sync_dir(dir).map_err(io_at(dir))?;
    Ok(newest)
}
