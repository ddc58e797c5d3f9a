//! A small durable state: two slots of two sectors, written in turn, so that one is always whole.

use crate::toys::{pack, unpack};
use quorate_sim::SimVfs;
use quorate_wal::vfs::{OpenMode, Vfs, VfsFile};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// More than a sector, so that it can tear.
const SLOT: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Slots {
    file: Arc<dyn VfsFile>,
    number: u64,
}

pub(crate) fn write_all(file: &dyn VfsFile, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        done += file.write_at(&bytes[done..], at + done as u64)?;
    }
    Ok(())
}

pub(crate) fn read_all(file: &dyn VfsFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap()];
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(bytes)
}

/// Opens a file for writing; makes it if it is not there.
pub(crate) fn open_or_create(vfs: &SimVfs, name: &str) -> io::Result<Arc<dyn VfsFile>> {
    match vfs.open(Path::new(name), OpenMode::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            vfs.open(Path::new(name), OpenMode::CreateNew)
        }
        opened => opened,
    }
}

impl Slots {
    /// What was saved last, or a bit more: all of it durable from here on. An error: try again.
    pub(crate) fn open(vfs: &SimVfs) -> io::Result<(Self, Option<Vec<u64>>)> {
        let file = open_or_create(vfs, "state")?;
        let bytes = read_all(&*file)?;
        let valid = bytes.chunks(SLOT).filter_map(decode);
        let newest = valid.max_by_key(|(number, _)| *number);
        let mut slots = Self { file, number: newest.as_ref().map_or(0, |(number, _)| *number) };
        if let Some((_, words)) = &newest {
            // It may be in the cache alone: a sync that failed before does not write it any more.
            slots.save(words)?;
        }
        vfs.sync_dir(Path::new(""))?;
        Ok((slots, newest.map(|(_, words)| words)))
    }

    /// An error: it may be there or not; what was saved before is.
    pub(crate) fn save(&mut self, words: &[u64]) -> io::Result<()> {
        let number = self.number + 1;
        let mut slot = pack(&[0, number, words.len() as u64]).to_vec();
        slot.extend_from_slice(&pack(words));
        // The same everywhere, but different each time: old and new sectors do not mix.
        slot.resize(SLOT, slot[8]);
        let crc = crc32fast::hash(&slot[8..]);
        slot[..8].copy_from_slice(&u64::from(crc).to_le_bytes());
        write_all(&*self.file, &slot, number % 2 * SLOT as u64)?;
        self.file.sync_data()?;
        self.number = number;
        Ok(())
    }
}

fn decode(slot: &[u8]) -> Option<(u64, Vec<u64>)> {
    let words = unpack(slot);
    let len = usize::try_from(*words.get(2)?).ok().filter(|len| *len <= SLOT / 8 - 3)?;
    let whole = slot.len() == SLOT && words[0] == u64::from(crc32fast::hash(&slot[8..]));
    whole.then(|| (words[1], words[3..3 + len].to_vec()))
}
