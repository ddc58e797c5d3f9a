//! Lanes P0, P1 and P13: one writer, each record synced.

use crate::peers::{self, RECORD, Wait};
use crate::{Bench, ROUNDS, SLOW, TURN, floors, ours};
use quorate_benches::crew::{Op, block_on};
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_wal::{Config, Lsn, Prealloc};
use std::time::Duration;

fn looped<'a>(name: &str, op: impl FnMut() + 'a) -> Contender<'a> {
    Contender::looped(name, TURN, op)
}

fn by(name: &str, op: Op) -> Contender<'static> {
    looped(name, move || op(0))
}

/// What the device and the processor can do at best.
pub(crate) fn floors(bench: &mut Bench) {
    let dir = bench.place.dir("floors");
    let (copy, mut to) = (vec![7_u8; 1 << 20], vec![0_u8; 1 << 20]);
    let short = Duration::from_millis(4);
    let contenders = vec![
        looped(floors::OVERWRITE, floors::overwrite(&dir)),
        looped(floors::GROWING, floors::growing(&dir)),
        looped(
            "the same, pre-written in steps of 1 MiB",
            floors::overwrite_after(&dir, floors::STEP_LARGE),
        ),
        Contender::looped("pwrite alone, 256 B", short, floors::written(&dir, floors::STEP_SMALL)),
        Contender::looped(
            "pwrite alone, pre-written in steps of 1 MiB",
            short,
            floors::written(&dir, floors::STEP_LARGE),
        ),
        Contender::looped("pwrite alone, growing file", short, floors::appended(&dir)),
        Contender::looped("memcpy of 1 MiB", short, || {
            to.copy_from_slice(std::hint::black_box(&copy));
        }),
        Contender::looped("CRC-32 of 1 MiB", short, || {
            std::hint::black_box(crc32fast::hash(std::hint::black_box(&copy)));
        }),
    ];
    let rounds = take_turns(contenders, ROUNDS);
    for name in rounds.others(&[]) {
        let ns = rounds.ns(&name);
        bench.sheet.push(Line::new(&format!("P0 floor: {name}")).value(&time(ns), ns, "ns"));
    }
    bench.place.remove("floors");
}

/// Every peer that promises durability, its floor, and ours both ways.
pub(crate) fn durable(bench: &mut Bench) -> bool {
    let place = &bench.place;
    let (blocking, future) = (ours::server(&place.dir("b")), ours::server(&place.dir("a")));
    let zero = Some(Duration::ZERO);
    let contenders = vec![
        looped(floors::OVERWRITE, floors::overwrite(&place.dir("floor"))),
        by("blocking", ours::durable(blocking)),
        looped("async", || {
            block_on(future.append(&RECORD)).expect("synced");
        }),
        by("raft-engine", peers::raft_engine(&place.dir("raft"), Wait::Durable)),
        by("wal-db", peers::wal_db(&place.dir("wal-db"), Wait::Durable)),
        by("open-wal", peers::open_wal(&place.dir("open-wal"))),
        by("okaywal", peers::okay(&place.dir("okay"), false)),
        by("okaywal 64 MiB", peers::okay(&place.dir("okay64"), true)),
        by("chunked-wal", peers::chunked(&place.dir("chunked"), None)),
        by("chunked-wal, wait 0", peers::chunked(&place.dir("chunked0"), zero)),
        by("nano-wal (no checksum)", peers::nano(&place.dir("nano"), Wait::Durable)),
        by("walrus-rust", peers::walrus("single")),
        by("fjall", peers::fjall(&place.dir("fjall"))),
        by("rusqlite", peers::rusqlite(&place.dir("rusqlite"))),
    ];
    let rounds = take_turns(contenders, ROUNDS);
    let quick = rounds.ns(floors::OVERWRITE) < SLOW;
    for (name, max) in [("blocking", 1.10), ("async", 1.25)] {
        let mut line = Line::new(&format!("P1 durable, 1 writer, 256 B, {name}")).value(
            &time(rounds.ns(name)),
            rounds.ns(name),
            "ns",
        );
        let ratio = rounds.ratio(name, floors::OVERWRITE);
        let floor = format!("{} {}", floors::OVERWRITE, time(rounds.ns(floors::OVERWRITE)));
        line = line.floor(&floor, ratio).goal_at(quick, &format!("≤ {max}× floor"), ratio <= max);
        let mut slowest_lead = f64::INFINITY;
        for peer in rounds.others(&["blocking", "async", floors::OVERWRITE]) {
            let better = rounds.ratio(&peer, name);
            slowest_lead = slowest_lead.min(better);
            line = line.peer(&peer, &time(rounds.ns(&peer)), better);
        }
        if name != "async" {
            line = line.goal_at(quick, "≥ 0.98× the best peer", slowest_lead >= 0.98);
        }
        bench.sheet.push(line);
    }
    drop(future);
    for name in ["b", "a", "raft", "okay", "okay64", "chunked", "chunked0", "walrus"] {
        bench.place.remove(name);
    }
    quick
}

/// Recycled, zero-filled, reserved and growing files of ours beside each other.
pub(crate) fn files(bench: &mut Bench) -> bool {
    let place = &bench.place;
    let kind = |name: &str, prealloc| {
        let config = Config::server().segment_bytes(16 << 20).batch_bytes_max(4 << 20);
        ours::open(&place.dir(name), config.prealloc(prealloc))
    };
    let recycled = kind("recycled", Prealloc::Zero);
    while recycled.stats().recycled < 2 {
        ours::fill(&recycled, &RECORD, (16 << 20) / 300);
        let durable = recycled.marks().durable.as_u64();
        recycled.truncate_prefix(Lsn::new(durable + 1)).expect("it is durable");
        recycled.append_blocking(&RECORD).expect("synced");
    }
    // Two segments further everything that was prepared before is behind.
    ours::fill(&recycled, &RECORD, 2 * (16 << 20) / 280);
    let contenders = vec![
        looped(floors::OVERWRITE, floors::overwrite(&place.dir("floor"))),
        by("recycled", ours::durable(recycled)),
        by("zero-filled", ours::durable(kind("zero", Prealloc::Zero))),
        by("fallocate", ours::durable(kind("reserve", Prealloc::Reserve))),
        by("growing", ours::durable(kind("grow", Prealloc::Grow))),
        looped(floors::GROWING, floors::growing(&place.dir("floor2"))),
    ];
    let rounds = take_turns(contenders, ROUNDS);
    let lane = "P13 durable, 1 writer, 256 B: recycled beside the other kinds of files";
    let line = Line::times(lane, &rounds, "recycled", Some(floors::OVERWRITE));
    bench.sheet.push(line.note("reported"));
    rounds.ns(floors::OVERWRITE) < SLOW
}
