//! A mailbox with a file for each message: the file is synced, and the name of it is not.

use crate::toys::slots::{read_all, write_all};
use crate::toys::{Toy, appender, node, pack, unpack};
use quorate_sim::*;
use quorate_wal::vfs::{OpenMode, Vfs};
use std::io;
use std::path::Path;

struct Mailbox {
    bug: bool,
}

impl Mailbox {
    fn store(&self, vfs: &SimVfs, key: u64) -> io::Result<()> {
        let file = vfs.open(Path::new(&format!("{key}.mail")), OpenMode::CreateNew)?;
        write_all(&*file, &pack(&[key]), 0)?;
        file.sync_all()?;
        if self.bug { Ok(()) } else { vfs.sync_dir(Path::new("")) }
    }
}

impl Node for Mailbox {
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        _: Peer,
        _: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        self.store(&ctx.disk(), unpack(&body)[0]).unwrap();
        ctx.reply(call, "stored");
    }
}

/// Every message that is there, whole.
fn list(vfs: &SimVfs) -> Vec<u64> {
    let files = vfs.list(Path::new("")).unwrap();
    let read = |item: quorate_wal::vfs::DirItem| {
        let file = vfs.open(Path::new(&item.name), OpenMode::Read).unwrap();
        unpack(&read_all(&*file).unwrap()).first().copied()
    };
    files.into_iter().filter_map(read).collect()
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Crash, Class::DiskTorn, Class::CrashMid, Class::Pause, Class::Slow];
    super::campaign("create-without-sync", bug, &classes, |bug| {
        Toy::new(move |sim| {
            sim.add(node(1), move |_| Mailbox { bug });
            appender::add(sim);
            sim.add_checker(Durable::new("acked", "present"));
        })
        .finish(|sim| {
            sim.with_node(node(1), |_: &mut Mailbox, ctx| {
                list(&ctx.disk()).into_iter().for_each(|key| ctx.fact("present", key, 1));
            });
        })
    })
}
