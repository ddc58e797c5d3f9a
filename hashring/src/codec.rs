//! The envelope of every encoded value, and a reader that checks before it takes. The bytes are
//! described in FORMAT.md.

use crate::Digest;
use crate::crc::crc32;
use crate::error::DecodeError;
use crate::width::to_u32;
use alloc::vec::Vec;
use xxhash_rust::xxh3::Xxh3Default;

const MAGIC: [u8; 4] = *b"QHR1";
const VERSION: u8 = 1;
/// Magic, kind, version, flags, body length, reserved, digest.
const HEADER_BYTES: usize = 24;
const CRC_BYTES: usize = 4;
/// No encoded value is longer than 64 MiB.
pub(crate) const BODY_BYTES_MAX: usize = (64 << 20) - HEADER_BYTES - CRC_BYTES;

/// What an encoded value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Topology = 1,
    Table = 2,
    View = 3,
    Ranges = 4,
}

/// Identifies a body: XXH3 over kind, version and body.
pub(crate) fn digest(kind: Kind, body: &[u8]) -> Digest {
    let mut sum = Xxh3Default::new();
    sum.update(&[kind as u8, VERSION]);
    sum.update(body);
    Digest::new(sum.digest())
}

/// Puts a body into its envelope.
pub(crate) fn seal(kind: Kind, body: &[u8]) -> Vec<u8> {
    seal_with(kind, body, digest(kind, body))
}

/// Puts a body whose digest is known into its envelope.
pub(crate) fn seal_with(kind: Kind, body: &[u8], digest: Digest) -> Vec<u8> {
    debug_assert!(body.len() <= BODY_BYTES_MAX, "limits of the kind keep it below");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len() + CRC_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[kind as u8, VERSION, 0, 0]);
    bytes.extend_from_slice(&to_u32(body.len()).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&digest.value().to_le_bytes());
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc32(&bytes).to_le_bytes());
    bytes
}

/// Takes a value out of its envelope: length, magic, kind, version, checksum, digest, in that
/// order.
pub(crate) fn open(kind: Kind, bytes: &[u8]) -> Result<Body<'_>, DecodeError> {
    let total = declared_length(bytes)?;
    if bytes.get(4) != Some(&(kind as u8)) {
        return Err(DecodeError::Kind { expected: kind as u8, found: bytes[4] });
    }
    if bytes[5] != VERSION {
        return Err(DecodeError::UnsupportedVersion { found: bytes[5], newest: VERSION });
    }
    if bytes.len() < total {
        return Err(DecodeError::Truncated { have: bytes.len(), need: total });
    }
    if bytes.len() > total && !crate::plant::planted("m33_trailing_bytes_accepted") {
        return Err(DecodeError::Trailing { have: bytes.len(), expected: total });
    }
    let (sealed, crc) = bytes[..total].split_at(total - CRC_BYTES);
    let expected = word(crc, 0);
    let found = crc32(sealed);
    if found != expected {
        return Err(DecodeError::Checksum { expected, found });
    }
    let (header, body) = sealed.split_at(HEADER_BYTES);
    if header[6..8] != [0; 2] {
        return Err(DecodeError::Invalid { what: "flags", offset: 6 });
    }
    if header[12..16] != [0; 4] {
        return Err(DecodeError::Invalid { what: "reserved bytes", offset: 12 });
    }
    let expected = Digest::new(u64::from(word(header, 16)) | u64::from(word(header, 20)) << 32);
    let found = digest(kind, body);
    if found != expected {
        return Err(DecodeError::Digest { expected, found });
    }
    Ok(Body { bytes: body, at: 0, base: HEADER_BYTES, digest: found })
}

/// The length that the header declares, once there is a header of ours.
fn declared_length(bytes: &[u8]) -> Result<usize, DecodeError> {
    let magic = &bytes[..bytes.len().min(4)];
    if magic != &MAGIC[..magic.len()] {
        return Err(DecodeError::BadMagic);
    }
    let least = HEADER_BYTES + CRC_BYTES;
    if bytes.len() < least {
        return Err(DecodeError::Truncated { have: bytes.len(), need: least });
    }
    let body = word(bytes, 8) as usize;
    if body > BODY_BYTES_MAX {
        return Err(DecodeError::Invalid { what: "body length", offset: 8 });
    }
    Ok(least + body)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads a body front to back. A field that the body is too short for is `Invalid`: the checksum
/// was right, so it was written that way.
pub(crate) struct Body<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the body stands in the whole value: errors name offsets there.
    base: usize,
    digest: Digest,
}

impl<'a> Body<'a> {
    /// The digest of the whole body, already compared.
    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// Where the next field begins, in the whole value.
    pub(crate) const fn offset(&self) -> usize {
        self.base + self.at
    }

    /// How many bytes are left.
    pub(crate) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let bytes: &'a [u8] = self.bytes;
        let Some(taken) = bytes[self.at..].get(..length) else {
            return Err(DecodeError::Invalid { what: "length", offset: self.offset() });
        };
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Text behind one byte of length.
    pub(crate) fn name(&mut self, bytes_max: usize) -> Result<&'a str, DecodeError> {
        let offset = self.offset();
        let length = usize::from(self.u8()?);
        if length > bytes_max {
            return Err(DecodeError::Invalid { what: "length of a name", offset });
        }
        let bytes = self.take(length)?;
        core::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid { what: "name", offset })
    }

    /// A part of `length` bytes as a body of its own.
    pub(crate) fn part(&mut self, length: usize) -> Result<Self, DecodeError> {
        let base = self.offset();
        Ok(Body { bytes: self.take(length)?, at: 0, base, digest: self.digest })
    }

    /// The bytes of the body from `start` (an offset in the whole value) to here.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start - self.base..self.at]
    }

    /// Nothing may be left.
    pub(crate) const fn finish(self) -> Result<(), DecodeError> {
        if self.left() == 0 {
            return Ok(());
        }
        Err(DecodeError::Invalid { what: "end of the body", offset: self.offset() })
    }
}
