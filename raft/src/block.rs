//! [`Block`]: contiguous entries of one term, encoded once. The unit on the wire, in the log store
//! and in memory; a follower writes the very bytes it received. Layout: FORMAT.md.

mod limits;

pub use limits::{Limits, TooLarge};

use crate::conf_change::{CHANGE_BYTES_MAX, ConfChange};
use crate::error::BlockError;
use crate::{Entry, EntryBody, EntryKind, GroupId, LogId, LogIndex, Term, entry};
use bytes::{BufMut as _, Bytes, BytesMut};

pub(crate) const HEADER_LEN: usize = 64;
const ENTRY_HEADER_LEN: usize = 8;
/// What an entry counts in budgets of memory beside its payload: whoever waits for an empty one
/// takes room, too.
const ENTRY_CHARGE: u64 = 64;
const MAGIC: u32 = u32::from_le_bytes(*b"QRB1");
const VERSION: u8 = 1;
/// At least one entry of the block changes the membership.
const FLAG_CONF: u8 = 1;

/// A block under construction. Entries are written once, behind room for the header that the leader
/// stamps in place: no copy between proposing and the wire.
///
/// # Cost
/// One growing buffer; [`stamp`](Self::stamp) computes the CRC and copies nothing.
///
/// # Examples
/// ```
/// use quorate_raft::{EntryBody, GroupId, Limits, LogId, Proposal, Term};
///
/// let mut p = Proposal::new(&Limits::default());
/// p.push(EntryBody::Normal(b"a")).unwrap();
/// p.push(EntryBody::Normal(b"b")).unwrap();
/// let block = p.stamp(GroupId::new(1), Term::new(1), LogId::ZERO, 0);
/// assert_eq!((block.first().value(), block.last().index.value()), (1, 2));
/// ```
#[derive(Clone, Debug)]
pub struct Proposal {
    buf: BytesMut,
    count: u32,
    payload_bytes: u64,
    /// Membership changes among the entries.
    confs: u32,
    limits: Limits,
}

impl Proposal {
    /// An empty block that will keep to `limits`.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self::with_capacity(limits, 192)
    }

    /// Like [`new`](Self::new), with room for `bytes` of entries.
    #[must_use]
    pub fn with_capacity(limits: &Limits, bytes: usize) -> Self {
        let mut buf = BytesMut::with_capacity(HEADER_LEN + bytes);
        buf.put_bytes(0, HEADER_LEN);
        Self { buf, count: 0, payload_bytes: 0, confs: 0, limits: *limits }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`TooLarge`] with `what == "block"` if the block is full (start the next one), `"entry"` if
    /// no block could hold it. Nothing was added.
    pub fn push(&mut self, body: EntryBody<'_>) -> Result<(), TooLarge> {
        let (kind, prefix, data) = body.parts();
        self.push_raw(kind, prefix.as_bytes(), data)
    }

    /// A block of one membership change. It is never refused for its size: a group that is full
    /// must still be able to change.
    pub(crate) fn of_change(change: &ConfChange) -> Self {
        let payload = change.encode();
        let mut p = Self::with_capacity(&Limits::UNLIMITED, payload.len() + ENTRY_HEADER_LEN);
        let pushed = p.push_raw(EntryKind::Conf, &[], &payload);
        debug_assert!(pushed.is_ok(), "changes are smaller than any limit");
        p
    }

    fn push_raw(&mut self, kind: EntryKind, prefix: &[u8], data: &[u8]) -> Result<(), TooLarge> {
        let found = (prefix.len() + data.len()) as u64;
        let max = u64::from(self.limits.entry_bytes_max);
        if found > max {
            return Err(TooLarge { what: "entry", found, max });
        }
        let grown = (self.buf.len() - HEADER_LEN + ENTRY_HEADER_LEN) as u64 + found;
        let full = self.count >= self.limits.block_entries_max
            || grown > u64::from(self.limits.block_bytes_max);
        if self.count > 0 && full {
            let max = u64::from(self.limits.block_bytes_max);
            return Err(TooLarge { what: "block", found: grown, max });
        }
        let len = u32::try_from(found).unwrap_or(u32::MAX); // found ≤ entry_bytes_max, a u32
        self.buf.reserve(ENTRY_HEADER_LEN + prefix.len() + data.len());
        // The kind, three zeros, the length.
        self.buf.put_u64_le(kind as u64 | u64::from(len) << 32);
        if !prefix.is_empty() {
            self.buf.put_slice(prefix);
        }
        self.buf.put_slice(data);
        self.count += 1;
        self.confs += u32::from(kind == EntryKind::Conf);
        self.payload_bytes += found;
        Ok(())
    }

    /// Entries so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Payload bytes so far, without headers.
    #[must_use]
    pub const fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// What it counts in budgets of memory.
    pub(crate) fn charge(&self) -> u64 {
        self.payload_bytes + u64::from(self.count) * ENTRY_CHARGE
    }

    /// Whether an entry changes the membership.
    pub(crate) const fn has_conf(&self) -> bool {
        self.confs > 0
    }

    /// Bytes of the block this would become.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        self.buf.len()
    }

    /// Kind and payload of each entry so far.
    pub fn iter(&self) -> impl Iterator<Item = (EntryKind, &[u8])> {
        let entries = RawEntries { rest: &self.buf[HEADER_LEN..] };
        entries.map(|(kind, raw)| (kind, entry::payload(kind, raw)))
    }

    /// The entries as bytes: what forwards to another node carry.
    pub(crate) fn body(&self) -> &[u8] {
        &self.buf[HEADER_LEN..]
    }

    /// A proposal from the body of another one.
    pub(crate) fn from_body(body: &[u8], limits: &Limits) -> Result<Self, BlockError> {
        let Tally { count, payload_bytes, confs } = check_entries(body, limits)?;
        let mut buf = BytesMut::with_capacity(HEADER_LEN + body.len());
        buf.put_bytes(0, HEADER_LEN);
        buf.put_slice(body);
        Ok(Self { buf, count, payload_bytes, confs, limits: *limits })
    }

    /// Fills the header in: these entries follow `prev` in `group`, appended in `term` at group
    /// time `time_ms`.
    ///
    /// # Panics
    /// If the proposal is empty; the core refuses empty proposals.
    #[must_use]
    pub fn stamp(mut self, group: GroupId, term: Term, prev: LogId, time_ms: u64) -> Block {
        assert!(self.count > 0, "a block holds at least one entry");
        let head = Head {
            group,
            term,
            first: prev.index.next(),
            prev_term: prev.term,
            time_ms,
            count: self.count,
            flags: if self.has_conf() { FLAG_CONF } else { 0 },
        };
        let (header, body) = self.buf.split_at_mut(HEADER_LEN);
        head.encode(header, body);
        Block { bytes: self.buf.freeze(), head }
    }
}

/// The parsed header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    group: GroupId,
    term: Term,
    first: LogIndex,
    prev_term: Term,
    time_ms: u64,
    count: u32,
    flags: u8,
}

impl Head {
    fn encode(&self, mut out: &mut [u8], body: &[u8]) {
        let mut header = [0_u8; HEADER_LEN];
        let mut w = &mut header[..];
        w.put_u32_le(MAGIC);
        w.put_u8(VERSION);
        w.put_u8(self.flags);
        w.put_u16_le(0);
        w.put_u64_le(self.group.value());
        w.put_u64_le(self.term.value());
        w.put_u64_le(self.first.value());
        w.put_u64_le(self.prev_term.value());
        w.put_u64_le(self.time_ms);
        w.put_u32_le(self.count);
        w.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX)); // limits are u32
        w.put_u32_le(crc32fast::hash(body));
        let crc = crc32fast::hash(&header[..60]);
        header[60..].copy_from_slice(&crc.to_le_bytes());
        out.put_slice(&header);
    }
}

/// Contiguous entries of one term; immutable, cheap to clone, always verified.
///
/// # Examples
/// ```
/// use quorate_raft::{Block, EntryBody, GroupId, Limits, LogId, Proposal, Term};
///
/// let mut p = Proposal::new(&Limits::default());
/// p.push(EntryBody::Normal(b"hello")).unwrap();
/// let block = p.stamp(GroupId::new(1), Term::new(1), LogId::ZERO, 0);
///
/// let again = Block::decode(block.as_bytes().clone(), &Limits::default()).unwrap();
/// assert_eq!(again.iter().next().unwrap().data, b"hello");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    bytes: Bytes,
    head: Head,
}

impl Block {
    /// Verifies and takes over an encoded block; `bytes` must be exactly one.
    ///
    /// # Errors
    /// [`BlockError`]: what is wrong and where. Nothing is allocated from an unverified length.
    pub fn decode(bytes: Bytes, limits: &Limits) -> Result<Self, BlockError> {
        let (head, end) = verify(&bytes, limits)?;
        if end < bytes.len() {
            return Err(BlockError::Trailing { bytes: bytes.len() - end });
        }
        Ok(Self { bytes, head })
    }

    /// Verifies the block that `bytes` begins with and returns it with its length.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), but bytes behind the block are the caller's.
    pub fn decode_prefix(bytes: &Bytes, limits: &Limits) -> Result<(Self, usize), BlockError> {
        let (head, end) = verify(bytes, limits)?;
        Ok((Self { bytes: bytes.slice(..end), head }, end))
    }

    /// The group whose log this is of.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.head.group
    }

    /// The term all its entries have.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.head.term
    }

    /// Index of the first entry.
    #[must_use]
    pub const fn first(&self) -> LogIndex {
        self.head.first
    }

    /// Term and index of the last entry.
    #[must_use]
    pub const fn last(&self) -> LogId {
        let index = self.head.first.value() + self.head.count as u64 - 1;
        LogId::of(self.head.term, LogIndex::new(index))
    }

    /// Term and index of the entry before the first.
    #[must_use]
    pub const fn prev(&self) -> LogId {
        LogId::of(self.head.prev_term, self.head.first.prev())
    }

    /// Number of entries, at least 1.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.head.count
    }

    /// Group time in milliseconds when the leader appended it.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.head.time_ms
    }

    /// Whether an entry changes the membership.
    #[must_use]
    pub const fn has_conf(&self) -> bool {
        self.head.flags & FLAG_CONF != 0
    }

    /// Where its membership changes are.
    pub(crate) fn changes(&self) -> impl Iterator<Item = LogIndex> {
        let entries = self.has_conf().then(|| self.iter());
        entries.into_iter().flatten().filter(|e| e.kind == EntryKind::Conf).map(|e| e.id.index)
    }

    /// The encoded block.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Payload bytes, without headers.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        let headers = u64::from(self.head.count) * ENTRY_HEADER_LEN as u64;
        (self.bytes.len() - HEADER_LEN) as u64 - headers
    }

    /// What the entries from `from` to `to` count in budgets of memory, as they did when they were
    /// proposed: usually all, which takes no look at them.
    pub(crate) fn charge_within(&self, from: LogIndex, to: LogIndex) -> u64 {
        if from <= self.first() && self.last().index <= to {
            return self.payload_bytes() + u64::from(self.count()) * ENTRY_CHARGE;
        }
        let within = self.iter().filter(|e| (from..=to).contains(&e.id.index));
        within.map(|e| e.raw.len() as u64 + ENTRY_CHARGE).sum()
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let (term, first, time_ms) = (self.head.term, self.head.first, self.head.time_ms);
        RawEntries { rest: &self.bytes[HEADER_LEN..] }.zip(0_u64..).map(move |((kind, raw), n)| {
            Entry::new(LogId::of(term, first.plus(n)), kind, time_ms, raw)
        })
    }

    /// The block without the entries before `from`, re-encoded. The whole block if `from` is not
    /// behind its first entry, `None` if nothing is left.
    ///
    /// # Cost
    /// One copy of what is kept; only taken when a peer needs the log from the middle of a block.
    #[must_use]
    pub fn suffix(&self, from: LogIndex) -> Option<Self> {
        self.part(from, self.last().index)
    }

    /// The block without the entries behind `to`, re-encoded, as [`suffix`](Self::suffix).
    #[must_use]
    pub fn prefix(&self, to: LogIndex) -> Option<Self> {
        self.part(self.first(), to)
    }

    fn part(&self, from: LogIndex, to: LogIndex) -> Option<Self> {
        if from <= self.first() && to >= self.last().index {
            return Some(self.clone());
        }
        let mut p = Proposal::with_capacity(&Limits::UNLIMITED, self.bytes.len());
        for entry in self.iter().filter(|e| e.id.index >= from && e.id.index <= to) {
            // The entries came from a block within these limits.
            p.push_raw(entry.kind, &[], entry.raw).ok()?;
        }
        if p.count() == 0 {
            return None;
        }
        let prev =
            if from <= self.first() { self.prev() } else { LogId::of(self.head.term, from.prev()) };
        Some(p.stamp(self.head.group, self.head.term, prev, self.head.time_ms))
    }
}

/// Checks the block that `bytes` begins with; returns its header and its length.
fn verify(bytes: &[u8], limits: &Limits) -> Result<(Head, usize), BlockError> {
    let (head, body_len, body_crc) = decode_head(bytes)?;
    let mut max = limits.body_bytes_max();
    if head.flags & FLAG_CONF != 0 {
        // Not bound by the limits of entries: a group must be able to change.
        max = max.max(u64::from(CHANGE_BYTES_MAX) + ENTRY_HEADER_LEN as u64);
    }
    if u64::from(body_len) > max {
        return Err(BlockError::TooLarge { found: u64::from(body_len), max });
    }
    let end = HEADER_LEN + body_len as usize;
    if bytes.len() < end {
        return Err(BlockError::Truncated { expected: end, found: bytes.len() });
    }
    let body = &bytes[HEADER_LEN..end];
    let found = crc32fast::hash(body);
    if found != body_crc {
        return Err(BlockError::BodyCrc { expected: body_crc, found });
    }
    let tally = check_entries(body, limits)?;
    if tally.count != head.count {
        return Err(BlockError::Count { expected: head.count, found: tally.count });
    }
    if (head.flags & FLAG_CONF != 0) != (tally.confs > 0) {
        return Err(BlockError::Field { what: "flag of membership changes" });
    }
    Ok((head, end))
}

/// Header fields, body length and body CRC.
fn decode_head(bytes: &[u8]) -> Result<(Head, u32, u32), BlockError> {
    use bytes::Buf as _;
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Err(BlockError::Truncated { expected: HEADER_LEN, found: bytes.len() });
    };
    let mut r = &header[..];
    let magic = r.get_u32_le();
    if magic != MAGIC {
        return Err(BlockError::Magic { found: magic });
    }
    let (expected, found) = (
        u32::from_le_bytes([header[60], header[61], header[62], header[63]]),
        crc32fast::hash(&header[..60]),
    );
    if expected != found {
        return Err(BlockError::HeaderCrc { expected, found });
    }
    let (version, flags, zero) = (r.get_u8(), r.get_u8(), r.get_u16_le());
    if version != VERSION {
        return Err(BlockError::Version { found: version });
    }
    if flags & !FLAG_CONF != 0 || zero != 0 {
        return Err(BlockError::Field { what: "flags" });
    }
    let head = Head {
        group: GroupId::new(r.get_u64_le()),
        term: Term::new(r.get_u64_le()),
        first: LogIndex::new(r.get_u64_le()),
        prev_term: Term::new(r.get_u64_le()),
        time_ms: r.get_u64_le(),
        count: r.get_u32_le(),
        flags,
    };
    if head.count == 0 {
        return Err(BlockError::Field { what: "count" });
    }
    // Room for the index after the last, so that arithmetic on indexes cannot wrap.
    if head.first == LogIndex::ZERO || head.first.value() > u64::MAX - u64::from(head.count) - 1 {
        return Err(BlockError::Field { what: "first index" });
    }
    if head.term == Term::ZERO || head.prev_term > head.term {
        return Err(BlockError::Field { what: "term" });
    }
    Ok((head, r.get_u32_le(), r.get_u32_le()))
}

/// What a body holds.
struct Tally {
    count: u32,
    payload_bytes: u64,
    /// Membership changes among the entries.
    confs: u32,
}

/// Walks the entries of a body: every length within it, every kind known, ending exactly at its
/// end.
fn check_entries(body: &[u8], limits: &Limits) -> Result<Tally, BlockError> {
    let (mut rest, mut count, mut payload_bytes, mut confs) = (body, 0_u32, 0_u64, 0_u32);
    while !rest.is_empty() {
        let Some((header, tail)) = rest.split_first_chunk::<ENTRY_HEADER_LEN>() else {
            return Err(BlockError::Field { what: "entry header" });
        };
        let [kind, zero @ .., l0, l1, l2, l3] = *header;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        if zero != [0; 3] {
            return Err(BlockError::Field { what: "entry padding" });
        }
        let known = match EntryKind::from_byte(kind) {
            Some(EntryKind::Noop) if len > 0 => None,
            known => known,
        };
        let known = known.ok_or(BlockError::Kind { found: kind })?;
        let max = match known {
            EntryKind::Conf => u64::from(limits.entry_bytes_max.max(CHANGE_BYTES_MAX)),
            _ => u64::from(limits.entry_bytes_max),
        };
        if u64::from(len) > max {
            return Err(BlockError::TooLarge { found: u64::from(len), max });
        }
        let Some((data, next)) = tail.split_at_checked(len as usize) else {
            return Err(BlockError::Field { what: "entry length" });
        };
        if known == EntryKind::Conf {
            ConfChange::decode(data)?;
            confs += 1;
        } else if !entry::is_well_formed(known, data) {
            return Err(BlockError::Field { what: "session entry" });
        }
        rest = next;
        count = count.checked_add(1).ok_or(BlockError::Field { what: "count" })?;
        payload_bytes += u64::from(len);
        if count > limits.block_entries_max {
            return Err(BlockError::Field { what: "count" });
        }
    }
    if count == 0 {
        return Err(BlockError::Field { what: "count" });
    }
    Ok(Tally { count, payload_bytes, confs })
}

/// Entries of a verified body.
struct RawEntries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RawEntries<'a> {
    type Item = (EntryKind, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (header, tail) = self.rest.split_first_chunk::<ENTRY_HEADER_LEN>()?;
        let kind = EntryKind::from_byte(header[0])?;
        let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let (data, rest) = tail.split_at_checked(len)?;
        self.rest = rest;
        Some((kind, data))
    }
}
