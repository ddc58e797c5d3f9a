//! Settings that are replaced by renaming a new file over them: the name is made durable, and
//! what it leads to is not.

use crate::toys::slots::{read_all, write_all};
use crate::toys::{Toy, appender, node, pack, unpack};
use quorate_sim::*;
use quorate_wal::vfs::{OpenMode, Vfs};
use std::io;
use std::path::Path;

struct Settings {
    bug: bool,
}

fn stored(vfs: &SimVfs) -> u64 {
    let Ok(file) = vfs.open(Path::new("settings"), OpenMode::Read) else { return 0 };
    match unpack(&read_all(&*file).unwrap())[..] {
        [version, complement] if version == !complement => version,
        _ => 0,
    }
}

impl Settings {
    fn boot(ctx: &mut Ctx<'_>, bug: bool) -> Self {
        let vfs = ctx.disk();
        vfs.sync_dir(Path::new("")).unwrap(); // what is read from here on stays
        ctx.fact("version", 0, stored(&vfs).into());
        Self { bug }
    }

    fn replace(&self, vfs: &SimVfs, version: u64) -> io::Result<()> {
        let [new, old] = ["settings.new", "settings"].map(Path::new);
        let _ = vfs.remove(new);
        let file = vfs.open(new, OpenMode::CreateNew)?;
        write_all(&*file, &pack(&[version, !version]), 0)?;
        if !self.bug {
            file.sync_all()?;
        }
        drop(file);
        vfs.rename(new, old)?;
        vfs.sync_dir(Path::new(""))
    }
}

impl Node for Settings {
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        _: Peer,
        _: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        let version = unpack(&body)[0];
        self.replace(&ctx.disk(), version).unwrap();
        ctx.fact("version", 0, version.into());
        ctx.reply(call, "replaced");
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Crash, Class::DiskTorn, Class::CrashMid, Class::Pause, Class::DiskStall];
    super::campaign("rename-without-sync", bug, &classes, |bug| {
        Toy::new(move |sim| {
            sim.add(node(1), move |ctx| Settings::boot(ctx, bug));
            appender::add(sim);
            sim.add_checker(MonotoneDurable::new("version"));
        })
    })
}
