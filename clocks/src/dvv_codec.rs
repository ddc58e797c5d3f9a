//! The byte form of a [`DvvSet`].

use crate::codec::{DecodeError, EncodeError, Reader, VERSION, entries_count};
use crate::dvv::Known;
use crate::entries::Entries;
use crate::{ActorBytes, DvvSet};
use alloc::vec::Vec;

const VALUES_MAX: usize = 1_024;
const VALUE_BYTES_MAX: usize = 16 << 20;

impl<A: ActorBytes, V> DvvSet<A, V> {
    /// Its byte form (`FORMAT.md`); `f` writes one value into the empty `Vec` it is given.
    ///
    /// # Cost
    /// One buffer for the form, and one as long as the longest value.
    ///
    /// # Errors
    /// [`EncodeError`] above 4,096 actors, 1,024 values, or 16 MiB for one value.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::DvvSet;
    ///
    /// let set = DvvSet::new(String::from("x")).update(None, 7_u64);
    /// let bytes = set.encode_with(|value, out| out.extend_from_slice(value.as_bytes()))?;
    /// let back = DvvSet::decode_with(&bytes, |value| String::from_utf8(value.to_vec()).ok());
    /// assert_eq!(back, Ok(set));
    /// # Ok::<(), quorate_clocks::EncodeError>(())
    /// ```
    pub fn encode_with(&self, mut f: impl FnMut(&V, &mut Vec<u8>)) -> Result<Vec<u8>, EncodeError> {
        let count = entries_count(self.known.len())?;
        if self.values.len() > VALUES_MAX {
            return Err(EncodeError::Values { count: self.values.len(), limit: VALUES_MAX });
        }
        let (entries, anonymous) = self.parts();
        let mut out = Vec::from([VERSION, A::WIDTH]);
        // What `f` does to its `Vec` must not reach what is written already.
        let mut scratch = Vec::new();
        let mut put = |value: &V, out: &mut Vec<u8>| {
            scratch.clear();
            f(value, &mut scratch);
            put_value(&scratch, out)
        };
        out.extend_from_slice(&count.to_le_bytes());
        put_len(anonymous.len(), &mut out)?;
        for (actor, counter, values) in entries {
            actor.write_to(&mut out);
            out.extend_from_slice(&counter.to_le_bytes());
            put_len(values.len(), &mut out)?;
            for value in values {
                put(value, &mut out)?;
            }
        }
        for value in anonymous {
            put(value, &mut out)?;
        }
        Ok(out)
    }

    /// From its byte form, all of it; `f` makes a value of its bytes, or refuses them.
    ///
    /// One set has one byte form if `f` takes only what the encoding function writes.
    ///
    /// # Cost
    /// Nothing is allocated before all but the values themselves was checked. Then at most twice as
    /// much as `bytes` for the entries, and the size of `V` for each of at most 1,024 values,
    /// besides what `f` allocates.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeError::Value`] if `f` refuses a value, [`DecodeError::TooMany`]
    /// also if an actor has more values than events.
    pub fn decode_with(
        bytes: &[u8],
        mut f: impl FnMut(&[u8]) -> Option<V>,
    ) -> Result<Self, DecodeError> {
        let sizes = walk::<A>(bytes, |_| Ok(()), |_, _| Ok(()))?;
        let mut known = Entries::with_capacity(sizes.entries);
        let mut values = Vec::with_capacity(sizes.values);
        let push = |entry| {
            known.push(entry);
            Ok(())
        };
        walk(bytes, push, |offset, value| {
            values.push(f(value).ok_or(DecodeError::Value { offset })?);
            Ok(())
        })?;
        Ok(Self { known, values })
    }
}

fn put_len(len: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let short = u32::try_from(len).ok();
    let short = short.ok_or(EncodeError::Values { count: len, limit: VALUES_MAX })?;
    out.extend_from_slice(&short.to_le_bytes());
    Ok(())
}

fn put_value(value: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let len = value.len();
    let short = u32::try_from(len).ok().filter(|_| len <= VALUE_BYTES_MAX);
    let short = short.ok_or(EncodeError::ValueBytes { len, limit: VALUE_BYTES_MAX })?;
    out.extend_from_slice(&short.to_le_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// How much room a set takes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    entries: usize,
    values: usize,
}

/// Reads the form once, checking all of it; allocates nothing.
fn walk<A: ActorBytes>(
    bytes: &[u8],
    mut entry: impl FnMut(Known<A>) -> Result<(), DecodeError>,
    mut value: impl FnMut(usize, &[u8]) -> Result<(), DecodeError>,
) -> Result<Sizes, DecodeError> {
    let mut reader = Reader::new(bytes);
    let entries = reader.header::<A>()?;
    let anonymous = count(&mut reader, VALUES_MAX as u64)?;
    let mut values = anonymous;
    let mut last = None;
    for _ in 0..entries {
        let dot = reader.dot(last)?;
        last = Some(dot.actor);
        let left = (VALUES_MAX - values) as u64;
        let live = count(&mut reader, left.min(dot.counter))?;
        values += live;
        entry(Known { actor: dot.actor, counter: dot.counter, live })?;
        for _ in 0..live {
            take_value(&mut reader, &mut value)?;
        }
    }
    for _ in 0..anonymous {
        take_value(&mut reader, &mut value)?;
    }
    reader.end()?;
    Ok(Sizes { entries, values })
}

fn count(reader: &mut Reader<'_>, limit: u64) -> Result<usize, DecodeError> {
    let offset = reader.at;
    let count = u64::from(reader.u32()?);
    if count > limit {
        return Err(DecodeError::TooMany { offset, count, limit });
    }
    usize::try_from(count).map_err(|_| DecodeError::TooMany { offset, count, limit })
}

fn take_value(
    reader: &mut Reader<'_>,
    value: &mut impl FnMut(usize, &[u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let len = count(reader, VALUE_BYTES_MAX as u64)?;
    let offset = reader.at;
    value(offset, reader.take(len)?)
}
