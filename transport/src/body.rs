//! [`Body`]: one payload in 1 to 8 pieces, so that shared blocks and a small header need no copy.

use bytes::{Bytes, BytesMut};

/// The payload of a frame.
///
/// # Shape
/// 1 to 8 pieces, two of them inline; the receiver gets one [`Bytes`]. Cloning shares the bytes.
///
/// # Cost
/// No copy and, up to two pieces, no allocation.
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use quorate_transport::Body;
///
/// let block = Bytes::from(vec![7; 1024]); // shared by all followers
/// let body = Body::parts([Bytes::from_static(b"header of one follower"), block]);
/// assert_eq!(body.len(), 22 + 1024);
/// assert_eq!(body.pieces().len(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Body(Pieces);

#[derive(Clone, Debug)]
enum Pieces {
    One(Bytes),
    Two([Bytes; 2]),
    More(Box<[Bytes]>),
}

impl Body {
    /// Most pieces a body has.
    pub const PIECES_MAX: usize = 8;

    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Pieces::One(Bytes::new()))
    }

    /// A body of the given pieces, in order. Pieces past the eighth are joined with it by a copy.
    #[must_use]
    pub fn parts(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let mut pieces = pieces.into_iter();
        let Some(first) = pieces.next() else { return Self::empty() };
        let Some(second) = pieces.next() else { return Self(Pieces::One(first)) };
        let Some(third) = pieces.next() else { return Self(Pieces::Two([first, second])) };
        let mut all = Vec::with_capacity(Self::PIECES_MAX);
        all.extend([first, second, third]);
        all.extend(pieces.by_ref().take(Self::PIECES_MAX - 3));
        if let Some(ninth) = pieces.next() {
            let mut last = BytesMut::from(all.pop().unwrap_or_default());
            last.extend_from_slice(&ninth);
            pieces.for_each(|piece| last.extend_from_slice(&piece));
            all.push(last.freeze());
        }
        Self(Pieces::More(all.into_boxed_slice()))
    }

    /// Bytes in all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces().iter().fold(0, |sum, piece| sum.saturating_add(piece.len()))
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces().iter().all(Bytes::is_empty)
    }

    /// The pieces: 1 to 8.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        match &self.0 {
            Pieces::One(one) => std::slice::from_ref(one),
            Pieces::Two(two) => two,
            Pieces::More(more) => more,
        }
    }

    /// All bytes as one piece; copies only if there are several.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Pieces::One(one) => one,
            Pieces::Two([head, tail]) if tail.is_empty() => head,
            Pieces::Two([head, tail]) if head.is_empty() => tail,
            Pieces::Two([head, tail]) => join(&[head, tail]),
            Pieces::More(more) => join(&more),
        }
    }

    /// The same with a piece in front.
    #[must_use]
    pub(crate) fn after(self, front: Bytes) -> Self {
        match self.0 {
            Pieces::One(one) => Self(Pieces::Two([front, one])),
            pieces => Self::parts(std::iter::once(front).chain(Self(pieces).pieces().to_vec())),
        }
    }

    /// CRC-32/ISO-HDLC over all pieces.
    #[must_use]
    pub(crate) fn crc(&self) -> u32 {
        if let Pieces::One(one) = &self.0 {
            return crate::crc::crc(one);
        }
        let mut hasher = crate::crc::hasher();
        for piece in self.pieces() {
            hasher.update(piece);
        }
        hasher.finalize()
    }
}

fn join(pieces: &[Bytes]) -> Bytes {
    let mut all = Vec::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        all.extend_from_slice(piece);
    }
    all.into()
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

/// Equal when the bytes are, however they are cut.
impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |body: &Self| body.pieces().to_vec().into_iter().flatten();
        self.len() == other.len() && bytes(self).eq(bytes(other))
    }
}

impl Eq for Body {}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Pieces::One(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Self {
        Bytes::from_static(bytes).into()
    }
}
