//! A second reader of the format, written from `FORMAT.md` alone: its own checksums, varints and
//! decisions. Nothing of the crate is used but public types to compare with.

use std::collections::BTreeMap;

use quorate_wal::DamageKind;
use quorate_wal::vfs::MemVfs;

use crate::rig::{dir, segments};

pub(crate) mod agree;
pub(crate) mod bytes;
mod chain;
mod heads;
mod walk;

/// The files of a log.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) manifest: Option<Vec<u8>>,
    pub(crate) segments: BTreeMap<u64, Vec<u8>>,
}

impl Files {
    pub(crate) fn of(disk: &MemVfs) -> Self {
        let number = |path: &std::path::Path| -> Option<u64> {
            path.file_stem()?.to_str()?.parse().ok().filter(|&n| n > 0 && n < 1 << 63)
        };
        let segments = segments(disk)
            .iter()
            .filter_map(|path| Some((number(path)?, disk.contents(path).ok()?)))
            .collect();
        Self { manifest: disk.contents(&dir().join("MANIFEST")).ok(), segments }
    }
}

/// What the reader says.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A newer version wrote this.
    Refused,
    /// A creation that never finished.
    New,
    Read(Reading),
}

/// How the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Clean,
    Torn(u64),
    Unverifiable(u64, Option<u64>),
}

/// One damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hurt {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) kind: DamageKind,
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
}

/// An operation, as far as replay shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Record(Vec<u8>),
    Block {
        space: u64,
        id: u64,
        replace: bool,
        first: u64,
        count: u64,
        kept: u64,
        tag: u64,
        bytes: Vec<u8>,
    },
    Meta {
        space: u64,
        id: u64,
        slot: u8,
        bytes: Vec<u8>,
    },
    Drop {
        space: u64,
        id: u64,
    },
    Cut(u64),
    Hole {
        segment: u64,
        offset: u64,
        from: u64,
        to: u64,
    },
    KeepStream {
        space: u64,
        id: u64,
        low: u64,
    },
    KeepMain(u64),
    High,
}

impl Item {
    pub(crate) fn takes_number(&self) -> bool {
        !matches!(self, Self::KeepStream { .. } | Self::KeepMain(_) | Self::High)
    }
}

/// A whole log as read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) end: End,
    /// Not accepted.
    pub(crate) damage: Vec<Hurt>,
    pub(crate) accepted: Vec<Hurt>,
    pub(crate) repaired: u32,
    /// In the order of the log; hints have the number of what comes next.
    pub(crate) items: Vec<(u64, Item)>,
    pub(crate) low: u64,
}

/// Reads; `told`: a number that the caller knows to be durable, or 0.
pub(crate) fn read(files: &Files, told: u64) -> Answer {
    match chain::read(files, told) {
        Ok(answer) => answer,
        Err(bytes::Newer) => Answer::Refused,
    }
}
