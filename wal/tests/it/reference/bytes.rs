//! Checksums, varints, headers, frames, records: the tables of `FORMAT.md`.

use super::Item;

/// Something a newer version wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newer;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut c = n as u32;
        let mut bit = 0;
        while bit < 8 {
            c = if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
            bit += 1;
        }
        table[n] = c;
        n += 1;
    }
    table
}

/// CRC-32/ISO-HDLC.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |c: u32, &b| TABLE[usize::from(c.to_le_bytes()[0] ^ b)] ^ (c >> 8))
}

/// A little-endian number of `n` bytes; 0 beyond the end.
pub(crate) fn le(bytes: &[u8], at: usize, n: usize) -> u64 {
    let Some(part) = bytes.get(at..at + n) else { return 0 };
    part.iter().rev().fold(0, |sum, &b| sum << 8 | u64::from(b))
}

fn zeros(bytes: &[u8], at: usize, to: usize) -> bool {
    bytes[at..to].iter().all(|&b| b == 0)
}

pub(crate) const FRAMES_AT: u64 = 4096;
pub(crate) const LIMIT: u64 = 1 << 63;

pub(crate) const DATA: u8 = 1;
pub(crate) const LINK: u8 = 2;
pub(crate) const END: u8 = 3;
const PAD: u8 = 4;

/// A header page copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) uuid: (u64, u64),
    pub(crate) salt: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) grows: bool,
}

pub(crate) fn page(file: &[u8], at: usize, number: u64) -> Result<Option<Page>, Newer> {
    let Some(b) = file.get(at..at + 96) else { return Ok(None) };
    let magic = [0x51, 0x57, 0x41, 0x4c, 0x0d, 0x0a, 0x1a, 0x0a];
    if b[..8] != magic || le(b, 92, 4) != u64::from(crc(&b[..92])) {
        return Ok(None);
    }
    let align = le(b, 52, 4);
    if le(b, 8, 2) != 1 || b[10] != 1 || b[11] > 1 || ![0, 512, 4096].contains(&align) {
        return Err(Newer);
    }
    let sound = le(b, 12, 4) == FRAMES_AT
        && le(b, 40, 8) != 0
        && le(b, 32, 8) == number
        && zeros(b, 56, 92);
    let (uuid, salt) = ((le(b, 16, 8), le(b, 24, 8)), le(b, 40, 8));
    Ok(sound.then(|| Page { uuid, salt, segment_bytes: le(b, 48, 4), grows: b[11] == 1 }))
}

/// A slot of MANIFEST.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) number: u64,
    pub(crate) clean: bool,
    pub(crate) uuid: (u64, u64),
    pub(crate) oldest: u64,
    pub(crate) newest: u64,
    pub(crate) seq: u64,
    pub(crate) salt: u64,
    pub(crate) off: u64,
    pub(crate) low: u64,
}

pub(crate) fn slot(file: &[u8], index: usize) -> Result<Option<Slot>, Newer> {
    let at = index * 4096;
    let Some(b) = file.get(at..at + 128) else { return Ok(None) };
    if &b[..8] != b"QWALMAN1" || le(b, 124, 4) != u64::from(crc(&b[..124])) {
        return Ok(None);
    }
    if le(b, 8, 2) != 1 || le(b, 10, 2) > 1 {
        return Err(Newer);
    }
    let numbers = [16, 40, 48, 56, 72, 88];
    let sound = zeros(b, 12, 16)
        && zeros(b, 84, 88)
        && zeros(b, 96, 124)
        && numbers.iter().all(|&at| le(b, at, 8) < LIMIT)
        && le(b, 16, 8) % 2 == index as u64;
    Ok(sound.then(|| Slot {
        number: le(b, 16, 8),
        clean: le(b, 10, 2) == 1,
        uuid: (le(b, 24, 8), le(b, 32, 8)),
        oldest: le(b, 40, 8),
        newest: le(b, 48, 8),
        seq: le(b, 56, 8),
        salt: le(b, 64, 8),
        off: le(b, 80, 4),
        low: le(b, 88, 8),
    }))
}

/// A sound frame header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) at: u64,
    pub(crate) kind: u8,
    pub(crate) records: u64,
    pub(crate) len: u64,
    pub(crate) durable: u64,
    pub(crate) first: u64,
    pub(crate) numbers: u64,
    pub(crate) payload_crc: u64,
    pub(crate) chain: u32,
    pub(crate) crc: u32,
}

impl Head {
    /// The offset behind the frame.
    pub(crate) fn after(&self) -> u64 {
        self.at + 40 + self.len.next_multiple_of(8)
    }
}

/// The life of a file: salt and number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) salt: u64,
    pub(crate) number: u64,
}

pub(crate) fn head(file: &[u8], at: u64, life: Life) -> Result<Option<Head>, Newer> {
    let from = usize::try_from(at).unwrap();
    let Some(b) = file.get(from..from + 40) else { return Ok(None) };
    if b[4] == 0 || !zeros(b, 36, 40) || le(b, 12, 4) > at {
        return Ok(None);
    }
    let mut input = Vec::with_capacity(60);
    for number in [life.salt, life.number, at] {
        input.extend_from_slice(&number.to_le_bytes());
    }
    input.extend_from_slice(&b[4..]);
    let sum = crc(&input);
    if le(b, 0, 4) != u64::from(sum) {
        return Ok(None);
    }
    if b[4] > PAD || b[5] != 0 {
        return Err(Newer);
    }
    let found = Head {
        at,
        kind: b[4],
        records: le(b, 6, 2),
        len: le(b, 8, 4),
        durable: le(b, 12, 4),
        first: le(b, 16, 8),
        numbers: le(b, 24, 4),
        payload_crc: le(b, 28, 4),
        chain: u32::try_from(le(b, 32, 4)).unwrap(),
        crc: sum,
    };
    let sound = match found.kind {
        DATA => found.records >= 1 && found.numbers <= found.records,
        kind => {
            let shape = match kind {
                LINK => found.len == 48,
                END => found.len == 0 && found.payload_crc == 0,
                _ => true,
            };
            found.records == 0 && found.numbers == 0 && shape
        }
    };
    Ok((sound && found.first < LIMIT).then_some(found))
}

/// What a Link says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) prev: u64,
    pub(crate) prev_salt: u64,
    pub(crate) prev_end: u64,
    pub(crate) prev_chain: u32,
    pub(crate) prev_last: u64,
    pub(crate) low: u64,
}

pub(crate) fn link(payload: &[u8], life: Life) -> Option<Link> {
    let link = Link {
        prev: le(payload, 0, 8),
        prev_salt: le(payload, 8, 8),
        prev_end: le(payload, 16, 4),
        prev_chain: u32::try_from(le(payload, 20, 4)).unwrap(),
        prev_last: le(payload, 24, 8),
        low: le(payload, 32, 8),
    };
    let small = link.prev < life.number && link.prev_last < LIMIT && link.low < LIMIT;
    (small && le(payload, 40, 8) == 0).then_some(link)
}

/// The payload with padding, if it lies in the file and verifies.
pub(crate) fn payload<'a>(file: &'a [u8], head: &Head) -> Option<&'a [u8]> {
    let from = usize::try_from(head.at).unwrap() + 40;
    let bytes = file.get(from..usize::try_from(head.after()).unwrap())?;
    (u64::from(crc(bytes)) == head.payload_crc).then_some(bytes)
}

/// The records of a frame, if all of it is sound; none for other kinds than Data.
pub(crate) fn frame(file: &[u8], head: &Head) -> Result<Option<Vec<Item>>, Newer> {
    let Some(bytes) = payload(file, head) else { return Ok(None) };
    if head.kind != DATA {
        return Ok(Some(Vec::new()));
    }
    let mut rest = &bytes[..usize::try_from(head.len).unwrap()];
    let mut items = Vec::new();
    for _ in 0..head.records {
        match record(&mut rest)? {
            Some(item) => items.push(item),
            None => return Ok(None),
        }
    }
    let numbers = items.iter().filter(|item| item.takes_number()).count() as u64;
    Ok((rest.is_empty() && numbers == head.numbers).then_some(items))
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (&first, others) = rest.split_first()?;
    *rest = others;
    Some(first)
}

/// Canonical LEB128: at most 10 bytes, no needless ones, at most 64 bits.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u128;
    for i in 0..10 {
        let b = byte(rest)?;
        value |= u128::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            let shortest = i == 0 || b != 0;
            return u64::try_from(value).ok().filter(|_| shortest);
        }
    }
    None
}

fn small(rest: &mut &[u8]) -> Option<u64> {
    varint(rest).filter(|&n| n < LIMIT)
}

fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let len = usize::try_from(varint(rest)?).ok()?;
    let (bytes, others) = (rest.get(..len)?, rest.get(len..)?);
    *rest = others;
    Some(bytes.to_vec())
}

fn stream(rest: &mut &[u8]) -> Option<(u64, u64)> {
    let space = varint(rest).filter(|&n| n <= 0xffff)?;
    Some((space, varint(rest)?))
}

/// The next record; `None` if it is malformed.
fn record(rest: &mut &[u8]) -> Result<Option<Item>, Newer> {
    let Some(kind) = byte(rest) else { return Ok(None) };
    Ok(match kind {
        1 => text(rest).map(Item::Record),
        2 | 3 => {
            let Some(flags) = byte(rest) else { return Ok(None) };
            let known = if kind == 2 { 3 } else { 2 };
            if flags & !known != 0 {
                return Err(Newer);
            }
            if kind == 2 { block(rest, flags) } else { meta(rest) }
        }
        4 => stream(rest).and_then(|(space, id)| {
            varint(rest)?;
            Some(Item::Drop { space, id })
        }),
        5 => small(rest).map(Item::Cut),
        6 => hole(rest),
        16 => stream(rest)
            .and_then(|(space, id)| Some(Item::KeepStream { space, id, low: small(rest)? })),
        17 => small(rest).map(Item::KeepMain),
        18 => small(rest).map(|_| Item::High),
        _ => return Err(Newer),
    })
}

fn block(rest: &mut &[u8], flags: u8) -> Option<Item> {
    let (space, id) = stream(rest)?;
    varint(rest)?;
    let first = small(rest)?;
    let count = varint(rest).filter(|n| (1..=1 << 24).contains(n))?;
    let carried = flags & 2 == 2;
    if carried && flags & 1 == 1 || first + count >= LIMIT {
        return None;
    }
    let kept = if carried { varint(rest).filter(|n| (1..=count).contains(n))? } else { count };
    let tag = varint(rest)?;
    let bytes = text(rest)?;
    Some(Item::Block { space, id, replace: flags & 1 == 1, first, count, kept, tag, bytes })
}

fn meta(rest: &mut &[u8]) -> Option<Item> {
    let (space, id) = stream(rest)?;
    varint(rest)?;
    let slot = byte(rest).filter(|&n| n < 16)?;
    Some(Item::Meta { space, id, slot, bytes: text(rest)? })
}

fn hole(rest: &mut &[u8]) -> Option<Item> {
    let segment = varint(rest)?;
    let offset = varint(rest).filter(|&n| n <= 0xffff_ffff)?;
    varint(rest).filter(|&n| n <= 0xffff_ffff)?;
    Some(Item::Hole { segment, offset, from: small(rest)?, to: small(rest)? })
}
