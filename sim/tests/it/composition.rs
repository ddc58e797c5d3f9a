//! A user's node of several parts (liveness, a store, a log on disk), with clients, under every
//! fault of the swarm: once as one sans-IO node, once as tasks around an endpoint. Both have to
//! give the same verdicts.

mod parts;
mod sans_io;
mod tasks;

use parts::{BEATS, KEYS, STORE, owner};
use quorate_sim::specs::{Kv, KvOp, KvRet};
use quorate_sim::*;
use std::time::Duration;

/// How a node is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    SansIo,
    Tasks,
}

#[derive(Clone)]
struct Client;

impl ClientWork for Client {
    type Op = KvOp;
    type Ret = KvRet;

    fn next(&mut self, rng: &mut Rng) -> KvOp {
        let key = KEYS[rng.index(KEYS.len())];
        if rng.flip() { KvOp::read(key) } else { KvOp::write(key, rng.below(1_000).cast_signed()) }
    }

    fn servers(&self, op: &KvOp) -> Vec<NodeId> {
        vec![owner(op.key())]
    }

    fn request(&mut self, op: &KvOp) -> Bytes {
        match op {
            KvOp::Write { key, value } => format!("{key} {value}").into(),
            other => other.key().to_owned().into(),
        }
    }

    fn read(&mut self, op: &KvOp, body: &Bytes) -> KvRet {
        let value = std::str::from_utf8(body).unwrap().parse().ok();
        if matches!(op, KvOp::Read { .. }) { KvRet::Value(value) } else { KvRet::Done }
    }

    fn channel(&self) -> ChannelId {
        STORE
    }
}

/// Three nodes, each the owner of one key, and three clients.
struct Shop {
    form: Form,
    /// Acknowledges what is not durable: has to be caught.
    eager: bool,
    recorder: Recorder<KvOp, KvRet>,
    answered_at_heal: Option<u64>,
}

impl Shop {
    fn new(form: Form, eager: bool) -> Self {
        Self { form, eager, recorder: Recorder::new(), answered_at_heal: None }
    }

    fn answered(sim: &Sim) -> u64 {
        let clients = (11..=13).map(NodeId::new);
        clients.filter_map(|id| sim.node::<ClosedLoop<Client>>(id)).map(|c| c.finished()).sum()
    }
}

impl Workload for Shop {
    fn setup(&mut self, sim: &mut Sim) {
        let eager = self.eager;
        for id in (1..=3).map(NodeId::new) {
            match self.form {
                Form::SansIo => sim.add(id, move |ctx| sans_io::App::new(ctx, eager)),
                Form::Tasks => sim.add_async(id, move |host| Box::pin(tasks::run(host, eager))),
            }
        }
        for id in (11..=13).map(NodeId::new) {
            let recorder = self.recorder.clone();
            sim.add_client(id, move |ctx| ClosedLoop::new(ctx, Client, recorder.clone()));
        }
        sim.add_checker(Linearizable::new(Kv, &self.recorder));
    }

    /// The clients are served again: each key was read since.
    fn healed(&mut self, sim: &mut Sim) -> Result<bool, String> {
        let answered = Self::answered(sim);
        let before = *self.answered_at_heal.get_or_insert(answered);
        Ok(answered >= before + 60)
    }
}

fn campaign(form: Form, eager: bool) -> Campaign<Shop> {
    let name = format!("composition-{form:?}");
    let swarm = Swarm::default().without(Class::Wipe).without(Class::Duplicate);
    Campaign::new(&name, move |_| Shop::new(form, eager))
        .swarm(swarm.range(Class::DiskStall, 1_000_000..=3_000_000_000))
        .chaos(Duration::from_secs(20))
        .require(&["opened", "reopened", "replayed", "appended", "beat", "missed"])
}

#[test]
fn composition_gives_the_same_verdicts_in_both_forms() {
    for form in [Form::SansIo, Form::Tasks] {
        let report = match campaign(form, false).seeds(100).run() {
            Ok(report) => report,
            Err(failure) => panic!("{form:?}: {failure}"),
        };
        println!("{form:?}: {report}");
        let beats = report.traffic.get(&BEATS).copied().unwrap_or_default();
        assert!(beats.messages_in > 0 && report.traffic[&STORE].messages_in > 0);
    }
}

#[test]
fn composition_that_acknowledges_too_early_is_caught_in_both_forms() {
    for form in [Form::SansIo, Form::Tasks] {
        let caught = match campaign(form, true).must_fail(100) {
            Ok(caught) => caught,
            Err(missed) => panic!("{form:?}: {missed}"),
        };
        let (checker, seeds, steps) =
            (&caught.checker, caught.seeds_tried, caught.plan.steps.len());
        println!("{form:?}: caught by {checker} after {seeds} seeds, plan {steps} steps");
        assert_eq!(caught.checker, "linearizable", "{}", caught.message);
    }
}
