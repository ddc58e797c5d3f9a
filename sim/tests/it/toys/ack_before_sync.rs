//! A log that answers once it has written, and syncs a little later.

use crate::toys::slots::{open_or_create, read_all, write_all};
use crate::toys::{Toy, appender, node, pack, unpack};
use quorate_sim::*;
use quorate_wal::vfs::{Vfs, VfsFile};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

struct Log {
    bug: bool,
    file: Arc<dyn VfsFile>,
    keys: BTreeSet<u64>,
    /// Not written yet.
    staged: Vec<(u64, InboundCall)>,
}

impl Log {
    fn boot(ctx: &mut Ctx<'_>, bug: bool) -> Self {
        let vfs = ctx.disk();
        let file = open_or_create(&vfs, "log").unwrap();
        let words = unpack(&read_all(&*file).unwrap());
        // A record is a number and its complement: what was lost reads as zeros.
        let whole = words.chunks_exact(2).take_while(|record| record[0] == !record[1]);
        let keys = whole.map(|record| record[0]).collect();
        vfs.sync_dir(Path::new("")).unwrap();
        Self { bug, file, keys, staged: Vec::new() }
    }

    fn write(&mut self, key: u64) {
        let at = 16 * self.keys.len() as u64;
        write_all(&*self.file, &pack(&[key, !key]), at).unwrap();
        self.keys.insert(key);
    }
}

impl Node for Log {
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        _: Peer,
        _: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        let key = unpack(&body)[0];
        if self.bug {
            self.write(key);
            ctx.reply(call, "stored");
        } else {
            self.staged.push((key, call));
        }
        ctx.complete_after(Cost::Sync, key);
    }

    fn on_completion(&mut self, ctx: &mut Ctx<'_>, _: u64) {
        for (key, call) in std::mem::take(&mut self.staged) {
            self.write(key);
            self.file.sync_data().unwrap();
            ctx.reply(call, "stored");
        }
        self.file.sync_data().unwrap();
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Crash, Class::DiskTorn, Class::CrashMid, Class::Pause, Class::Clog];
    super::campaign("ack-before-sync", bug, &classes, |bug| {
        Toy::new(move |sim| {
            sim.add(node(1), move |ctx| Log::boot(ctx, bug));
            appender::add(sim);
            sim.add_checker(Durable::new("acked", "present"));
        })
        .finish(|sim| {
            sim.with_node(node(1), |log: &mut Log, ctx| {
                log.keys.iter().for_each(|key| ctx.fact("present", *key, 1));
            });
        })
    })
}
