//! Lanes P7, P9 and P10: opening and reading a log that is in the page cache.

use crate::peers::RECORD;
use crate::{Bench, ours};
use quorate_benches::sheet::Line;
use quorate_benches::turns::{Contender, Rounds, median, take_turns};
use quorate_wal::{Config, Lsn, ReadBound, Wal};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// 256 B records in a GiB of log, and in what the slower peer gets.
const RECORDS: u64 = (1 << 30) / 275;
const PEER_RECORDS: u64 = RECORDS / 8;
const BIG: &str = "big";
const SINGLE: &str = "single";

/// The log of a GiB, written once for all lanes that read it.
pub(crate) fn big(bench: &Bench) -> PathBuf {
    let dir = bench.place.path(BIG);
    if !dir.exists() {
        let dir = bench.place.dir(BIG);
        let wal = ours::server(&dir);
        ours::fill(&wal, &RECORD, RECORDS);
        wal.shutdown().wait().expect("synced");
    }
    dir
}

/// The same records, appended one by one: frames of 4 KiB instead of 512.
pub(crate) fn single(bench: &Bench) -> PathBuf {
    let dir = bench.place.path(SINGLE);
    if !dir.exists() {
        let dir = bench.place.dir(SINGLE);
        let wal = ours::server(&dir);
        ours::fill_singly(&wal, &RECORD, RECORDS);
        wal.shutdown().wait().expect("synced");
    }
    dir
}

fn open_one(dir: &Path, threads: u64) -> (f64, u64) {
    let config = Config::server().verify_threads(threads).build().expect("in range");
    let begun = Instant::now();
    let (wal, report) = Wal::open(dir, config).expect("ours opens");
    let ns = begun.elapsed().as_secs_f64() * 1e9;
    wal.shutdown().wait().expect("synced");
    (ns, report.bytes_scanned)
}

/// Nanoseconds a byte are what is compared; shown as GB/s.
fn rate(ns_per_byte: f64) -> String {
    format!("{:.2} GB/s", 1.0 / ns_per_byte)
}

pub(crate) fn open(bench: &mut Bench) {
    let (dir, peer_dir) = (big(bench), bench.place.dir("wal-db"));
    let file = peer_dir.join("log");
    {
        let peer = wal_db::Wal::open(&file).expect("wal-db opens");
        (0..PEER_RECORDS).for_each(|_| {
            let _ = peer.append(&RECORD).expect("written");
        });
        peer.sync().expect("synced");
    }
    let peer_bytes = std::fs::metadata(&file).expect("it is there").len();
    let opened = |threads| {
        let (ns, bytes) = open_one(&dir, threads);
        ns / bytes as f64
    };
    let mut data = vec![0_u8; 1 << 20];
    let floor = "read 1 MiB + CRC-32";
    let contenders = vec![
        Contender::new("1 thread", || opened(1)),
        Contender::new("2 threads", || opened(2)),
        Contender::new("4 threads", || opened(4)),
        Contender::new("wal-db", || {
            let begun = Instant::now();
            let wal = wal_db::Wal::open(&file).expect("wal-db opens");
            assert_eq!(wal.len(), peer_bytes);
            begun.elapsed().as_secs_f64() * 1e9 / peer_bytes as f64
        }),
        Contender::new(floor, || scan(&dir, &mut data)),
    ];
    let rounds = take_turns(contenders, 5);
    for name in ["1 thread", "2 threads", "4 threads"] {
        let ns = rounds.ns(name);
        let better = rounds.ratio("wal-db", name);
        let bytes_rate = 1.0 / ns;
        let mut line = Line::new(&format!("P7 open of 1 GiB in 256 B records, {name}"))
            .value(&rate(ns), bytes_rate, "GB/s")
            .floor(&format!("{floor} {}", rate(rounds.ns(floor))), rounds.ratio(name, floor))
            .peer("wal-db", &rate(rounds.ns("wal-db")), better);
        if name == "1 thread" {
            line = line.goal("≥ 2 GB/s", bytes_rate >= 2.0);
            line = line.goal("≥ 20× wal-db", better >= 20.0);
        }
        bench.sheet.push(line);
    }
    bench.place.remove("wal-db");
}

/// Reads and sums the segments of a log, nothing more.
fn scan(dir: &Path, data: &mut [u8]) -> f64 {
    let (begun, mut bytes) = (Instant::now(), 0_u64);
    for file in segments(dir) {
        let length = file.metadata().expect("a file").len();
        for at in (0..length).step_by(data.len()) {
            let read = file.read_at(data, at).expect("readable");
            std::hint::black_box(crc32fast::hash(&data[..read]));
            bytes += read as u64;
        }
    }
    begun.elapsed().as_secs_f64() * 1e9 / bytes as f64
}

fn segments(dir: &Path) -> Vec<File> {
    let items = std::fs::read_dir(dir).expect("readable").map(|item| item.expect("readable"));
    let segments = items.filter(|item| item.file_name().to_string_lossy().ends_with(".qwal"));
    segments.map(|item| File::open(item.path()).expect("readable")).collect()
}

pub(crate) fn sequential(bench: &mut Bench) {
    let dir = big(bench);
    let wal = Wal::open(&dir, Config::server().build().expect("in range")).expect("opens").0;
    let (mut data, mut samples, mut floors) = (vec![0_u8; 1 << 20], Vec::new(), Vec::new());
    for _ in 0..5 {
        floors.push(scan(&dir, &mut data));
        let (begun, mut bytes) = (Instant::now(), 0);
        for record in wal.read(Lsn::new(1), ReadBound::Durable) {
            bytes += record.expect("sound").bytes.len();
        }
        assert_eq!(bytes as u64, RECORDS * 256);
        samples.push(begun.elapsed().as_secs_f64() * 1e9 / bytes as f64);
    }
    let (ns, floor) = (median(samples), median(floors));
    let maps = if cfg!(feature = "mmap") { ", maps" } else { "" };
    let line = Line::new(&format!("P9 verified sequential read, 256 B records{maps}"))
        .value(&rate(ns), 1.0 / ns, "GB/s")
        .floor(&format!("read 1 MiB + CRC-32 {}", rate(floor)), ns / floor);
    bench.sheet.push(line.goal("≥ 1.5 GB/s", 1.0 / ns >= 1.5));
}

/// Numbers that look random and are the same in every run.
fn shuffled(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Records appended one by one, which share frames of 4 KiB; and those of large batches, whose
/// whole frame is verified for each `get`.
pub(crate) fn random(bench: &mut Bench) {
    let single = single(bench);
    let (maps, max) = if cfg!(feature = "mmap") { (", maps", 0.5) } else { ("", 1.6) };
    let (rounds, floor) = gets(&single, RECORDS);
    let lane = format!("P10 random get of 256 B, warm{maps}");
    let line = Line::times(&lane, &rounds, "ours", Some(floor));
    let ratio = rounds.ratio("ours", floor);
    bench.sheet.push(line.goal(&format!("≤ {max}× pread of 4 KiB"), ratio <= max));
    let dir = big(bench);
    let (rounds, floor) = gets(&dir, RECORDS);
    let lane = format!("P10 the same out of batches of 512 KiB{maps}");
    let line = Line::times(&lane, &rounds, "ours", Some(floor));
    bench.sheet.push(line.note("reported: the whole frame is verified"));
}

fn gets(dir: &Path, records: u64) -> (Rounds, &'static str) {
    let wal = Wal::open(dir, Config::server().build().expect("in range")).expect("opens").0;
    let files: Vec<(File, u64)> = segments(dir)
        .into_iter()
        .map(|file| (file.metadata().expect("a file").len(), file))
        .map(|(length, file)| (file, length))
        .collect();
    let turn = Duration::from_millis(40);
    let (mut a, mut b, mut page) = (1, 2, vec![0_u8; 4096]);
    let floor = "pread of 4 KiB";
    let contenders = vec![
        Contender::looped("ours", turn, || {
            let lsn = Lsn::new(shuffled(&mut a) % records + 1);
            assert_eq!(wal.get(lsn).expect("sound").len(), 256);
        }),
        Contender::looped(floor, turn, || {
            let place = shuffled(&mut b);
            let (file, length) = &files[place as usize % files.len()];
            file.read_at(&mut page, place % (length / 4096) * 4096).expect("readable");
        }),
    ];
    (take_turns(contenders, crate::ROUNDS), floor)
}
