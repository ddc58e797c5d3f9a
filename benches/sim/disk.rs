//! S5: the disk of the simulator, beside what moving its bytes costs.

use crate::Bench;
use quorate_benches::busy::Busy;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_sim::{DiskConfig, SimDisk};
use quorate_wal::vfs::{OpenMode, Vfs, VfsFile};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const BLOCK: usize = 4096;
const BLOCKS: usize = 256;
const SYNC_EVERY: usize = 16;
/// How long a turn is about.
const TURN: Duration = Duration::from_millis(30);

const OURS: &str = "ours";
const FLOOR: &str = "memcpy of 4 KiB";

/// Both lines of S5.
pub(crate) fn disk(bench: &mut Bench) {
    writes(bench);
    states(bench);
}

fn create(disk: &SimDisk, name: &str) -> Arc<dyn VfsFile> {
    disk.vfs().open(name.as_ref(), OpenMode::CreateNew).expect("a new name")
}

/// Blocks of which no two in a row are alike.
fn blocks() -> Vec<Vec<u8>> {
    (1..8).map(|n| vec![n; BLOCK]).collect()
}

fn writes(bench: &mut Bench) {
    let disk = SimDisk::new(1, DiskConfig::default());
    let file = create(&disk, "f");
    let data = blocks();
    let (mut copy, mut copied) = (vec![0; BLOCK * BLOCKS], 0);
    let mut written = 0_usize;
    let contenders = vec![
        Contender::busy(OURS, TURN, || {
            for _ in 0..SYNC_EVERY {
                let at = written % BLOCKS * BLOCK;
                let n = file.write_at(&data[written % data.len()], at as u64).expect("room");
                assert_eq!(n, BLOCK);
                written += 1;
            }
            file.sync_data().expect("no fault");
        }),
        Contender::busy(FLOOR, TURN, || {
            for _ in 0..SYNC_EVERY {
                let at = copied % BLOCKS * BLOCK;
                copy[at..at + BLOCK].copy_from_slice(&data[copied % data.len()]);
                copied += 1;
            }
            black_box(&copy);
        }),
    ];
    let rounds = take_turns(contenders, bench.rounds);
    let each = |name: &str| rounds.ns(name) / SYNC_EVERY as f64;
    let (ns, floor) = (each(OURS), each(FLOOR));
    let text = format!("{:.2} M writes/s, {} a write", 1e3 / ns, time(ns));
    let line = Line::new("S5 write of 4 KiB to a `SimDisk`, sync each 16")
        .value(&text, 1e9 / ns, "writes/s")
        .floor(&format!("{FLOOR} {}", time(floor)), rounds.ratio(OURS, FLOOR));
    bench.sheet.push(line.goal("≥ 1 M writes/s", ns <= 1e3));
}

/// Eight sectors written over, four names made: 12 units, 1,280 states.
fn states(bench: &mut Bench) {
    const STATES: usize = 1_280;
    let disk = SimDisk::new(1, DiskConfig::default());
    let file = create(&disk, "f");
    file.write_at(&[1; BLOCK], 0).expect("room");
    file.sync_all().expect("no fault");
    disk.vfs().sync_dir("".as_ref()).expect("no fault");
    file.write_at(&[2; BLOCK], 0).expect("room");
    for name in ["a", "b", "c", "d"] {
        create(&disk, name);
    }
    assert!(disk.crash_states(4096).is_exhaustive());
    let (source, mut copy) = (vec![1; BLOCK], vec![0; BLOCK]);
    let contenders = vec![
        Contender::new(OURS, || {
            let begun = Busy::begin();
            assert_eq!(disk.crash_states(4096).map(black_box).count(), STATES);
            begun.nanos() / STATES as f64
        }),
        Contender::new(FLOOR, || {
            let begun = Busy::begin();
            for _ in 0..STATES {
                copy.copy_from_slice(black_box(&source));
                black_box(&copy);
            }
            begun.nanos() / STATES as f64
        }),
    ];
    let rounds = take_turns(contenders, bench.rounds);
    let ns = rounds.ns(OURS);
    let text = format!("{:.0} k states/s, {} a state", 1e6 / ns, time(ns));
    let line = Line::new("S5 crash states of a `SimDisk` with 12 units, all 1,280")
        .value(&text, 1e9 / ns, "states/s")
        .floor(&format!("{FLOOR} {}", time(rounds.ns(FLOOR))), rounds.ratio(OURS, FLOOR));
    bench.sheet.push(line.goal("≥ 100 k states/s", ns <= 1e4));
}
