//! Doors for the crate's own tests; no part of the API.

pub use crate::slots::{MARK_FILE_BYTES, SlotFile, SlotMark};
pub use crate::snapshot::Snapshot;
pub use crate::unslewed::{Sample, SuspendOffset};
