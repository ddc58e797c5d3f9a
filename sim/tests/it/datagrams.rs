//! Datagrams: lost, doubled, overtaking, corrupted; and the samples that pass the real codec.

use crate::disk::seeds::{Replay, seeds};
use quorate_sim::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const CHANNEL: ChannelId = ChannelId::new(17);

type Heard = Rc<RefCell<Vec<(Peer, Bytes)>>>;

struct Ear(Heard);

impl Node for Ear {
    fn on_datagram(&mut self, _: &mut Ctx<'_>, from: Peer, channel: ChannelId, body: Bytes) {
        assert_eq!(channel, CHANNEL);
        self.0.borrow_mut().push((from, body));
    }

    fn on_message(&mut self, _: &mut Ctx<'_>, from: Peer, _: Lane, _: ChannelId, body: Bytes) {
        self.0.borrow_mut().push((from, body));
    }
}

fn id(n: u64) -> NodeId {
    NodeId::new(n)
}

/// Node 1 talks, node 2 hears.
fn pair(config: SimConfigBuilder) -> (Sim, Heard) {
    let mut sim = Sim::new(config.build().unwrap());
    let heard = Heard::default();
    let ears = heard.clone();
    sim.add(id(1), |_| Ear(Heard::default()));
    sim.add(id(2), move |_| Ear(ears.clone()));
    sim.run_for(Duration::from_millis(1)).unwrap();
    (sim, heard)
}

fn shoot(sim: &mut Sim, body: Bytes) -> Result<(), SendError> {
    let send = |_: &mut Ear, ctx: &mut Ctx<'_>| ctx.send_datagram(id(2), CHANNEL, body);
    sim.with_node(id(1), send).unwrap()
}

fn number(n: u64) -> Bytes {
    Bytes::copy_from_slice(&n.to_le_bytes().repeat(4))
}

/// Numbers as they arrived; every body is whole.
fn numbers(heard: &Heard) -> Vec<u64> {
    let whole = |body: &Bytes| {
        let n = u64::from_le_bytes(body[..8].try_into().unwrap());
        assert_eq!(*body, number(n), "a body was altered");
        n
    };
    heard.borrow().iter().map(|(_, body)| whole(body)).collect()
}

/// Sends so many under some faults.
fn volley(config: SimConfigBuilder, faults: &[Fault], n: u64) -> (Sim, Heard) {
    let (mut sim, heard) = pair(config);
    faults.iter().for_each(|fault| sim.apply(fault.clone()));
    for i in 0..n {
        shoot(&mut sim, number(i)).unwrap();
        sim.run_for(Duration::from_micros(20)).unwrap();
    }
    sim.run_for(Duration::from_secs(10)).unwrap();
    (sim, heard)
}

#[test]
fn without_faults_each_arrives_once_and_in_any_order() {
    let (sim, heard) = volley(SimConfig::lan(1), &[], 1_000);
    let mut got = numbers(&heard);
    assert!(!got.is_sorted(), "each takes its own time");
    got.sort_unstable();
    assert_eq!(got, Vec::from_iter(0..1_000));
    assert_eq!(sim.coverage().class(Class::Reorder).effective, 0, "that is no fault");
    assert_eq!(sim.traffic(id(1), CHANNEL).messages_out, 1_000);
    assert_eq!(sim.traffic(id(2), CHANNEL).bytes_in, 32_000);
}

/// What arrived is what was sent, less what was lost, and what was doubled more often: counted.
#[test]
fn loss_and_copies_are_counted_one_by_one() {
    for seed in seeds(30) {
        let _replay = Replay { test: "datagrams::loss", seed };
        let mut rng = Rng::stream(seed, "datagrams", 0, 0);
        let loss = u32::try_from(rng.below(500_000)).unwrap();
        let duplicate = u32::try_from(rng.below(300_000)).unwrap();
        let percent = u32::try_from(rng.between(100, 1_000)).unwrap();
        let faults = [
            Fault::Loss { ppm: loss },
            Fault::Duplicate { ppm: duplicate },
            Fault::Delay { percent },
        ];
        let (sim, heard) = volley(SimConfig::lan(seed), &faults, 500);
        let got = numbers(&heard);
        let mut distinct = got.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let count = |class| sim.coverage().class(class).effective;
        assert_eq!(500 - distinct.len() as u64, count(Class::Loss));
        assert_eq!((got.len() - distinct.len()) as u64, count(Class::Duplicate));
        assert!(got.iter().all(|n| got.iter().filter(|m| *m == n).count() <= 4));
        assert_eq!(count(Class::Delay) > 0, percent > 100);
    }
}

#[test]
fn a_checksum_catches_flipped_bits() {
    let (sim, heard) = volley(SimConfig::lan(1), &[Fault::Corrupt { ppm: 300_000 }], 2_000);
    let got = numbers(&heard).len() as u64;
    let corrupted = sim.coverage().class(Class::Corrupt).effective;
    assert!((500..700).contains(&corrupted), "{corrupted}");
    assert_eq!(got, 2_000 - corrupted);
}

#[test]
fn flipped_bits_arrive_if_no_checksum_tells() {
    let config = SimConfig::lan(1).corrupt_undetected(true);
    let (mut sim, heard) = pair(config);
    sim.apply(Fault::Corrupt { ppm: 300_000 });
    for _ in 0..2_000 {
        shoot(&mut sim, Bytes::from_static(&[0; 32])).unwrap();
    }
    sim.run_for(Duration::from_secs(10)).unwrap();
    let flips = |body: &Bytes| body.iter().map(|byte| byte.count_ones()).sum::<u32>();
    let flipped: Vec<u32> = heard.borrow().iter().map(|(_, body)| flips(body)).collect();
    assert_eq!(flipped.len(), 2_000, "none was dropped");
    let altered = flipped.iter().filter(|bits| **bits > 0).count() as u64;
    assert_eq!(altered, sim.coverage().class(Class::Corrupt).effective);
    assert!((500..700).contains(&altered) && flipped.iter().all(|bits| *bits <= 8), "{altered}");
    // An empty body has no bits to flip.
    let before = altered;
    (0..100).for_each(|_| shoot(&mut sim, Bytes::new()).unwrap());
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(sim.coverage().class(Class::Corrupt).effective, before);
}

#[test]
fn a_datagram_is_no_larger_than_a_packet() {
    let (mut sim, heard) = pair(SimConfig::lan(1));
    assert_eq!(shoot(&mut sim, vec![1; 1_192].into()), Ok(()));
    let refused = Err(SendError::TooLarge { bytes: 1_193, max: 1_192 });
    assert_eq!(shoot(&mut sim, vec![1; 1_193].into()), refused);
    let to = |to| move |_: &mut Ear, ctx: &mut Ctx<'_>| ctx.send_datagram(id(to), CHANNEL, "");
    assert_eq!(sim.with_node(id(1), to(1)), Some(Err(SendError::SelfAddressed)));
    assert_eq!(sim.with_node(id(1), to(9)), Some(Err(SendError::UnknownPeer)));
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(heard.borrow().len(), 1);
}

/// It goes to whatever lives there now, under the name of the life that sent it.
#[test]
fn a_datagram_finds_the_next_life_and_names_the_one_that_sent_it() {
    let far = Duration::from_millis(500);
    let (mut sim, heard) = pair(SimConfig::lan(1).latency(far, far));
    let node = |n| id(n);
    shoot(&mut sim, number(1)).unwrap();
    sim.run_for(Duration::from_millis(1)).unwrap();
    for n in [1, 2] {
        sim.apply(Fault::Crash { node: node(n), disk: CrashDisk::Random });
        sim.apply(Fault::Restart { node: node(n) });
    }
    sim.run_for(Duration::from_millis(1)).unwrap();
    shoot(&mut sim, number(2)).unwrap();
    sim.apply(Fault::Crash { node: node(2), disk: CrashDisk::Random });
    sim.run_for(Duration::from_millis(1)).unwrap();
    shoot(&mut sim, number(3)).unwrap();
    sim.apply(Fault::Restart { node: node(2) });
    sim.run_for(Duration::from_secs(30)).unwrap();
    let mut got: Vec<(u64, u64)> = heard
        .borrow()
        .iter()
        .map(|(from, body)| (u64::from(body[0]), from.incarnation.value()))
        .collect();
    got.sort_unstable();
    assert_eq!(got, [(1, 1), (2, 2), (3, 2)]);
    // To the dead it is lost.
    shoot(&mut sim, number(4)).unwrap();
    sim.apply(Fault::Crash { node: node(2), disk: CrashDisk::Random });
    sim.run_for(Duration::from_secs(30)).unwrap();
    assert_eq!(heard.borrow().len(), 3);
}

/// A handler that dies before it comes to a line has not sent what that line sends, however often
/// the node dies after that.
#[test]
fn what_would_have_left_after_the_death_does_not() {
    for (model, crashes) in [
        (LaneModel::Session, 1),
        (LaneModel::Session, 3),
        (LaneModel::Lossy, 1),
        (LaneModel::Lossy, 3),
    ] {
        assert_eq!(left_before_the_death(model, crashes), [0, 1, 2], "{model:?} {crashes}");
    }
}

fn left_before_the_death(model: LaneModel, crashes: u32) -> Vec<u64> {
    let (mut sim, heard) = pair(SimConfig::lan(1).lane_model(model));
    let meet = |_: &mut Ear, ctx: &mut Ctx<'_>| ctx.send(id(2), Lane::Data, CHANNEL, number(0));
    sim.with_node(id(1), meet).unwrap().unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    let busy = |_: &mut Ear, ctx: &mut Ctx<'_>| {
        ctx.send_datagram(id(2), CHANNEL, number(1)).unwrap();
        ctx.send(id(2), Lane::Data, CHANNEL, number(2)).unwrap();
        ctx.busy(Duration::from_secs(2));
        ctx.send_datagram(id(2), CHANNEL, number(3)).unwrap();
        ctx.send(id(2), Lane::Data, CHANNEL, number(4)).unwrap();
    };
    sim.with_node(id(1), busy).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    for _ in 0..crashes {
        sim.apply(Fault::Crash { node: id(1), disk: CrashDisk::Random });
        sim.apply(Fault::Restart { node: id(1) });
        sim.run_for(Duration::from_millis(1)).unwrap();
    }
    sim.run_for(Duration::from_secs(30)).unwrap();
    let mut got = numbers(&heard);
    got.sort_unstable();
    got
}

#[test]
fn datagrams_pass_partitions_of_lanes_alone() {
    for (plane, lane, datagram) in
        [(Plane::Both, 0, 0), (Plane::Lanes, 0, 1), (Plane::Datagrams, 1, 0)]
    {
        let (mut sim, heard) = pair(SimConfig::lan(1));
        sim.apply(Fault::Partition { shape: Shape::Isolate(id(2)), plane });
        shoot(&mut sim, number(7)).unwrap();
        let send = |_: &mut Ear, ctx: &mut Ctx<'_>| ctx.send(id(2), Lane::Data, CHANNEL, number(8));
        sim.with_node(id(1), send).unwrap().unwrap();
        sim.run_for(Duration::from_secs(2)).unwrap();
        let got = numbers(&heard);
        assert_eq!(got.iter().filter(|n| **n == 8).count(), lane, "{plane:?}");
        assert_eq!(got.iter().filter(|n| **n == 7).count(), datagram, "{plane:?}");
        assert!(sim.coverage().class(Class::Partition).effective > 0);
    }
}

/// One in sixteen is decoded from the bytes of the real encoder: it comes in memory of its own.
#[test]
fn samples_pass_the_real_codec() {
    static BODY: [u8; 64] = [7; 64];
    for (on, sampled) in [(true, 320 / 16), (false, 0)] {
        let (mut sim, heard) = pair(SimConfig::lan(1).wire_check(on));
        for _ in 0..160 {
            shoot(&mut sim, Bytes::from_static(&BODY)).unwrap();
            let send = |_: &mut Ear, ctx: &mut Ctx<'_>| {
                ctx.send(id(2), Lane::Data, CHANNEL, Bytes::from_static(&BODY))
            };
            sim.with_node(id(1), send).unwrap().unwrap();
        }
        sim.run_for(Duration::from_secs(10)).unwrap();
        let heard = heard.borrow();
        assert_eq!(heard.len(), 320);
        assert!(heard.iter().all(|(_, body)| **body == BODY));
        let own = heard.iter().filter(|(_, body)| body.as_ptr() != BODY.as_ptr()).count();
        assert_eq!(own, sampled);
    }
}
