//! Entries on a disk that rots: what does not match its checksum is not what was written.

use crate::toys::slots::{open_or_create, read_all, write_all};
use crate::toys::{Toy, ms, node, pack, unpack};
use quorate_sim::*;
use quorate_wal::vfs::{Vfs, VfsFile};
use std::path::Path;
use std::sync::Arc;

/// An entry and its checksum have a sector of their own.
const SECTOR: u64 = 512;

struct Store {
    bug: bool,
    file: Arc<dyn VfsFile>,
    written: u64,
    next: Monotonic,
}

fn entry(number: u64) -> [u64; 3] {
    let value = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let crc = crc32fast::hash(&pack(&[number, value]));
    [number, value, crc.into()]
}

impl Store {
    fn boot(ctx: &mut Ctx<'_>, bug: bool) -> Self {
        let vfs = ctx.disk();
        let file = open_or_create(&vfs, "entries").unwrap();
        vfs.sync_dir(Path::new("")).unwrap();
        let mut store = Self { bug, written: 0, file, next: ctx.now() };
        store.written = store.file.len().unwrap().div_ceil(SECTOR);
        store
    }

    fn append(&mut self, ctx: &mut Ctx<'_>) {
        let [number, value, crc] = entry(self.written);
        write_all(&*self.file, &pack(&[number, value, crc]), number * SECTOR).unwrap();
        self.file.sync_data().unwrap();
        self.written += 1;
        ctx.fact("entry", number, value.into());
    }

    /// Reads everything again.
    fn scrub(&self, ctx: &mut Ctx<'_>) {
        let bytes = read_all(&*self.file).unwrap();
        for (number, sector) in (0..).zip(bytes.chunks(512)) {
            let words = unpack(&sector[..24.min(sector.len())]);
            let [found, value, crc] = words[..] else { continue };
            let whole = u64::from(crc32fast::hash(&pack(&[found, value]))) == crc;
            if self.bug || (whole && found == number) {
                ctx.fact("entry", number, value.into());
            } else {
                ctx.reached("damage found");
            }
        }
    }
}

impl Node for Store {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.next = ctx.now().saturating_add(ms(500));
        self.append(ctx);
        self.scrub(ctx);
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::DiskRot, Class::CrashMid, Class::Pause, Class::DiskStall];
    super::campaign("checksum-ignored", bug, &classes, |bug| {
        Toy::new(move |sim| {
            for id in [1, 2] {
                sim.add(node(id), move |ctx| Store::boot(ctx, bug));
            }
            sim.add_checker(Agreement::new("entry"));
        })
    })
    .swarm(
        Swarm::quiet()
            .only(&classes)
            .range(Class::DiskRot, 100_000_000..=3_000_000_000)
            .minority(1)
            .without(Class::Wipe),
    )
    .require(if bug { &[] } else { &["damage found"] })
}
