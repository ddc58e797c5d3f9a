//! The node as one state machine.

use super::parts::{BEATS, Liveness, Store, open, peers};
use quorate_sim::*;
use quorate_wal::{Ack, Batch, Turn, Wal};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Liveness,
    Open,
}

pub(super) struct App {
    eager: bool,
    liveness: Liveness,
    store: Store,
    log: Option<Wal>,
    timers: Timers<Part>,
    /// Written, and not yet durable.
    waiting: VecDeque<(u64, Bytes, Option<InboundCall>)>,
    /// Disk work is under way.
    working: bool,
}

impl App {
    pub(super) fn new(ctx: &mut Ctx<'_>, eager: bool) -> Self {
        let now = ctx.now();
        let mut app = Self {
            eager,
            liveness: Liveness::new(now),
            store: Store::default(),
            log: None,
            timers: Timers::new(),
            waiting: VecDeque::new(),
            working: false,
        };
        app.timers.set(Part::Liveness, Some(now));
        app.open(ctx);
        app
    }

    /// Opens the log; again in a while, if the disk does not let it.
    fn open(&mut self, ctx: &mut Ctx<'_>) {
        self.log = None;
        self.waiting.clear(); // their callers learn that nothing is known
        match open(ctx.disk(), || {}) {
            Ok((log, store)) => {
                ctx.reached("opened");
                if !store.read("a").is_empty() || !store.read("b").is_empty() {
                    ctx.reached("replayed");
                }
                (self.log, self.store) = (Some(log), store);
                self.timers.set(Part::Open, None);
            }
            Err(why) => {
                ctx.note(why);
                let again = ctx.now().saturating_add(Duration::from_millis(50));
                self.timers.set(Part::Open, Some(again));
            }
        }
    }

    /// Asks for disk work, unless some is under way.
    fn work(&mut self, ctx: &mut Ctx<'_>) {
        if !std::mem::replace(&mut self.working, true) {
            ctx.complete_after(Cost::Sync, 0);
        }
    }
}

impl Node for App {
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        _: Peer,
        _: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        let Some(log) = &self.log else { return }; // dropped: nothing is known
        let text = std::str::from_utf8(&body).unwrap();
        if !text.contains(' ') {
            let value = self.store.read(text);
            return ctx.reply(call, value);
        }
        let Ok(staged) = log.stage(Batch::new().record(&body), Ack::Durable) else { return };
        let lsn = staged.detach().as_u64();
        let mut call = Some(call);
        if self.eager {
            self.store.apply(lsn, &body);
            ctx.reply(call.take().unwrap(), "");
        }
        self.waiting.push_back((lsn, body, call));
        self.work(ctx);
    }

    fn on_completion(&mut self, ctx: &mut Ctx<'_>, _: u64) {
        self.working = false;
        let Some(log) = &self.log else { return };
        let mut turn = log.turn();
        while turn == Turn::Again {
            turn = log.turn();
        }
        let durable = log.marks().durable.as_u64();
        let done = self.waiting.iter().take_while(|(lsn, ..)| *lsn <= durable).count();
        for (lsn, record, call) in self.waiting.drain(..done) {
            self.store.apply(lsn, &record);
            ctx.reached("appended");
            if let Some(call) = call {
                ctx.reply(call, "");
            }
        }
        if turn == Turn::Done {
            ctx.reached("reopened");
            self.open(ctx);
        } else if !self.waiting.is_empty() {
            self.work(ctx);
        }
    }

    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, from: Peer, channel: ChannelId, _: Bytes) {
        assert_eq!(channel, BEATS);
        ctx.reached("beat");
        let now = ctx.now();
        self.liveness.handle_message(now, from.node);
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        while let Some(part) = self.timers.due(now) {
            match part {
                Part::Liveness => {
                    if self.liveness.handle_timeout(now) {
                        ctx.reached("missed");
                    }
                    for peer in peers(ctx.id()) {
                        ctx.send_datagram(peer, BEATS, "beat").unwrap();
                    }
                    self.timers.set(part, Some(self.liveness.poll_timeout()));
                }
                Part::Open => self.open(ctx),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.timers.next()
    }
}
