//! The snapshot file: header with the mark, the state in chunks, a trailer that proves it whole.

use super::SnapshotFile;
use crate::SnapshotMeta;
use crate::machine::SnapshotSource;
use crate::session::{FrozenSessions, SessionTable};
use crate::store::mark::{decode_mark, encode_mark};
use bytes::{Buf as _, BufMut as _};
use std::io::{self, Read, Write};

const MAGIC: u32 = u32::from_le_bytes(*b"QRSF");
const VERSION: u32 = 1;
const TRAILER_LEN: usize = 16;
const MARK_BYTES_MAX: u32 = 4 << 10;
/// Length field of a section that is written in chunks because its size is not known beforehand.
const CHUNKED: u64 = u64::MAX;
const CHUNK_BYTES: usize = 64 << 10;

/// Writes the whole file: header, no sessions, the machine's state, trailer.
///
/// # Errors
/// Those of `out` and of the source.
///
/// # Examples
/// ```
/// use quorate_raft::{LogId, Membership, SnapshotMeta, write_snapshot};
/// use std::io::Write;
///
/// let meta = SnapshotMeta::new(LogId::new(1, 9), Membership::default());
/// let mut file = Vec::new();
/// let state = Box::new(|w: &mut dyn Write| w.write_all(b"state"));
/// write_snapshot(&mut file, &meta, state).unwrap();
/// assert!(file.starts_with(b"QRSF"));
/// ```
pub fn write_snapshot(
    out: &mut dyn Write,
    meta: &SnapshotMeta,
    source: Box<dyn SnapshotSource>,
) -> io::Result<()> {
    write_snapshot_with(out, meta, &FrozenSessions::default(), source)
}

/// As [`write_snapshot`], with the sessions that belong to the state.
///
/// # Errors
/// Those of `out` and of the source.
///
/// # Examples
/// ```
/// use quorate_raft::{LogId, Membership, SessionTable, SnapshotMeta, write_snapshot_with};
/// use std::io::Write;
///
/// let meta = SnapshotMeta::new(LogId::new(1, 9), Membership::default());
/// let table = SessionTable::new();
/// let mut file = Vec::new();
/// let state = Box::new(|w: &mut dyn Write| w.write_all(b"state"));
/// write_snapshot_with(&mut file, &meta, &table.freeze(), state).unwrap();
/// ```
pub fn write_snapshot_with(
    out: &mut dyn Write,
    meta: &SnapshotMeta,
    sessions: &FrozenSessions,
    source: Box<dyn SnapshotSource>,
) -> io::Result<()> {
    let mut out = Summing { inner: out, crc: crc32fast::Hasher::new(), bytes: 0 };
    let mark = encode_mark(meta);
    let mut header = Vec::with_capacity(12 + mark.len() + 16);
    header.put_u32_le(MAGIC);
    header.put_u32_le(VERSION);
    header.put_u32_le(u32::try_from(mark.len()).unwrap_or(u32::MAX)); // ≤ MARK_BYTES_MAX
    header.put_slice(&mark);
    header.put_u64_le(sessions.encoded_bytes());
    out.write_all(&header)?;
    sessions.write_to(&mut out)?;
    out.write_all(&CHUNKED.to_le_bytes())?;
    let mut chunks = Chunks { out: &mut out, buf: Vec::with_capacity(CHUNK_BYTES) };
    source.write_to(&mut chunks)?;
    chunks.flush_chunk()?;
    out.write_all(&0_u32.to_le_bytes())?;
    let mut trailer = Vec::with_capacity(TRAILER_LEN);
    trailer.put_u64_le(out.bytes + TRAILER_LEN as u64);
    trailer.put_u32_le(out.crc.clone().finalize());
    trailer.put_u32_le(MAGIC);
    out.inner.write_all(&trailer)
}

/// Counts and sums what passes.
struct Summing<'a> {
    inner: &'a mut dyn Write,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl Write for Summing<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.crc.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Cuts a stream of unknown length into chunks of (length u32, bytes).
struct Chunks<'a, 'b> {
    out: &'a mut Summing<'b>,
    buf: Vec<u8>,
}

impl Chunks<'_, '_> {
    fn flush_chunk(&mut self) -> io::Result<()> {
        if !self.buf.is_empty() {
            let len = u32::try_from(self.buf.len()).unwrap_or(u32::MAX); // ≤ CHUNK_BYTES
            self.out.write_all(&len.to_le_bytes())?;
            self.out.write_all(&self.buf)?;
            self.buf.clear();
        }
        Ok(())
    }
}

impl Write for Chunks<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = data.len().min(CHUNK_BYTES - self.buf.len());
        self.buf.extend_from_slice(&data[..n]);
        if self.buf.len() == CHUNK_BYTES {
            self.flush_chunk()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot file: {what}"))
}

/// Verifies the whole file and returns what it is of.
pub(super) fn verify(file: &dyn SnapshotFile) -> io::Result<SnapshotMeta> {
    let total = file.bytes();
    let body = total.checked_sub(TRAILER_LEN as u64).ok_or_else(|| invalid("truncated"))?;
    let mut trailer = [0_u8; TRAILER_LEN];
    read_exact_at(file, &mut trailer, body)?;
    let mut r = &trailer[..];
    let (claimed, crc, magic) = (r.get_u64_le(), r.get_u32_le(), r.get_u32_le());
    if magic != MAGIC || claimed != total {
        return Err(invalid(&format!("trailer: expected {total} bytes, found {claimed}")));
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut buf = vec![0_u8; CHUNK_BYTES];
    let mut at = 0;
    while at < body {
        let want = usize::try_from((body - at).min(buf.len() as u64)).unwrap_or(buf.len());
        read_exact_at(file, &mut buf[..want], at)?;
        hasher.update(&buf[..want]);
        at += want as u64;
    }
    let found = hasher.finalize();
    if found != crc {
        return Err(invalid(&format!("checksum: expected {crc:#010x}, found {found:#010x}")));
    }
    header(file).map(|(meta, _)| meta)
}

/// The mark, and where the sections begin.
fn header(file: &dyn SnapshotFile) -> io::Result<(SnapshotMeta, u64)> {
    let mut head = [0_u8; 12];
    read_exact_at(file, &mut head, 0)?;
    let mut r = &head[..];
    let (magic, version, len) = (r.get_u32_le(), r.get_u32_le(), r.get_u32_le());
    if magic != MAGIC {
        return Err(invalid("magic"));
    }
    if version != VERSION {
        return Err(invalid(&format!("version {version}, expected {VERSION}")));
    }
    if len > MARK_BYTES_MAX {
        return Err(invalid(&format!("mark of {len} bytes, limit {MARK_BYTES_MAX}")));
    }
    let mut mark = vec![0_u8; len as usize];
    read_exact_at(file, &mut mark, 12)?;
    let meta = decode_mark(&mark).map_err(|e| invalid(&e.to_string()))?;
    Ok((meta, 12 + u64::from(len)))
}

/// The machine's state inside a file, as a reader. The file must have been verified when it was
/// taken in.
///
/// # Errors
/// `InvalidData` if the header is not one; reads then say what they find.
///
/// # Examples
/// ```
/// use quorate_raft::*;
/// use std::io::{Read, Write};
///
/// let mut store = MemorySnapshots::new();
/// let meta = SnapshotMeta::new(LogId::new(1, 9), Membership::default());
/// let mut writer = store.create(&meta).unwrap();
/// let state = Box::new(|w: &mut dyn Write| w.write_all(b"state"));
/// write_snapshot(&mut writer, &meta, state).unwrap();
/// writer.finish().unwrap();
///
/// let file = store.open(&meta).unwrap();
/// let mut state = String::new();
/// read_machine(&*file).unwrap().read_to_string(&mut state).unwrap();
/// assert_eq!(state, "state");
/// ```
pub fn read_machine(file: &dyn SnapshotFile) -> io::Result<impl Read + '_> {
    let (start, len) = session_section(file)?;
    let machine = start.checked_add(len).ok_or_else(|| invalid("length of the session table"))?;
    if length_at(file, machine)? != CHUNKED {
        return Err(invalid("sections of a later version"));
    }
    Ok(ChunkReader { file, at: machine + 8, left: 0, over: false })
}

/// The sessions inside a file, which must have been verified when it was taken in.
///
/// # Errors
/// `InvalidData` if the table is none.
///
/// # Examples
/// ```
/// use quorate_raft::*;
/// use std::time::Duration;
/// use std::io::Write;
///
/// let mut table = SessionTable::new();
/// table.open(LogIndex::new(7), 0, &SessionLimits::new(Duration::from_secs(60)));
/// let mut store = MemorySnapshots::new();
/// let meta = SnapshotMeta::new(LogId::new(1, 9), Membership::default());
/// let mut writer = store.create(&meta).unwrap();
/// let state = Box::new(|w: &mut dyn Write| w.write_all(b"state"));
/// write_snapshot_with(&mut writer, &meta, &table.freeze(), state).unwrap();
/// writer.finish().unwrap();
/// assert_eq!(read_sessions(&*store.open(&meta).unwrap()).unwrap(), table);
/// ```
pub fn read_sessions(file: &dyn SnapshotFile) -> io::Result<SessionTable> {
    let (at, len) = session_section(file)?;
    let section = SectionReader { file, at };
    SessionTable::read_from(&mut io::BufReader::new(section), len)
}

/// Where the session table begins, and its length.
fn session_section(file: &dyn SnapshotFile) -> io::Result<(u64, u64)> {
    let (_, sections) = header(file)?;
    let len = length_at(file, sections)?;
    if len > file.bytes() {
        return Err(invalid("length of the session table"));
    }
    Ok((sections + 8, len))
}

fn length_at(file: &dyn SnapshotFile, at: u64) -> io::Result<u64> {
    let mut len = [0_u8; 8];
    read_exact_at(file, &mut len, at)?;
    Ok(u64::from_le_bytes(len))
}

/// A file from some place on, as a reader.
struct SectionReader<'a> {
    file: &'a dyn SnapshotFile,
    at: u64,
}

impl Read for SectionReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

struct ChunkReader<'a> {
    file: &'a dyn SnapshotFile,
    at: u64,
    left: u32,
    over: bool,
}

impl Read for ChunkReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.over || buf.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let mut len = [0_u8; 4];
            read_exact_at(self.file, &mut len, self.at)?;
            self.at += 4;
            self.left = u32::from_le_bytes(len);
            if self.left == 0 {
                self.over = true;
                return Ok(0);
            }
        }
        let want = buf.len().min(self.left as usize);
        read_exact_at(self.file, &mut buf[..want], self.at)?;
        self.at += want as u64;
        self.left -= u32::try_from(want).unwrap_or(self.left);
        Ok(want)
    }
}

fn read_exact_at(file: &dyn SnapshotFile, buf: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64)? {
            0 => return Err(invalid("truncated")),
            n => done += n,
        }
    }
    Ok(())
}
