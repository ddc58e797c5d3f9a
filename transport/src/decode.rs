//! [`Decoder`]: bytes of one connection in, frames out; limits before allocation.

use crate::frame::{HEADER, Header};
use crate::{Frame, FrameError};
use bytes::{BufMut, Bytes, BytesMut};

/// One read block; also how far allocation may run ahead of arrival.
pub(crate) const BLOCK: usize = 64 * 1024;
/// Bodies up to this are copied out, so that a small one does not pin a whole block. // H24
const SLICE_MIN: usize = 8 * 1024;

/// Decodes the frames of one direction of one connection.
///
/// Sans-IO: [`feed`](Self::feed) it bytes, or let a socket write [into its block](Self::fill), then
/// take frames until there is none. After an error the connection is over and so is the decoder.
///
/// # Cost
/// Bodies below 8 KiB are copied out of the 64 KiB block (one allocation), larger ones share it.
/// A body larger than a block gets a buffer of its own that never runs more than 64 KiB ahead of
/// the bytes that arrived.
///
/// # Examples
/// ```
/// use quorate_transport::{ChannelId, Decoder, Frame};
///
/// let wire = Frame::message(ChannelId::new(16), &b"hello"[..]).encode(0)?;
/// let mut decoder = Decoder::new(1 << 20);
/// decoder.feed(&wire[..20]);
/// assert_eq!(decoder.decode()?, None); // not whole yet
/// decoder.feed(&wire[20..]);
/// assert_eq!(decoder.decode()?.unwrap().body, (&b"hello"[..]).into());
/// # Ok::<(), quorate_transport::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    body_bytes_max: u32,
    sequence: u32,
    block: BytesMut,
    /// Bytes of `block` already decoded.
    at: usize,
    /// Whether a slice of the block was handed out: then it cannot be reused.
    shared: bool,
    large: Option<Large>,
    skipped: u64,
}

/// A body that does not fit a block, being assembled.
#[derive(Debug)]
struct Large {
    header: Header,
    body: Vec<u8>,
    len: usize,
}

impl Large {
    fn missing(&self) -> usize {
        self.len - self.body.len()
    }

    /// Room for at most one block more, exactly. // H3
    fn reserve(&mut self) {
        if self.body.len() == self.body.capacity() {
            self.body.reserve_exact(self.missing().min(BLOCK));
        }
    }
}

impl Decoder {
    /// A decoder at sequence 0 that refuses bodies longer than `body_bytes_max`.
    #[must_use]
    pub fn new(body_bytes_max: u32) -> Self {
        Self {
            body_bytes_max,
            sequence: 0,
            block: BytesMut::new(),
            at: 0,
            shared: false,
            large: None,
            skipped: 0,
        }
    }

    /// Changes the limit for the frames that follow.
    pub const fn set_body_bytes_max(&mut self, max: u32) {
        self.body_bytes_max = max;
    }

    /// How many frames of unknown, ignorable kinds were skipped.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes bytes by copy. Decoding in between keeps the memory small.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Some(large) = &mut self.large
                && large.missing() > 0
            {
                large.reserve();
                let room = large.missing().min(large.body.capacity() - large.body.len());
                let (now, later) = rest.split_at(room.min(rest.len()));
                large.body.extend_from_slice(now);
                rest = later;
            } else {
                self.block.extend_from_slice(rest);
                rest = &[];
            }
        }
    }

    /// Lets `read` append to the free space, which is never empty, and returns its result.
    pub fn fill<R>(&mut self, read: impl FnOnce(&mut dyn BufMut) -> R) -> R {
        if let Some(large) = &mut self.large
            && large.missing() > 0
        {
            large.reserve();
            let room = large.missing().min(large.body.capacity() - large.body.len());
            return read(&mut (&mut large.body).limit(room));
        }
        self.make_room();
        let room = self.block.capacity() - self.block.len();
        read(&mut (&mut self.block).limit(room))
    }

    /// Gives the block away if it holds nothing, for another connection to use.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn take_idle_block(&mut self) -> Option<BytesMut> {
        if self.at < self.block.len() || self.block.capacity() == 0 {
            return None;
        }
        let mut block = std::mem::take(&mut self.block);
        let reusable = !self.shared;
        self.at = 0;
        self.shared = false;
        block.clear();
        reusable.then_some(block)
    }

    /// Whether the next [`fill`](Self::fill) would have to allocate a block.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn wants_block(&self) -> bool {
        self.block.capacity() == 0 && self.large.as_ref().is_none_or(|l| l.missing() == 0)
    }

    /// Takes an empty block to read into.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn give_block(&mut self, block: BytesMut) {
        if self.block.capacity() == 0 {
            self.block = block;
            self.at = 0;
            self.shared = false;
        }
    }

    fn make_room(&mut self) {
        if self.at == self.block.len() && !self.shared {
            self.block.clear();
            self.at = 0;
        }
        if self.block.capacity() == self.block.len() {
            // A frame is cut by the end of the block: its beginning moves to a fresh one.
            let mut fresh = BytesMut::with_capacity(BLOCK.max(self.pending() + HEADER));
            fresh.extend_from_slice(&self.block[self.at..]);
            self.block = fresh;
            self.at = 0;
            self.shared = false;
        }
    }

    /// The next whole frame, `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]: the connection cannot go on.
    pub fn decode(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let (header, body) = if let Some(large) = &self.large {
                if large.missing() > 0 {
                    return Ok(None);
                }
                let Some(large) = self.large.take() else { return Ok(None) };
                (large.header, Bytes::from(large.body))
            } else {
                let Some(found) = self.take_small()? else { return Ok(None) };
                found
            };
            match header.into_frame(body)? {
                Some(frame) => return Ok(Some(frame)),
                None => self.skipped += 1,
            }
        }
    }

    fn pending(&self) -> usize {
        // `at` never passes the end: it only moves over bytes that are there.
        self.block.len() - self.at
    }

    fn take_small(&mut self) -> Result<Option<(Header, Bytes)>, FrameError> {
        let pending = &self.block[self.at..];
        let Some(raw) = pending.first_chunk::<HEADER>() else { return Ok(None) };
        let header = Header::decode(raw)?;
        // Length against the limit before a single byte is set aside for it. // H3, H5
        if header.body_len > self.body_bytes_max {
            let bytes = u64::from(header.body_len);
            return Err(FrameError::TooLarge { bytes, max: self.body_bytes_max });
        }
        if header.sequence != self.sequence {
            let (expected, found) = (self.sequence, header.sequence);
            return Err(FrameError::Sequence { expected, found });
        }
        header.check()?;
        // On every supported platform `usize` has at least 32 bits.
        let len = usize::try_from(header.body_len).unwrap_or(usize::MAX);
        if pending.len() - HEADER < len {
            if HEADER + len > BLOCK {
                self.begin_large(header, len);
            }
            return Ok(None);
        }
        self.sequence = self.sequence.wrapping_add(1);
        let start = self.at + HEADER;
        if len < SLICE_MIN {
            self.at = start + len;
            return Ok(Some((header, Bytes::copy_from_slice(&self.block[start..start + len]))));
        }
        let taken = self.block.split_to(start + len).freeze();
        self.at = 0;
        self.shared = true;
        Ok(Some((header, taken.slice(start..))))
    }

    fn begin_large(&mut self, header: Header, len: usize) {
        self.sequence = self.sequence.wrapping_add(1);
        let arrived = &self.block[self.at + HEADER..];
        let mut body = Vec::new();
        body.reserve_exact(len.min(arrived.len() + BLOCK));
        body.extend_from_slice(arrived);
        self.block.clear();
        self.at = 0;
        self.large = Some(Large { header, body, len });
    }
}
