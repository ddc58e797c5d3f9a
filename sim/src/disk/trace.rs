//! What a disk was asked, as one running number and as the newest operations.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use quorate_wal::vfs::OpKind;

/// One operation of a process.
#[derive(Clone, Debug)]
pub(super) struct DiskEvent {
    number: u64,
    kind: OpKind,
    path: Arc<Path>,
    offset: u64,
    bytes: u64,
    crc: u32,
    error: Option<io::ErrorKind>,
}

/// The trace. Every operation goes into the hash with its kind, place, length, outcome and the
/// CRC of what it wrote (H22); what a read gave follows from what was written and needs none.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    count: u64,
    max: usize,
    newest: VecDeque<DiskEvent>,
}

/// What an operation was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) kind: OpKind,
    pub(super) path: &'a Arc<Path>,
    /// Which file; for operations on names a number made of the name.
    pub(super) subject: u64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

impl Trace {
    pub(super) fn keeping(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Whether operations are kept, not only hashed.
    pub(super) const fn keeps(&self) -> bool {
        self.max > 0
    }

    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn feed(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    pub(super) fn note(&mut self, about: About<'_>, error: Option<io::ErrorKind>) {
        let outcome = u64::from(error.is_some());
        self.feed(code(about.kind) | outcome << 8 | u64::from(about.crc) << 32);
        self.feed(about.subject);
        self.feed(about.offset);
        self.feed(about.bytes);
        self.count += 1;
        if self.max == 0 {
            return;
        }
        if self.newest.len() == self.max {
            self.newest.pop_front();
        }
        let About { kind, path, offset, bytes, crc, .. } = about;
        let path = Arc::clone(path);
        let number = self.count;
        self.newest.push_back(DiskEvent { number, kind, path, offset, bytes, crc, error });
    }

    /// The newest operations, a line each, oldest first.
    pub(super) fn tail(&self, operations: usize) -> String {
        let mut text = String::new();
        for event in self.newest.iter().skip(self.newest.len().saturating_sub(operations)) {
            let DiskEvent { number, kind, path, offset, bytes, crc, error } = event;
            let _ = write!(text, "{number} {kind:?} {} {offset}+{bytes}", path.display());
            if *crc != 0 {
                let _ = write!(text, " crc {crc:08x}");
            }
            if let Some(error) = error {
                let _ = write!(text, ": {error}");
            }
            text.push('\n');
        }
        text
    }
}

/// A number made of a name.
pub(super) fn named(path: &Path) -> u64 {
    u64::from(crc32fast::hash(path.as_os_str().as_encoded_bytes())) | 1 << 63
}

/// A number for each kind that stays (H20).
const fn code(kind: OpKind) -> u64 {
    match kind {
        OpKind::CreateDir => 1,
        OpKind::List => 2,
        OpKind::Open => 3,
        OpKind::Rename => 4,
        OpKind::Remove => 5,
        OpKind::SyncDir => 6,
        OpKind::Lock => 7,
        OpKind::Len => 8,
        OpKind::Read => 9,
        OpKind::Write => 10,
        OpKind::SyncData => 11,
        OpKind::SyncAll => 12,
        OpKind::SetLen => 13,
        OpKind::DropCache => 14,
        OpKind::Entropy => 15,
        _ => 0,
    }
}
