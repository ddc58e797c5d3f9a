//! Records inside a Data frame's payload.

use super::{Unsupported, varint};
use crate::batch::{COUNT_MAX, INDEX_MAX};
use crate::lsn::{Slot, StreamId};
use crate::width::{index, wide};

const DATA: u8 = 1;
const ENTRIES: u8 = 2;
const META: u8 = 3;
const DROP: u8 = 4;
const TRUNCATE_SUFFIX: u8 = 5;
const HOLE: u8 = 6;
const KEEP_STREAM: u8 = 16;
const KEEP_MAIN: u8 = 17;
const HIGH: u8 = 18;
const FLAG_REPLACE: u8 = 1;
const FLAG_CARRIED: u8 = 2;

/// One record, its bytes borrowed from the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Data { bytes: &'a [u8] },
    Entries(Entries<'a>),
    Meta { carried: bool, stream: StreamId, back: u64, slot: u8, bytes: &'a [u8] },
    Drop { stream: StreamId, back: u64 },
    TruncateSuffix { from: u64 },
    Hole(Hole),
    KeepStream { stream: StreamId, low: u64 },
    KeepMain { low: u64 },
    High { lsn: u64 },
}

/// A block of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entries<'a> {
    pub(crate) replace: bool,
    /// Written again by the log itself: how many entries, from the first, are live.
    pub(crate) carried: Option<u32>,
    pub(crate) stream: StreamId,
    pub(crate) back: u64,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) tag: u64,
    pub(crate) bytes: &'a [u8],
}

/// Damage that was accepted: later opens do not refuse because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) segment: u64,
    pub(crate) from_off: u32,
    pub(crate) to_off: u32,
    pub(crate) from_lsn: u64,
    pub(crate) to_lsn: u64,
}

/// Why a payload with a good checksum could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordFault {
    Malformed,
    Unsupported(Unsupported),
}

impl Record<'_> {
    /// Whether the record consumes a number; hints do not.
    pub(crate) const fn has_lsn(&self) -> bool {
        !matches!(self, Self::KeepStream { .. } | Self::KeepMain { .. } | Self::High { .. })
    }

    /// Appends the record.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Data { bytes } => {
                out.push(DATA);
                put_bytes(out, bytes);
            }
            Self::Entries(ref entries) => entries.encode(out),
            Self::Meta { carried, stream, back, slot, bytes } => {
                out.push(META);
                out.push(if carried { FLAG_CARRIED } else { 0 });
                put_stream(out, stream);
                varint::put(out, back);
                out.push(slot);
                put_bytes(out, bytes);
            }
            Self::Drop { stream, back } => {
                out.push(DROP);
                put_stream(out, stream);
                varint::put(out, back);
            }
            Self::TruncateSuffix { from } => {
                out.push(TRUNCATE_SUFFIX);
                varint::put(out, from);
            }
            Self::Hole(hole) => {
                out.push(HOLE);
                varint::put(out, hole.segment);
                varint::put(out, hole.from_off.into());
                varint::put(out, hole.to_off.into());
                varint::put(out, hole.from_lsn);
                varint::put(out, hole.to_lsn);
            }
            Self::KeepStream { stream, low } => {
                out.push(KEEP_STREAM);
                put_stream(out, stream);
                varint::put(out, low);
            }
            Self::KeepMain { low } => {
                out.push(KEEP_MAIN);
                varint::put(out, low);
            }
            Self::High { lsn } => {
                out.push(HIGH);
                varint::put(out, lsn);
            }
        }
    }
}

impl Entries<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(ENTRIES);
        let replace = if self.replace { FLAG_REPLACE } else { 0 };
        out.push(replace | if self.carried.is_some() { FLAG_CARRIED } else { 0 });
        put_stream(out, self.stream);
        varint::put(out, self.back);
        varint::put(out, self.first);
        varint::put(out, self.count.into());
        if let Some(kept) = self.carried {
            varint::put(out, kept.into());
        }
        varint::put(out, self.tag);
        put_bytes(out, self.bytes);
    }
}

fn put_stream(out: &mut Vec<u8>, stream: StreamId) {
    varint::put(out, stream.space().into());
    varint::put(out, stream.id());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, wide(bytes.len()));
    out.extend_from_slice(bytes);
}

/// The records of a payload in order.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Records<'a> {
    /// `payload` without padding, with `count` records in it.
    pub(crate) const fn new(payload: &'a [u8], count: u16) -> Self {
        Self { rest: payload, left: count }
    }

    /// Whether the payload was used up exactly.
    pub(crate) const fn is_done(&self) -> bool {
        self.left == 0 && self.rest.is_empty()
    }

    fn decode(&mut self) -> Result<Record<'a>, RecordFault> {
        let input = &mut self.rest;
        let kind = byte(input)?;
        Ok(match kind {
            DATA => Record::Data { bytes: blob(input)? },
            ENTRIES => {
                let flags = flags(input, FLAG_REPLACE | FLAG_CARRIED)?;
                if flags == FLAG_REPLACE | FLAG_CARRIED {
                    return Err(RecordFault::Malformed);
                }
                let (stream, back, first) = (stream(input)?, number(input)?, bounded(input)?);
                let count = u32::try_from(number(input)?).map_err(|_| RecordFault::Malformed)?;
                // Nobody can have staged what staging refuses.
                if count == 0 || count > COUNT_MAX || first + u64::from(count) >= INDEX_MAX {
                    return Err(RecordFault::Malformed);
                }
                let carried =
                    if flags & FLAG_CARRIED == 0 { None } else { Some(kept(input, count)?) };
                Record::Entries(Entries {
                    replace: flags & FLAG_REPLACE != 0,
                    carried,
                    stream,
                    back,
                    first,
                    count,
                    tag: number(input)?,
                    bytes: blob(input)?,
                })
            }
            META => Record::Meta {
                carried: flags(input, FLAG_CARRIED)? != 0,
                stream: stream(input)?,
                back: number(input)?,
                slot: byte(input).and_then(slot)?,
                bytes: blob(input)?,
            },
            DROP => Record::Drop { stream: stream(input)?, back: number(input)? },
            TRUNCATE_SUFFIX => Record::TruncateSuffix { from: bounded(input)? },
            HOLE => Record::Hole(hole(input)?),
            KEEP_STREAM => Record::KeepStream { stream: stream(input)?, low: bounded(input)? },
            KEEP_MAIN => Record::KeepMain { low: bounded(input)? },
            HIGH => Record::High { lsn: bounded(input)? },
            // H11: an unknown kind stops the open; it never ends the log quietly.
            other => return Err(unsupported("record kind", other.into())),
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(self.decode())
    }
}

/// Whether a payload is `count` records of the plain log and nothing else: the short way to check
/// what logs consist of mostly. `false` says nothing; [`Records`] does.
pub(crate) fn is_plain(payload: &[u8], count: u16) -> bool {
    let mut rest = payload;
    for _ in 0..count {
        let (len, after) = match *rest {
            [DATA, a, ref after @ ..] if a < 0x80 => (usize::from(a), after),
            [DATA, a, b, ref after @ ..] if b < 0x80 && b > 0 => {
                (usize::from(a & 0x7f) | usize::from(b) << 7, after)
            }
            [DATA, ref after @ ..] => {
                let mut input = after;
                let len = varint::take(&mut input).and_then(|len| usize::try_from(len).ok());
                let Some(len) = len else { return false };
                (len, input)
            }
            _ => return false,
        };
        let Some(left) = after.get(len..) else { return false };
        rest = left;
    }
    rest.is_empty()
}

const fn unsupported(what: &'static str, found: u64) -> RecordFault {
    RecordFault::Unsupported(Unsupported { what, found })
}

fn byte(input: &mut &[u8]) -> Result<u8, RecordFault> {
    let (&first, rest) = input.split_first().ok_or(RecordFault::Malformed)?;
    *input = rest;
    Ok(first)
}

fn flags(input: &mut &[u8], known: u8) -> Result<u8, RecordFault> {
    let flags = byte(input)?;
    if flags & !known == 0 { Ok(flags) } else { Err(unsupported("record flags", flags.into())) }
}

fn number(input: &mut &[u8]) -> Result<u64, RecordFault> {
    varint::take(input).ok_or(RecordFault::Malformed)
}

/// A record number or an index.
fn bounded(input: &mut &[u8]) -> Result<u64, RecordFault> {
    number(input).and_then(|n| if n < INDEX_MAX { Ok(n) } else { Err(RecordFault::Malformed) })
}

/// How many of `count` entries are live; none would not have been carried.
fn kept(input: &mut &[u8], count: u32) -> Result<u32, RecordFault> {
    let kept = u32::try_from(number(input)?).map_err(|_| RecordFault::Malformed)?;
    if (1..=count).contains(&kept) { Ok(kept) } else { Err(RecordFault::Malformed) }
}

fn slot(n: u8) -> Result<u8, RecordFault> {
    Slot::new(n).map(Slot::as_u8).ok_or(RecordFault::Malformed)
}

fn stream(input: &mut &[u8]) -> Result<StreamId, RecordFault> {
    let space = u16::try_from(number(input)?).map_err(|_| RecordFault::Malformed)?;
    Ok(StreamId::new(space, number(input)?))
}

fn blob<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], RecordFault> {
    let len = number(input)?;
    if len > wide(input.len()) {
        return Err(RecordFault::Malformed);
    }
    let (bytes, rest) = input.split_at(index(len));
    *input = rest;
    Ok(bytes)
}

fn hole(input: &mut &[u8]) -> Result<Hole, RecordFault> {
    let small = |n: u64| u32::try_from(n).map_err(|_| RecordFault::Malformed);
    Ok(Hole {
        segment: number(input)?,
        from_off: small(number(input)?)?,
        to_off: small(number(input)?)?,
        from_lsn: bounded(input)?,
        to_lsn: bounded(input)?,
    })
}
