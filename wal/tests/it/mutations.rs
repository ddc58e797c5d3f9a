//! 200,000 mutated inputs: no panic, and memory bounded by the input.

use std::sync::Arc;

use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
use quorate_wal::{Batch, Lsn, OpenError, ReadBound, WalReader, probe};

use crate::alloc::measure;
use crate::reference::bytes::{crc, le};
use crate::rig::{Replay, Rng, dir, manual, open, open_with, records, say, seeds};

/// Twice the input and a window.
fn bounded(peak: usize, input: usize) -> bool {
    peak <= 2 * input + (1 << 20)
}

/// A small log's segment and MANIFEST.
fn base() -> (Vec<u8>, Vec<u8>) {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual()).unwrap();
    for n in 0..6_u8 {
        wal.append_blocking(&[n; 60]).unwrap();
        let mut batch = records(&[&[n; 9]]);
        batch.extend(crate::rig::group(1), 1 + u64::from(n), 1, 5, &[n; 30]);
        wal.commit_blocking(&batch).unwrap();
    }
    drop(wal);
    let segment = disk.contents(&crate::rig::segments(&disk)[0]).unwrap();
    (segment, disk.contents(&dir().join("MANIFEST")).unwrap())
}

/// Puts the right checksum on the frame at `at`, whatever it says now.
fn seal_frame(file: &mut [u8], at: usize, salt: u64, seq: u64) {
    let len = usize::try_from(le(file, at + 8, 4)).unwrap().next_multiple_of(8);
    if let Some(payload) = file.get(at + 40..at + 40 + len) {
        let sum = crc(payload).to_le_bytes();
        file[at + 28..at + 32].copy_from_slice(&sum);
    }
    let mut input: Vec<u8> = [salt, seq, at as u64].iter().flat_map(|n| n.to_le_bytes()).collect();
    input.extend_from_slice(&file[at + 4..at + 40]);
    let sum = crc(&input).to_le_bytes();
    file[at..at + 4].copy_from_slice(&sum);
}

fn mutate(bytes: &mut [u8], range: std::ops::Range<usize>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(4) {
        let at = range.start + usize::try_from(rng.below(range.len() as u64)).unwrap();
        bytes[at] = match rng.below(4) {
            0 => 0,
            1 => 0xff,
            2 => bytes[at] ^ 1 << rng.below(8),
            _ => rng.next() as u8,
        };
    }
}

/// Frames: any bytes, and sound checksums over any fields.
#[test]
fn any_frame_is_decoded_or_refused() {
    let mut sound = 0_u64;
    let mut frame = vec![0_u8; 40 + 120];
    for seed in seeds(150_000) {
        let _replay = Replay { test: "mutations::any_frame", seed };
        let mut rng = Rng(seed);
        let (salt, seq) = (9, 3);
        frame.fill(0);
        frame[4] = 1;
        frame[6] = 1 + rng.below(3) as u8;
        frame[8] = rng.below(121) as u8;
        for byte in &mut frame[40..] {
            *byte = rng.below(20) as u8;
        }
        mutate(&mut frame, 4..160, &mut rng);
        let sealed = rng.below(8) > 0;
        if sealed {
            let mut file = vec![0; 4096];
            file.extend_from_slice(&frame);
            seal_frame(&mut file, 4096, salt, seq);
            frame.copy_from_slice(&file[4096..]);
        }
        let (found, usage) = measure(|| probe::frame(salt, seq, 4096, &frame));
        sound += u64::from(found.is_some());
        assert!(bounded(usage.peak, frame.len()), "{usage:?}");
        let (_, usage) = measure(|| probe::heads(&frame));
        assert!(bounded(usage.peak, frame.len()), "{usage:?}");
    }
    say(&format!("frames decoded among the mutated: {sound}"));
}

/// Whole files: opened by a reader, which reads what it can.
#[test]
fn any_segment_and_manifest_are_opened_or_refused() {
    let (segment, manifest) = base();
    let (salt, mut frames, mut at) = (le(&segment, 40, 8), Vec::new(), 4096);
    while segment[at + 4] != 3 {
        frames.push(at);
        at += 40 + usize::try_from(le(&segment, at + 8, 4)).unwrap().next_multiple_of(8);
    }
    frames.push(at);
    let end = at + 40;
    let (mut opened, mut damaged, mut refused) = (0_u64, 0_u64, 0_u64);
    for seed in seeds(50_000) {
        let _replay = Replay { test: "mutations::any_segment", seed };
        let mut rng = Rng(seed);
        let (mut s, mut m) = (segment[..end + 400].to_vec(), manifest.clone());
        match rng.below(6) {
            0 => mutate(&mut m, 0..128, &mut rng),
            1 => {
                // A wild MANIFEST with a sound checksum.
                for base in [0, 4096] {
                    mutate(&mut m, base + 8..base + 124, &mut rng);
                    let sum = crc(&m[base..base + 124]).to_le_bytes();
                    m[base + 124..base + 128].copy_from_slice(&sum);
                }
            }
            2 => mutate(&mut s, 0..end, &mut rng),
            3 => {
                // A wild header page with a sound checksum.
                mutate(&mut s, 8..92, &mut rng);
                let sum = crc(&s[..92]).to_le_bytes();
                s[92..96].copy_from_slice(&sum);
                s.copy_within(..96, 2048);
            }
            4 => {
                let cut = usize::try_from(rng.below(s.len() as u64)).unwrap();
                s.truncate(cut);
            }
            _ => {
                // A wild frame with sound checksums.
                let at = frames[usize::try_from(rng.below(frames.len() as u64)).unwrap()];
                mutate(&mut s, at + 4..at + 90, &mut rng);
                seal_frame(&mut s, at, salt, 1);
            }
        }
        let disk = MemVfs::new();
        disk.create_dir_all(dir()).unwrap();
        for (name, bytes) in [("MANIFEST", &m), ("00000000000000000001.qwal", &s)] {
            let file = disk.open(&dir().join(name), OpenMode::CreateNew).unwrap();
            file.write_at(bytes, 0).unwrap();
        }
        let input = s.len() + m.len();
        let vfs: Arc<dyn Vfs> = Arc::new(disk);
        let (outcome, usage) = measure(|| WalReader::open_read_only(vfs, dir()));
        assert!(bounded(usage.peak, input), "{usage:?} for {input}");
        match outcome {
            Ok((reader, report)) => {
                opened += 1;
                damaged += u64::from(!report.damage.is_empty());
                for record in reader.read(Lsn::new(1), ReadBound::Written).take(40) {
                    drop(record);
                }
                for id in reader.streams(1) {
                    let stream = reader.stream(id);
                    drop(stream.read(stream.bounds(), 1 << 16, &mut Vec::new()));
                }
            }
            Err(OpenError::Corruption(_)) => damaged += 1,
            Err(_) => refused += 1,
        }
    }
    say(&format!("mutated logs: opened {opened}, damaged {damaged}, refused {refused}"));
    assert!(seeds(2).len() == 1 || opened.min(damaged).min(refused) > 100);
}

/// `back` of a block may be any number, also one that leads behind the first record of all.
#[test]
fn a_way_back_of_any_length_is_read() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let id = crate::rig::group(1);
    wal.commit_blocking(Batch::new().extend(id, 1, 1, 5, b"a")).unwrap();
    wal.commit_blocking(Batch::new().extend(id, 2, 1, u64::MAX, b"b")).unwrap();
    wal.shutdown().wait().unwrap();
    let path = dir().join("00000000000000000001.qwal");
    let mut file = disk.contents(&path).unwrap();
    let (salt, mut frame, mut end) = (le(&file, 40, 8), 4096, 4096);
    while file[end + 4] != 3 {
        frame = end;
        end += 40 + usize::try_from(le(&file, end + 8, 4)).unwrap().next_multiple_of(8);
    }
    // Kind, flags, space, id, back, first, count, tag: the long number of the tag becomes `back`.
    let record = frame + 40;
    assert_eq!(file[record..record + 7], [2, 0, 1, 1, 1, 2, 1]);
    let long = file[record + 7..record + 17].to_vec();
    file[record + 4..record + 14].copy_from_slice(&long);
    file[record + 14..record + 17].copy_from_slice(&[2, 1, 5]);
    seal_frame(&mut file, frame, salt, 1);
    let sum: [u8; 4] = file[frame..frame + 4].try_into().unwrap();
    file[end + 32..end + 36].copy_from_slice(&sum);
    seal_frame(&mut file, end, salt, 1);
    disk.set_contents(&path, &file).unwrap();
    let (wal, report) = open(&disk);
    assert_eq!((report.damage.len(), wal.stream(id).bounds()), (0, 1..3));
}
