//! The on-disk format, version 1, as pure functions over slices. `FORMAT.md` has the tables.

pub(crate) mod crc;
pub(crate) mod frame;
pub(crate) mod manifest;
pub(crate) mod record;
pub(crate) mod segment;
pub(crate) mod varint;

/// The only version this crate writes and reads.
pub(crate) const VERSION: u16 = 1;

/// Something a newer version of the crate wrote: the open stops and touches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsupported {
    pub(crate) what: &'static str,
    pub(crate) found: u64,
}

#[cfg(test)]
mod tests;
