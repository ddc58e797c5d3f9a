//! The node: who is there, numbers that are stored, and a log on disk, wired into one.
use quorate_sim::*;
use quorate_wal::{Ack, Batch, Config, Driver, ReadBound, Turn, Wal};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::{iter::repeat_with, sync::Arc, time::Duration};
const CH: ChannelId = ChannelId::new(16);
#[derive(Default)]
pub(crate) struct App {
    pub(crate) heard: BTreeMap<NodeId, Monotonic>, // the membership
    pub(crate) numbers: BTreeSet<u64>,             // the store
    pub(crate) log: Option<Wal>,
    waiting: VecDeque<(u64, u64)>, // where in the log, and which number: not yet durable
    timers: Timers<&'static str>,
}
impl App {
    pub(crate) fn boot(ctx: &mut Ctx<'_>) -> Self {
        let mut app = Self::default();
        ["beat", "write"].into_iter().for_each(|part| app.timers.set(part, Some(ctx.now())));
        app.open(ctx);
        app
    }
    fn open(&mut self, ctx: &mut Ctx<'_>) {
        (self.log, self.numbers) = (None, BTreeSet::new());
        self.waiting.clear();
        let config = Config::embedded().batch_bytes_max(4 << 10).driver(Driver::manual(|| {}));
        let (disk, config) = (Arc::new(ctx.disk()), config.build().unwrap());
        let Ok((log, report)) = Wal::open_on(disk, "log".as_ref(), config, None) else { return };
        for record in log.read(report.first, ReadBound::Durable).flatten() {
            self.numbers.insert(u64::from_le_bytes(record.bytes[..].try_into().unwrap()));
        }
        self.log = Some(log);
    }
    fn write(&mut self, ctx: &mut Ctx<'_>) {
        let Some(log) = &self.log else { return self.open(ctx) }; // the disk did not let it
        let number = ctx.seed();
        let staged = log.stage(Batch::new().record(&number.to_le_bytes()), Ack::Durable);
        self.waiting.extend(staged.map(|staged| (staged.detach().as_u64(), number)));
        ctx.complete_after(Cost::Sync, 0);
    }
}
fn other(ctx: &Ctx<'_>) -> NodeId {
    NodeId::new(3 - ctx.id().value())
}
impl Node for App {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {
        ctx.reached("told");
    }
    fn on_completion(&mut self, ctx: &mut Ctx<'_>, _: u64) {
        let Some(log) = &self.log else { return };
        let turned = repeat_with(|| log.turn()).find(|turn| *turn != Turn::Again);
        let durable = log.marks().durable.as_u64();
        let done = self.waiting.iter().take_while(|(lsn, _)| *lsn <= durable).count();
        for (_, number) in self.waiting.drain(..done) {
            self.numbers.insert(number);
            ctx.fact("acknowledged", number, 1);
            let _ = ctx.send(other(ctx), Lane::Data, CH, "one more");
        }
        if turned == Some(Turn::Done) {
            self.open(ctx); // a sync failed: what it did not acknowledge may be gone
        }
    }
    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: ChannelId, _: Bytes) {
        self.heard.insert(from.node, ctx.now());
    }
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        while let Some(part) = self.timers.due(now) {
            self.timers.set(part, Some(now.saturating_add(Duration::from_millis(100))));
            if part == "write" {
                self.write(ctx);
            } else {
                self.heard.retain(|_, at| now.since(*at) < Duration::from_secs(2));
                let _ = ctx.send_datagram(other(ctx), CH, "beat");
            }
        }
    }
    fn poll_timeout(&self) -> Option<Monotonic> {
        self.timers.next()
    }
}
