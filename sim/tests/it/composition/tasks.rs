//! The node as tasks around an endpoint, as it would run in production.

use super::parts::{BEATS, Liveness, STORE, Store, open, peers};
use quorate_sim::Host;
use quorate_transport::{
    ChannelOptions, Endpoint, EndpointConfig, Inbound, Responder, Runtime, sleep,
};
use quorate_wal::{Ack, Batch, Turn, Wal};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// One opening of the log, with what it held.
struct Opened {
    log: Arc<OnceLock<Wal>>,
    store: Mutex<Store>,
}

struct App {
    host: Host,
    runtime: Arc<dyn Runtime>,
    eager: bool,
    opened: Mutex<Option<Arc<Opened>>>,
}

pub(super) async fn run(host: Host, eager: bool) {
    let config = EndpointConfig::default();
    let endpoint = Endpoint::start_with(host.transport(), host.runtime(), config).unwrap();
    let runtime = host.runtime();
    let app = Arc::new(App { host, runtime, eager, opened: Mutex::default() });
    let beats = endpoint.channel(BEATS, ChannelOptions::new()).unwrap();
    app.runtime.spawn("beats", Box::pin(beat(Arc::clone(&app), beats)));
    app.open().await;
    let mut calls = endpoint.channel(STORE, ChannelOptions::new()).unwrap();
    while let Some(inbound) = calls.recv().await {
        if let Inbound::Call { body, reply, .. } = inbound {
            let app_ = Arc::clone(&app);
            app.runtime.spawn("call", Box::pin(async move { app_.answer(&body, reply).await }));
        }
    }
}

async fn beat(app: Arc<App>, beats: quorate_transport::Channel) {
    let (sender, mut receiver) = beats.split();
    let liveness = Arc::new(Mutex::new(Liveness::new(app.runtime.now())));
    let (heard, of_app) = (Arc::clone(&liveness), Arc::clone(&app));
    app.runtime.spawn(
        "hears",
        Box::pin(async move {
            while let Some(inbound) = receiver.recv().await {
                if let Inbound::Datagram { from, .. } = inbound {
                    of_app.host.reached("beat");
                    heard.lock().unwrap().handle_message(of_app.runtime.now(), from.node);
                }
            }
        }),
    );
    loop {
        if liveness.lock().unwrap().handle_timeout(app.runtime.now()) {
            app.host.reached("missed");
        }
        for peer in peers(app.host.id()) {
            sender.send_datagram(peer, b"beat").unwrap();
        }
        sleep(&*app.runtime, super::parts::BEAT_EVERY).await;
    }
}

impl App {
    /// Opens the log; until the disk lets it.
    async fn open(&self) {
        *self.opened.lock().unwrap() = None;
        loop {
            let log = Arc::new(OnceLock::<Wal>::new());
            let of_worker = Arc::clone(&log);
            let turn = move || of_worker.get().map_or(Turn::Park, Wal::turn);
            let unpark = self.host.worker("log", turn);
            match open(self.host.vfs(), move || unpark.unpark()) {
                Ok((wal, store)) => {
                    self.host.reached("opened");
                    if !store.read("a").is_empty() || !store.read("b").is_empty() {
                        self.host.reached("replayed");
                    }
                    assert!(log.set(wal).is_ok());
                    let opened = Opened { log, store: Mutex::new(store) };
                    *self.opened.lock().unwrap() = Some(Arc::new(opened));
                    return;
                }
                Err(why) => self.host.note(why),
            }
            sleep(&*self.runtime, Duration::from_millis(50)).await;
        }
    }

    async fn answer(&self, body: &[u8], reply: Responder) {
        let opened = self.opened.lock().unwrap().clone();
        let Some(opened) = opened else { return }; // dropped: nothing is known
        let text = std::str::from_utf8(body).unwrap();
        if !text.contains(' ') {
            let value = opened.store.lock().unwrap().read(text);
            let _ = reply.reply(value.into_bytes());
            return;
        }
        let log = opened.log.get().unwrap();
        let Ok(staged) = log.stage(Batch::new().record(body), Ack::Durable) else { return };
        let lsn = staged.lsn();
        if self.eager {
            opened.store.lock().unwrap().apply(lsn.as_u64(), body);
            let _ = reply.reply(b"");
            let _not_waited_for = staged.detach();
            return;
        }
        if staged.await.is_ok() {
            self.host.reached("appended");
            opened.store.lock().unwrap().apply(lsn.as_u64(), body);
            let _ = reply.reply(b"");
            return;
        }
        // The log has stopped. The first to see it opens it again.
        let is_first = {
            let mut current = self.opened.lock().unwrap();
            let same = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &opened));
            if same {
                *current = None;
            }
            same
        };
        drop(opened);
        if is_first {
            self.host.reached("reopened");
            self.open().await;
        }
    }
}
