//! [`Causality`], [`Dot`] and who counts: [`Actor`], [`ActorBytes`], [`Replica`].

use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::hash::Hash;

/// How two causal histories stand to one another: set inclusion, nothing else.
///
/// # Examples
/// ```
/// use quorate_clocks::{Causality, VectorClock};
///
/// let mut a = VectorClock::new();
/// a.tick(1_u64);
/// let mut b = a.clone();
/// assert_eq!(a.compare(&b), Causality::Equal);
/// b.tick(2);
/// assert_eq!(a.compare(&b), Causality::Before);
/// a.tick(1);
/// assert_eq!(a.compare(&b), Causality::Concurrent);
/// assert_eq!(Causality::Before.reverse(), Causality::After);
/// ```
///
/// # Source
/// Lamport 1978 (happened before); Fidge 1988, Mattern 1989 (its exact test).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "two sets have no fifth relation")]
pub enum Causality {
    /// The same history.
    Equal,
    /// The other has seen all of this one, and more.
    Before,
    /// This one has seen all of the other, and more.
    After,
    /// Each has seen what the other has not.
    Concurrent,
}

impl Causality {
    /// From what was found: something on the left only, something on the right only.
    pub(crate) const fn of(left_only: bool, right_only: bool) -> Self {
        match (left_only, right_only) {
            (false, false) => Self::Equal,
            (false, true) => Self::Before,
            (true, false) => Self::After,
            (true, true) => Self::Concurrent,
        }
    }

    /// The same relation seen from the other side.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Before => Self::After,
            Self::After => Self::Before,
            same => same,
        }
    }
}

/// Whoever counts events: a process, a replica, a client. Every type with these traits is one.
///
/// An actor's events are counted one after another, so an id that two lives of a process share
/// makes one dot two events: see [`Replica`]. // H19
///
/// # Examples
/// ```
/// use quorate_clocks::{Actor, VectorClock};
///
/// fn first_event<A: Actor>(actor: A) -> u64 {
///     VectorClock::new().tick(actor).counter
/// }
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// struct Worker(u16);
/// assert_eq!(first_event(Worker(7)), 1);
/// assert_eq!(first_event("east"), 1);
/// ```
pub trait Actor: Copy + Ord + Hash + Debug {}

impl<T: Copy + Ord + Hash + Debug> Actor for T {}

/// An [`Actor`] with a fixed-width byte form: what the codecs need.
///
/// Numbers are little-endian, `[u8; N]` (1 to 255 bytes) is written as it is, a [`Replica`] is its
/// node and then its incarnation.
///
/// # Examples
/// ```
/// use quorate_clocks::{ActorBytes, Replica};
///
/// let mut bytes = Vec::new();
/// Replica { node: 1, incarnation: 2 }.write_to(&mut bytes);
/// assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(Replica::read_from(&bytes), Some(Replica { node: 1, incarnation: 2 }));
/// assert_eq!(u16::read_from(&bytes), None); // sixteen bytes are no u16
/// ```
pub trait ActorBytes: Actor {
    /// How many bytes it takes; at least 1.
    const WIDTH: u8;

    /// Appends exactly [`WIDTH`](Self::WIDTH) bytes; different actors have different bytes.
    fn write_to(self, out: &mut Vec<u8>);

    /// From what [`write_to`](Self::write_to) wrote; `None` if `bytes` has another length or is no
    /// actor.
    fn read_from(bytes: &[u8]) -> Option<Self>;
}

macro_rules! number_is_actor {
    ($($number:ty => $width:literal),*) => {$(
        impl ActorBytes for $number {
            const WIDTH: u8 = $width;

            fn write_to(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn read_from(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }
        }
    )*};
}

number_is_actor!(u16 => 2, u32 => 4, u64 => 8, u128 => 16);

impl<const N: usize> ActorBytes for [u8; N] {
    #[expect(clippy::cast_possible_truncation, reason = "asserted in the same expression")]
    const WIDTH: u8 = {
        assert!(N >= 1 && N <= 255, "an actor takes 1 to 255 bytes");
        N as u8
    };

    fn write_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self);
    }

    #[inline]
    fn read_from(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok()
    }
}

/// The recommended actor: a node in one of its lives. // H19
///
/// A replica that restarts may have lost its last counters. Going on under its old id, it would
/// give dots away a second time, and vectors would take the new events for seen ones: writes are
/// lost in silence. With an incarnation that is durable before it is used (and so rises at each
/// start), the dots of two lives cannot be equal.
///
/// # Examples
/// ```
/// use quorate_clocks::{Replica, VersionVector};
///
/// let mut seen = VersionVector::from_entries([(Replica { node: 1, incarnation: 1 }, 9)]);
/// let reborn = Replica { node: 1, incarnation: 2 };
/// assert!(!seen.contains(seen.next_dot(reborn))); // nobody takes it for an old event
/// assert_eq!(reborn.to_string(), "1.2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a pair that callers build")]
pub struct Replica {
    /// Which node.
    pub node: u64,
    /// Which of its lives.
    pub incarnation: u64,
}

/// `node.incarnation`, both decimal.
impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.incarnation)
    }
}

impl ActorBytes for Replica {
    const WIDTH: u8 = 16;

    fn write_to(self, out: &mut Vec<u8>) {
        self.node.write_to(out);
        self.incarnation.write_to(out);
    }

    #[inline]
    fn read_from(bytes: &[u8]) -> Option<Self> {
        let (node, incarnation) = bytes.split_at_checked(8)?;
        Some(Self { node: u64::read_from(node)?, incarnation: u64::read_from(incarnation)? })
    }
}

/// One event: the `counter`-th of `actor`.
///
/// # Shape
/// `counter` is at least 1. A dot with counter 0 is no event: no vector contains it.
///
/// With feature `serde`, the id is the caller's own and is written as its type is: a `u64` is a
/// bare number in JSON, where readers may lose bits above 2⁵³. The counter is text there, and so
/// is a [`Replica`]. // H29
///
/// # Examples
/// ```
/// use quorate_clocks::{Dot, VectorClock};
/// assert_eq!(VectorClock::new().tick('a'), Dot { actor: 'a', counter: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a pair that callers build")]
pub struct Dot<A> {
    /// Whose event.
    pub actor: A,
    /// Which of its events, from 1.
    pub counter: u64,
}
