//! Golden bytes of format version 1, as `FORMAT.md` names them, written out by hand here: not by
//! the crate's own encoders.

mod directory;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
use quorate_wal::{Batch, Lsn, Slot, Tail};

use crate::rig::{dir, group, open, segments};

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A header page by the table in `FORMAT.md`.
fn header_page(uuid: u128, seq: u64, salt: u64, segment_bytes: u32) -> Vec<u8> {
    let mut copy = vec![0; 96];
    put(&mut copy, 0, &[0x51, 0x57, 0x41, 0x4c, 0x0d, 0x0a, 0x1a, 0x0a]);
    put(&mut copy, 8, &1_u16.to_le_bytes());
    copy[10] = 1;
    put(&mut copy, 12, &4096_u32.to_le_bytes());
    put(&mut copy, 16, &uuid.to_le_bytes());
    put(&mut copy, 32, &seq.to_le_bytes());
    put(&mut copy, 40, &salt.to_le_bytes());
    put(&mut copy, 48, &segment_bytes.to_le_bytes());
    let crc = crc(&copy[..92]);
    put(&mut copy, 92, &crc.to_le_bytes());
    let mut page = vec![0; 4096];
    put(&mut page, 0, &copy);
    put(&mut page, 2048, &copy);
    page
}

/// CRC-32/ISO-HDLC, bit by bit.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}

/// What a frame header says.
#[derive(Clone, Copy, Default)]
struct Head {
    kind: u8,
    flags: u8,
    records: u16,
    durable_off: u32,
    first_lsn: u64,
    lsns: u32,
    chain: u32,
}

/// Appends a frame by the table in `FORMAT.md`; its header's checksum.
fn frame(file: &mut [u8], at: &mut usize, (salt, seq): (u64, u64), head: Head, load: &[u8]) -> u32 {
    let mut padded = load.to_vec();
    padded.resize(load.len().next_multiple_of(8), 0);
    let mut h = vec![0; 40];
    h[4] = head.kind;
    h[5] = head.flags;
    put(&mut h, 6, &head.records.to_le_bytes());
    put(&mut h, 8, &(load.len() as u32).to_le_bytes());
    put(&mut h, 12, &head.durable_off.to_le_bytes());
    put(&mut h, 16, &head.first_lsn.to_le_bytes());
    put(&mut h, 24, &head.lsns.to_le_bytes());
    put(&mut h, 28, &crc(&padded).to_le_bytes());
    put(&mut h, 32, &head.chain.to_le_bytes());
    let mut bound = salt.to_le_bytes().to_vec();
    bound.extend_from_slice(&seq.to_le_bytes());
    bound.extend_from_slice(&(*at as u64).to_le_bytes());
    bound.extend_from_slice(&h[4..]);
    let sum = crc(&bound);
    put(&mut h, 0, &sum.to_le_bytes());
    file[*at..*at + 40].copy_from_slice(&h);
    file[*at + 40..*at + 40 + padded.len()].copy_from_slice(&padded);
    *at += 40 + padded.len();
    sum
}

fn manifest(uuid: u128) -> Vec<u8> {
    let mut file = vec![0; 8192];
    for (slot_seq, at) in [(1_u64, 4096), (2, 0)] {
        let mut slot = vec![0; 128];
        put(&mut slot, 0, b"QWALMAN1");
        put(&mut slot, 8, &1_u16.to_le_bytes());
        put(&mut slot, 16, &slot_seq.to_le_bytes());
        put(&mut slot, 24, &uuid.to_le_bytes());
        put(&mut slot, 40, &1_u64.to_le_bytes());
        put(&mut slot, 48, &1_u64.to_le_bytes());
        put(&mut slot, 88, &1_u64.to_le_bytes());
        let sum = crc(&slot[..124]);
        put(&mut slot, 124, &sum.to_le_bytes());
        put(&mut file, at, &slot);
    }
    file
}

/// A whole log of one segment and one Data frame, built by hand; also the segment's bytes.
pub(crate) fn log_with_payload(payload: &[u8], lsns: u32) -> (MemVfs, Vec<u8>) {
    log(payload, lsns, 0)
}

/// The same with flags in the Data frame.
pub(crate) fn log_with_flags(flags: u8) -> (MemVfs, Vec<u8>) {
    log(&[1, 0], 1, flags)
}

fn log(payload: &[u8], lsns: u32, flags: u8) -> (MemVfs, Vec<u8>) {
    let (uuid, salt, seq) = (0x0123_4567_89ab_cdef_0011_2233_4455_6677, 0x1122_3344_5566_7788, 1);
    let mut file = header_page(uuid, seq, salt, 16 << 10);
    file.resize(16 << 10, 0);
    let mut at = 4096;
    let mut link = vec![0; 48];
    put(&mut link, 32, &1_u64.to_le_bytes());
    let life = (salt, seq);
    let head = Head { kind: 2, durable_off: 4096, first_lsn: 1, ..Head::default() };
    let chain = frame(&mut file, &mut at, life, head, &link);
    let head = Head { kind: 1, records: 1, lsns, chain, flags, ..head };
    let chain = frame(&mut file, &mut at, life, head, payload);
    let head = Head {
        kind: 3,
        durable_off: 4096,
        first_lsn: 1 + u64::from(lsns),
        chain,
        ..Head::default()
    };
    frame(&mut file, &mut at, life, head, &[]);
    let disk = MemVfs::new();
    disk.create_dir_all(dir()).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = disk.open(&dir().join(name), OpenMode::CreateNew).unwrap();
        file.write_at(bytes, 0).unwrap();
    };
    write("MANIFEST", &manifest(uuid));
    write("00000000000000000001.qwal", &file);
    (disk, file)
}

/// The same with 512-byte alignment and a Pad frame between Data and End.
fn padded_log() -> (MemVfs, Vec<u8>) {
    let mut payload = vec![1, 0xcd, 0x02];
    payload.resize(336, b'p');
    let (disk, mut file) = log_with_payload(&payload, 1);
    for copy in [0, 2048] {
        put(&mut file, copy + 52, &512_u32.to_le_bytes());
        let sum = crc(&file[copy..copy + 92]);
        put(&mut file, copy + 92, &sum.to_le_bytes());
    }
    let life = (0x1122_3344_5566_7788, 1);
    let chain = u32::from_le_bytes(file[4184..4188].try_into().unwrap());
    let mut at = 4184 + 40 + 336;
    file[at..].fill(0);
    let head = Head { kind: 4, durable_off: 4096, first_lsn: 2, chain, ..Head::default() };
    let chain = frame(&mut file, &mut at, life, head, &[0; 8]);
    assert_eq!(at, 4608, "End opens a sector");
    frame(&mut file, &mut at, life, Head { kind: 3, chain, ..head }, &[]);
    disk.set_contents(&segments(&disk)[0], &file).unwrap();
    (disk, file)
}

#[test]
fn a_pad_frame_stands_before_an_aligned_end() {
    let (disk, file) = padded_log();
    assert_eq!(hex(&file[4560..4608]), golden()["frame_pad"]);
    let (wal, report) = open(&disk);
    assert_eq!((report.tail, report.durable, report.repaired), (Tail::Clean, Lsn::new(1), 0));
    assert_eq!(wal.get(Lsn::new(1)).unwrap()[..], [b'p'; 333]);
}

/// The vectors of `FORMAT.md`: rows of three cells, a name first and hex digits last.
pub(crate) fn golden() -> BTreeMap<String, String> {
    let mut vectors = BTreeMap::new();
    for line in include_str!("../../FORMAT.md").lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, digits] = cells.as_slice() else { continue };
        let code = |cell: &str| Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned());
        let (Some(name), Some(digits)) = (code(name), code(digits)) else { continue };
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            assert!(vectors.insert(name, digits).is_none(), "twice: {line}");
        }
    }
    vectors
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        write!(out, "{b:02x}").unwrap();
        out
    })
}

#[test]
fn checksum_check_value() {
    assert_eq!(crc(b"123456789"), 0xcbf4_3926, "CRC-32/ISO-HDLC");
}

#[test]
fn a_hand_made_log_opens_clean() {
    let mut payload = vec![1, 5];
    payload.extend_from_slice(b"hello");
    let (disk, bytes) = log_with_payload(&payload, 1);
    let golden = golden();
    let slot = disk.contents(&dir().join("MANIFEST")).unwrap()[..128].to_vec();
    for (name, found) in [
        ("frame_data", &bytes[4184..4184 + 48]),
        ("frame_end", &bytes[4232..4272]),
        ("link", &bytes[4096..4184]),
        ("header", &bytes[..96]),
        ("manifest", &slot[..]),
    ] {
        assert_eq!(hex(found), golden[name], "{name}");
    }
    let (wal, report) = open(&disk);
    assert_eq!((report.tail, report.repaired, report.created), (Tail::Clean, 0, false));
    assert_eq!(&wal.get(Lsn::new(1)).unwrap()[..], b"hello");
    // And it is a log like any other.
    assert_eq!(wal.append_blocking(b"more").unwrap(), Lsn::new(2));
    drop(wal);
    assert_eq!(open(&disk).1.durable, Lsn::new(2));
}

/// The payload of the one Data frame that a batch makes.
fn payload_of(build: impl FnOnce(&mut Batch)) -> String {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let mut batch = Batch::new();
    build(&mut batch);
    wal.commit_blocking(&batch).unwrap();
    let bytes = disk.contents(&segments(&disk)[0]).unwrap();
    let len = u32::from_le_bytes(bytes[4184 + 8..4184 + 12].try_into().unwrap()) as usize;
    hex(&bytes[4224..4224 + len])
}

#[test]
fn record_vectors() {
    let g = group(300);
    let slot = Slot::new(3).unwrap();
    let cases = [
        (
            "record_data",
            payload_of(|b| {
                b.record(b"abc");
            }),
        ),
        (
            "record_data_empty",
            payload_of(|b| {
                b.record(b"");
            }),
        ),
        (
            "record_extend",
            payload_of(|b| {
                b.extend(g, 7, 2, 5, b"xy");
            }),
        ),
        (
            "record_replace",
            payload_of(|b| {
                b.replace(g, 7, 2, 5, b"xy");
            }),
        ),
        (
            "record_meta",
            payload_of(|b| {
                b.meta(g, slot, b"m");
            }),
        ),
        (
            "record_meta_drop",
            payload_of(|b| {
                b.meta(g, slot, b"m").drop_stream(g);
            }),
        ),
        (
            "record_keep",
            payload_of(|b| {
                b.keep_from(g, 128);
            }),
        ),
    ];
    let golden = golden();
    for (name, found) in cases {
        assert_eq!(found, golden[name], "{name}");
    }
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    wal.append_blocking(b"a").unwrap();
    wal.advance_high(Lsn::new(1)).unwrap();
    wal.truncate_prefix(Lsn::new(1)).unwrap();
    wal.truncate_suffix(Lsn::new(2)).unwrap().wait().unwrap();
    wal.truncate_prefix(Lsn::new(2)).unwrap();
    wal.append_blocking(b"b").unwrap();
    let bytes = hex(&disk.contents(&segments(&disk)[0]).unwrap());
    assert!(bytes.contains(&golden["record_high_cut"]), "high 1, truncate suffix from 2");
    assert!(bytes.contains(&golden["record_keep_main"]), "keep main from 2, data b");
}
