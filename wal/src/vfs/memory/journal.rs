//! What was asked of a disk in memory, as far as somebody wants to know.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use crate::vfs::faults::OpKind;
use crate::width::wide;

/// One operation as it was asked for, and how it ended.
///
/// # Examples
/// ```
/// use quorate_wal::vfs::{MemVfs, OpKind, Operation, Vfs};
/// let disk = MemVfs::new();
/// disk.log_operations(100);
/// disk.create_dir_all("d".as_ref())?;
/// let log: Vec<Operation> = disk.operations();
/// assert_eq!((log[0].kind, log[0].error), (OpKind::CreateDir, None));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// What it was.
    pub kind: OpKind,
    /// On which name; for an open file the name it was opened with.
    pub path: PathBuf,
    /// Where in the file; the new length for a change of length.
    pub offset: u64,
    /// How many bytes were to be read or written.
    pub bytes: u64,
    /// How it failed.
    pub error: Option<io::ErrorKind>,
}

/// The newest operations; none by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    max: usize,
    newest: VecDeque<Operation>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) kind: OpKind,
    pub(super) path: &'a Path,
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

impl<'a> Call<'a> {
    pub(super) const fn on(kind: OpKind, path: &'a Path) -> Self {
        Self { kind, path, offset: 0, bytes: 0 }
    }
}

impl Journal {
    pub(super) fn keep(&mut self, max: usize) {
        self.max = max;
        self.trim();
    }

    pub(super) fn newest(&self) -> Vec<Operation> {
        self.newest.iter().cloned().collect()
    }

    pub(super) fn note(&mut self, call: Call<'_>, error: Option<io::ErrorKind>) {
        if self.max == 0 {
            return;
        }
        let Call { kind, path, offset, bytes } = call;
        let (path, bytes) = (path.to_path_buf(), wide(bytes));
        self.newest.push_back(Operation { kind, path, offset, bytes, error });
        self.trim();
    }

    fn trim(&mut self) {
        while self.newest.len() > self.max {
            self.newest.pop_front();
        }
    }
}
