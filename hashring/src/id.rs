//! Names of things: nodes, partitions, ranges, moves, epochs.

use core::fmt;
use core::num::NonZeroU64;

/// A node, for as long as its data lives.
///
/// An id is permanent: give a machine whose disk was replaced a new one, or rows would name it as
/// the holder of data that it lacks (H32). The shape is that of a transport's node id, which
/// converts by value.
///
/// # Examples
/// ```
/// use quorate_hashring::NodeId;
///
/// let node = NodeId::new(7);
/// assert_eq!(node.value(), 7);
/// assert_eq!(node.to_string(), "7");
/// assert_eq!(NodeId::try_new(0), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NonZeroU64);

impl NodeId {
    /// The node with this number.
    ///
    /// # Panics
    /// If the number is zero: [`NodeId::try_new`] takes numbers from elsewhere.
    #[must_use]
    #[expect(clippy::panic, reason = "documented; a constant fails to compile")]
    pub const fn new(value: u64) -> Self {
        match NonZeroU64::new(value) {
            Some(value) => Self(value),
            None => panic!("the id of a node is zero"),
        }
    }

    /// The node with this number, unless it is zero.
    #[must_use]
    pub const fn try_new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0.get()
    }
}

impl From<NonZeroU64> for NodeId {
    fn from(value: NonZeroU64) -> Self {
        Self(value)
    }
}

impl From<NodeId> for NonZeroU64 {
    fn from(node: NodeId) -> Self {
        node.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.0)
    }
}

/// Gives a newtype over an unsigned integer its constructor, its value and its text.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// From its number.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// Its number.
            #[must_use]
            pub const fn value(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A node's position in one [`Topology`](crate::Topology); it means nothing in another one.
    ///
    /// 65,535 is never a position.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::NodeIdx;
    ///
    /// assert_eq!(NodeIdx::new(3).value(), 3);
    /// ```
    NodeIdx(u16)
}

number! {
    /// A fixed partition of the key space: the top bits of a key's hash.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::Partition;
    ///
    /// assert!(Partition::new(1) < Partition::new(2));
    /// ```
    Partition(u16)
}

number! {
    /// Orders the versions of a view, of a row or of a range. It orders them; a [`Digest`]
    /// identifies them (H19).
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::Epoch;
    ///
    /// assert_eq!(Epoch::new(4).to_string(), "4");
    /// ```
    Epoch(u64)
}

number! {
    /// A key range of a [`RangeMap`](crate::RangeMap), for as long as it exists.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::RangeId;
    ///
    /// assert_eq!(RangeId::new(9).value(), 9);
    /// ```
    RangeId(u64)
}

number! {
    /// A move within one [`Diff`](crate::Diff): its position there.
    ///
    /// # Examples
    /// ```
    /// use quorate_hashring::MoveId;
    ///
    /// assert_eq!(MoveId::new(0).value(), 0);
    /// ```
    MoveId(u32)
}

/// Identifies content: the XXH3 sum over the encoded body of a topology, a table or a view.
///
/// # Examples
/// ```
/// use quorate_hashring::Digest;
///
/// assert_eq!(Digest::new(0xab).to_string(), "00000000000000ab");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(u64);

impl Digest {
    /// From its number.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Its number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A node's share of the load, relative to the other nodes: 16.16 fixed point.
///
/// Only ratios count in tables, so raw gigabytes are as good as units; a [`Ring`](crate::Ring)
/// gives its configured tokens to each whole [`Weight::ONE`].
///
/// # Examples
/// ```
/// use quorate_hashring::Weight;
///
/// assert_eq!(Weight::units(1), Weight::ONE);
/// assert_eq!(Weight::from_ratio(1, 2).unwrap().to_string(), "0.5000");
/// assert_eq!(Weight::from_ratio(1, 0), None);
/// assert!(Weight::ZERO.is_zero());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u32);

impl Weight {
    /// The ordinary weight.
    pub const ONE: Self = Self(1 << 16);
    /// Drain: the node keeps serving what it holds until it has moved, and receives nothing.
    pub const ZERO: Self = Self(0);

    /// A whole number of times [`Weight::ONE`].
    #[must_use]
    pub const fn units(units: u16) -> Self {
        Self((units as u32) << 16)
    }

    /// From the 16.16 fixed-point number.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// `numerator / denominator` times [`Weight::ONE`], rounded to nearest; none if the
    /// denominator is zero or the weight is 65,536 or more.
    #[must_use]
    pub const fn from_ratio(numerator: u32, denominator: u32) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let raw = (((numerator as u64) << 16) + denominator as u64 / 2) / denominator as u64;
        if raw > u32::MAX as u64 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "compared with the maximum above")]
        Some(Self(raw as u32))
    }

    /// The 16.16 fixed-point number.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Whether the node is drained.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = (u64::from(self.0 & 0xFFFF) * 10_000) >> 16;
        write!(f, "{}.{fraction:04}", self.0 >> 16)
    }
}
