//! One thing at a time: what a lane does when its queue is full, its way blocked, its peer gone.

use super::log::{Log, Talker, judge};
use quorate_sim::*;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn id(n: u64) -> NodeId {
    NodeId::new(n)
}

/// Two nodes.
fn pair(config: SimConfigBuilder) -> (Sim, Log) {
    let mut sim = Sim::new(config.build().unwrap());
    let log = Log::default();
    for n in 1..=2 {
        let log = log.clone();
        sim.add(id(n), move |_| Talker::new(&log));
    }
    sim.run_for(MS).unwrap();
    (sim, log)
}

/// The same, with a session that has been used.
fn met(config: SimConfigBuilder) -> (Sim, Log) {
    let (mut sim, log) = pair(config);
    say(&mut sim, 1, 2, 40).unwrap();
    sim.run_for(secs(30)).unwrap();
    assert_eq!(log.got(2, 1).len(), 1);
    (sim, log)
}

fn say(sim: &mut Sim, from: u64, to: u64, len: usize) -> Result<u64, SendError> {
    let say = |node: &mut Talker, ctx: &mut Ctx<'_>| node.say(ctx, to, Lane::Control, len);
    sim.with_node(id(from), say).unwrap()
}

fn block(from: u64, to: u64) -> Fault {
    Fault::Block { from: id(from), to: id(to), plane: Plane::Both }
}

const HEAL: Fault = Fault::Heal { swizzle: false };

fn crash(node: u64) -> Fault {
    Fault::Crash { node: id(node), disk: CrashDisk::Random }
}

/// What is accepted while nothing leaves.
fn fill(sim: &mut Sim, len: usize) -> u64 {
    let mut accepted = 0;
    while accepted < 100_000 {
        match say(sim, 1, 2, len) {
            Ok(_) => accepted += 1,
            Err(error) => {
                assert_eq!(error, SendError::Full);
                return accepted;
            }
        }
    }
    panic!("a queue without an end");
}

#[test]
fn a_full_queue_says_so_and_room_comes_back() {
    let config = SimConfig::lan(1).queue_bytes_max(Lane::Control, 64 << 10);
    let (mut sim, log) = met(config);
    sim.apply(block(1, 2));
    let accepted = fill(&mut sim, 4_000);
    // 64 KiB in the queue, 128 KiB in the kernels.
    assert!((32..=50).contains(&accepted), "{accepted} frames of 4 kB");
    sim.apply(HEAL);
    sim.run_for(secs(5)).unwrap();
    assert_eq!(log.got(2, 1).len() as u64, 1 + accepted);
    assert_eq!(fill_once(&mut sim), Ok(1 + accepted), "room again");
}

fn fill_once(sim: &mut Sim) -> Result<u64, SendError> {
    say(sim, 1, 2, 4_000)
}

/// Many small frames fill a queue too: before there is a session, and within one handler.
#[test]
fn a_queue_takes_so_many_frames() {
    let (mut sim, log) = pair(SimConfig::lan(1).queue_frames_max(16));
    let in_one = |node: &mut Talker, ctx: &mut Ctx<'_>| {
        (0..40).map(|_| node.say(ctx, 2, Lane::Control, 0)).take_while(Result::is_ok).count()
    };
    assert_eq!(sim.with_node(id(1), in_one), Some(16));
    assert_eq!(say(&mut sim, 1, 2, 0), Err(SendError::Full), "they still wait");
    sim.run_for(secs(1)).unwrap();
    assert_eq!(log.got(2, 1).len(), 16);
    assert_eq!(say(&mut sim, 1, 2, 0), Ok(16));
    let too_large = say(&mut sim, 1, 2, (64 << 10) + 1);
    assert_eq!(too_large, Err(SendError::TooLarge { bytes: (64 << 10) + 1, max: 64 << 10 }));
}

#[test]
fn what_was_blocked_for_a_while_arrives_in_order_and_late() {
    for seed in 0..20 {
        let (mut sim, log) = met(SimConfig::lan(seed));
        sim.apply(block(1, 2));
        (0..10).for_each(|_| assert!(say(&mut sim, 1, 2, 0).is_ok()));
        // The other direction is open.
        say(&mut sim, 2, 1, 0).unwrap();
        sim.run_for(secs(8)).unwrap();
        assert_eq!((log.got(2, 1).len(), log.got(1, 2).len()), (1, 1));
        sim.apply(HEAL);
        let healed = sim.now();
        sim.run_for(secs(8)).unwrap();
        let got = log.got(2, 1);
        assert_eq!(got.iter().map(|(_, n)| *n).collect::<Vec<_>>(), Vec::from_iter(0..11));
        let late = got[1].0.since(healed);
        assert!((200 * MS..=3_100 * MS).contains(&late), "{late:?} after the heal");
        assert_eq!(log.links(1, 2).len(), 1, "no session ended");
        judge(&log.lives(), true);
    }
}

#[test]
fn what_was_blocked_for_too_long_is_lost_and_each_end_learns_in_its_own_time() {
    for seed in 0..20 {
        let (mut sim, log) = met(SimConfig::lan(seed));
        let cut = sim.now();
        sim.apply(if seed % 2 == 0 { block(1, 2) } else { block(2, 1) });
        (0..10).for_each(|_| assert!(say(&mut sim, 1, 2, 0).is_ok()));
        sim.run_for(secs(15)).unwrap();
        let downs = [log.links(1, 2)[1], log.links(2, 1)[1]];
        for (at, up, _) in downs {
            let after = at.since(cut);
            assert!(!up && (secs(10)..=secs(12)).contains(&after), "{after:?}");
        }
        assert_ne!(downs[0].0, downs[1].0, "each in its own time");
        sim.apply(HEAL);
        sim.run_for(secs(5)).unwrap();
        assert_eq!(log.got(2, 1).len(), if seed % 2 == 0 { 1 } else { 11 });
        assert!(say(&mut sim, 1, 2, 0).is_ok());
        sim.run_for(secs(2)).unwrap();
        assert_eq!(log.got(2, 1).last().unwrap().1, 11, "a session of its own");
        judge(&log.lives(), true);
    }
}

/// A second cut before the first has healed goes on where that began.
#[test]
fn a_cut_that_follows_a_cut_is_one() {
    let (mut sim, log) = met(SimConfig::lan(3));
    let cut = sim.now();
    sim.apply(block(1, 2));
    sim.run_for(secs(6)).unwrap();
    // Healed pair by pair in two seconds; by then the next cut holds.
    sim.apply(Fault::Heal { swizzle: true });
    sim.apply(block(2, 1));
    sim.run_for(secs(10)).unwrap();
    let after = log.links(1, 2)[1].0.since(cut);
    assert!(after <= secs(12), "{after:?}");
}

/// How long a dial takes to fail, and for how long nothing is accepted after each failure.
fn failures(sim: &mut Sim, n: usize) -> Vec<(Duration, Duration)> {
    let mut out = Vec::new();
    while out.len() < n {
        let began = sim.now();
        say(sim, 1, 2, 0).unwrap();
        let is_down = |sim: &mut Sim| say(sim, 1, 2, 0) == Err(SendError::Disconnected);
        while !is_down(sim) {
            sim.run_for(MS).unwrap();
        }
        let failed = sim.now();
        while is_down(sim) {
            sim.run_for(MS).unwrap();
        }
        out.push((failed.since(began), sim.now().since(failed)));
    }
    out
}

#[test]
fn a_dead_process_refuses_and_a_silent_machine_does_not_answer() {
    let (mut refused, mut silent) = (0, 0);
    for seed in 0..40 {
        let (mut sim, _) = pair(SimConfig::lan(seed));
        sim.apply(crash(2));
        for (took, waits) in failures(&mut sim, 1) {
            if took < secs(2) {
                refused += 1;
            } else {
                assert!((secs(3)..secs(4)).contains(&took), "{took:?}");
                silent += 1;
            }
            assert!((20 * MS..=55 * MS).contains(&waits), "{waits:?}");
        }
    }
    assert!(refused >= 5 && silent >= 20, "{refused} refused, {silent} silent");
}

#[test]
fn who_fails_to_dial_waits_longer_each_time() {
    for seed in 0..3 {
        let (mut sim, log) = pair(SimConfig::lan(seed));
        sim.apply(crash(2));
        let waits: Vec<Duration> = failures(&mut sim, 8).into_iter().map(|(_, w)| w).collect();
        for (i, wait) in waits.iter().enumerate() {
            let most = (50 * MS * 2_u32.pow(i.try_into().unwrap())).min(secs(1));
            assert!((most / 2 - 5 * MS..=most + 5 * MS).contains(wait), "{i}: {waits:?}");
        }
        // Once it has met, it is as at first.
        sim.apply(Fault::Restart { node: id(2) });
        sim.run_for(secs(2)).unwrap();
        say(&mut sim, 1, 2, 0).unwrap();
        sim.run_for(secs(2)).unwrap();
        assert!(!log.got(2, 1).is_empty());
        sim.apply(crash(2));
        sim.run_for(secs(11)).unwrap();
        assert!(failures(&mut sim, 1)[0].1 <= 55 * MS);
    }
}

#[test]
fn dials_from_both_sides_make_one_session() {
    for seed in 0..20 {
        let (mut sim, log) = pair(SimConfig::lan(seed));
        say(&mut sim, 1, 2, 0).unwrap();
        say(&mut sim, 2, 1, 0).unwrap();
        sim.run_for(secs(5)).unwrap();
        let (one, other) = (log.links(1, 2), log.links(2, 1));
        assert_eq!((one.len(), one[0].2), (1, other[0].2), "{one:?} {other:?}");
        assert_eq!((log.got(1, 2).len(), log.got(2, 1).len()), (1, 1));
    }
}

#[test]
fn a_reset_delivers_what_has_left() {
    for seed in 0..20 {
        let (mut sim, log) = met(SimConfig::lan(seed).latency(100 * MS, 100 * MS));
        sim.run_for(secs(20)).unwrap();
        (0..10).for_each(|_| assert!(say(&mut sim, 1, 2, 0).is_ok()));
        sim.run_for(MS).unwrap();
        assert_eq!(log.got(2, 1).len(), 1, "still on their way");
        let reset = |_: &mut Talker, ctx: &mut Ctx<'_>| ctx.reset(id(2), Lane::Control);
        sim.with_node(id(1), reset).unwrap();
        sim.run_for(MS).unwrap();
        assert_eq!(log.links(1, 2).len(), 2, "this end is closed at once");
        sim.run_for(secs(20)).unwrap();
        assert_eq!(log.got(2, 1).len(), 11);
        let (last, down) = (log.got(2, 1)[10].0, log.links(2, 1)[1].0);
        assert!(last < down && down.since(last) < secs(20), "closed behind the last");
        judge(&log.lives(), true);
    }
}

/// A word that the session is over waits in the kernel behind what was sent before it.
#[test]
fn a_paused_peer_reads_everything_and_then_the_end() {
    let (mut sim, log) = met(SimConfig::lan(1).queue_bytes_max(Lane::Control, 1 << 20));
    sim.apply(Fault::Pause { node: id(2) });
    let mut accepted = 0;
    for _ in 0..30 {
        accepted += (0..20).filter(|_| say(&mut sim, 1, 2, 60_000).is_ok()).count();
        sim.run_for(secs(1)).unwrap();
    }
    // Its kernel, the kernels between, the queue: the rest was refused.
    assert!((30..=42).contains(&accepted), "{accepted} of 600 frames of 60 kB");
    assert_eq!(log.got(2, 1).len(), 1);
    let reset = |_: &mut Talker, ctx: &mut Ctx<'_>| ctx.reset(id(2), Lane::Control);
    sim.with_node(id(1), reset).unwrap();
    sim.run_for(secs(30)).unwrap();
    sim.apply(Fault::Resume { node: id(2) });
    sim.run_for(secs(5)).unwrap();
    let got = log.got(2, 1).len();
    assert!(got > 17 && got < accepted, "{got}: all that had left, nothing that came back");
    assert!(log.got(2, 1).last().unwrap().0 < log.links(2, 1)[1].0, "the end comes last");
    judge(&log.lives(), true);
}

#[test]
fn a_paused_peer_stops_who_sends_and_gets_it_all_when_it_goes_on() {
    let (mut sim, log) = met(SimConfig::lan(1));
    sim.apply(Fault::Pause { node: id(2) });
    let mut accepted = 1;
    for _ in 0..60 {
        accepted += (0..20).filter(|_| say(&mut sim, 1, 2, 60_000).is_ok()).count();
        sim.run_for(secs(1)).unwrap();
    }
    assert!((20..=32).contains(&accepted), "{accepted} of 1,200 frames of 60 kB");
    sim.apply(Fault::Resume { node: id(2) });
    sim.run_for(secs(5)).unwrap();
    assert_eq!(log.got(2, 1).len(), accepted);
    assert_eq!(log.links(1, 2).len(), 1, "its kernel kept the session up");
    judge(&log.lives(), true);
}

#[test]
fn corruption_breaks_the_session() {
    let (mut sim, log) = met(SimConfig::lan(1));
    sim.apply(Fault::Corrupt { ppm: 300_000 });
    for _ in 0..100 {
        (0..3).for_each(|_| _ = say(&mut sim, 1, 2, 100));
        sim.run_for(100 * MS).unwrap();
    }
    let broken = log.links(2, 1).iter().filter(|(_, up, _)| !up).count() as u64;
    assert!(broken > 30, "{broken}");
    assert_eq!(sim.coverage().class(Class::Corrupt).effective, broken);
    sim.apply(Fault::Corrupt { ppm: 0 });
    sim.run_for(secs(15)).unwrap();
    judge(&log.lives(), true);
}

/// The death of a node is not heard through a partition.
#[test]
fn no_word_of_a_death_passes_a_partition() {
    for seed in 0..20 {
        let (mut sim, log) = met(SimConfig::lan(seed));
        let cut = sim.now();
        sim.apply(Fault::Partition { shape: Shape::Isolate(id(1)), plane: Plane::Both });
        sim.run_for(secs(1)).unwrap();
        sim.apply(crash(2));
        sim.run_for(secs(20)).unwrap();
        let after = log.links(1, 2)[1].0.since(cut);
        assert!((secs(10)..secs(12)).contains(&after), "{after:?}");
    }
}

#[test]
fn a_death_is_heard_at_once_or_by_silence() {
    let (mut told, mut silent) = (0, 0);
    for seed in 0..40 {
        let (mut sim, log) = met(SimConfig::lan(seed));
        let died = sim.now();
        sim.apply(crash(2));
        sim.run_for(secs(20)).unwrap();
        let after = log.links(1, 2)[1].0.since(died);
        if after < secs(1) {
            told += 1;
        } else {
            assert!((secs(10)..secs(12)).contains(&after), "{after:?}");
            silent += 1;
        }
    }
    assert!(told >= 5 && silent >= 20, "{told} told, {silent} silent");
}

#[test]
fn lossy_lanes_do_to_frames_what_happens_to_datagrams() {
    let run = |faults: &[Fault]| {
        let (mut sim, log) = met(SimConfig::lan(1).lane_model(LaneModel::Lossy));
        faults.iter().for_each(|fault| sim.apply(fault.clone()));
        for _ in 0..200 {
            let _ = say(&mut sim, 1, 2, 0);
            sim.run_for(Duration::from_micros(50)).unwrap();
        }
        sim.run_for(secs(5)).unwrap();
        log.got(2, 1).into_iter().map(|(_, n)| n).collect::<Vec<_>>()
    };
    let mut plain = run(&[]);
    assert!(!plain.is_sorted(), "they overtake each other");
    plain.sort_unstable();
    assert_eq!(plain, Vec::from_iter(0..201));
    let mut lost = run(&[Fault::Loss { ppm: 300_000 }]);
    assert!((100..180).contains(&lost.len()), "{}", lost.len());
    lost.sort_unstable();
    assert!(lost.is_sorted_by(|a, b| a < b), "none came twice");
    let twice = run(&[Fault::Duplicate { ppm: 300_000 }]);
    assert!(twice.len() > 250, "{}", twice.len());
}

/// A heal that takes its time heals what was before it, pair by pair, and nothing that came after.
#[test]
fn a_clog_that_follows_a_heal_stays() {
    for seed in 0..20 {
        let (mut sim, log) = met(SimConfig::lan(seed));
        let clog = |for_| Fault::Clog { from: id(1), to: id(2), for_ };
        sim.apply(clog(secs(1_000)));
        sim.apply(Fault::Heal { swizzle: false });
        say(&mut sim, 1, 2, 0).unwrap();
        sim.run_for(secs(5)).unwrap();
        assert_eq!(log.got(2, 1).len(), 2, "seed {seed}: a heal ends a clog");
        sim.apply(Fault::Heal { swizzle: true });
        sim.apply(clog(secs(10)));
        say(&mut sim, 1, 2, 0).unwrap();
        sim.run_for(secs(9)).unwrap();
        assert_eq!(log.got(2, 1).len(), 2, "seed {seed}: it was taken back");
        sim.run_for(secs(5)).unwrap();
        assert_eq!(log.got(2, 1).len(), 3, "seed {seed}: it ends");
    }
}
