//! [`LinkTable`]: which of several connections of a lane lives. A pure state machine.

use crate::{HelloStatus, Incarnation, Lane, NodeId};

/// The connections between this node and one peer, by lane.
///
/// Both sides may dial at the same moment. The preferred dialer of a pair is the lower [`NodeId`];
/// `dead_nonce` tells the other side which connection was already seen to end. The rules are those
/// of FORMAT.md, "Duplicate connections"; the tests explore every interleaving. // H12
///
/// # Examples
/// ```
/// use quorate_transport::*;
///
/// let mut at_b = LinkTable::new(NodeId::new(2), NodeId::new(1));
/// let verdict = at_b.handle_hello(Lane::Data, Incarnation::new(1), 0xA, 0);
/// assert_eq!(verdict, HelloVerdict::Accept { restarted: false, replaces: None });
/// assert_eq!(at_b.current(Lane::Data), Some(0xA));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkTable {
    me: NodeId,
    peer: NodeId,
    known: Option<Incarnation>,
    lanes: [LaneLinks; 3],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct LaneLinks {
    current: Option<Link>,
    dead_nonce: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Link {
    nonce: u64,
    mine: bool,
}

/// A connection that has to make room.
///
/// # Examples
/// ```
/// use quorate_transport::Replaced;
/// assert!(!Replaced::alive(7).dead);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replaced {
    /// Its name.
    pub nonce: u64,
    /// Whether the other side saw it end: then nothing more comes on it. Else it is read to its
    /// end before its successor is read.
    pub dead: bool,
}

impl Replaced {
    /// One that is to be read to its end.
    #[must_use]
    pub const fn alive(nonce: u64) -> Self {
        Self { nonce, dead: false }
    }
}

/// The acceptor's verdict on a Hello.
///
/// # Examples
/// See [`LinkTable`].
/// ```
/// use quorate_transport::HelloVerdict;
/// let verdict = HelloVerdict::Accept { restarted: true, replaces: None };
/// assert!(matches!(verdict, HelloVerdict::Accept { restarted: true, .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloVerdict {
    /// The connection is the lane's now.
    Accept {
        /// The peer began a new life: all its older connections are dead.
        restarted: bool,
        /// The connection of the same life that makes room.
        replaces: Option<Replaced>,
    },
    /// It is not wanted.
    Refuse {
        /// Why.
        status: HelloStatus,
        /// The connection that stays, with `Duplicate`.
        other_nonce: u64,
        /// The incarnation that is known, with `StaleIncarnation`.
        known: Incarnation,
    },
}

/// The dialer's verdict on an accepted dial.
///
/// # Examples
/// ```
/// use quorate_transport::*;
/// let mut at_a = LinkTable::new(NodeId::new(1), NodeId::new(2));
/// let verdict = at_a.handle_accept(Lane::Data, Incarnation::new(1), 0xA);
/// assert_eq!(verdict, DialVerdict::Current { restarted: false, replaces: None });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialVerdict {
    /// The connection is the lane's now.
    Current {
        /// The peer began a new life: all its older connections are dead.
        restarted: bool,
        /// The connection that makes room.
        replaces: Option<Replaced>,
    },
    /// Another one stays; this one is read to its end and closed.
    Surplus,
    /// A former life of the peer answered: close it.
    Stale,
}

/// The dialer's verdict on a refusal as `Duplicate`.
///
/// # Examples
/// ```
/// use quorate_transport::*;
/// let mut at_b = LinkTable::new(NodeId::new(2), NodeId::new(1));
/// assert_eq!(at_b.handle_duplicate(Lane::Data, 0xA), DuplicateVerdict::Redial);
/// assert_eq!(at_b.dead_nonce(Lane::Data), 0xA);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DuplicateVerdict {
    /// The other connection is held here too.
    Held,
    /// It is not: dial again at once, naming it dead.
    Redial,
}

impl LinkTable {
    /// No connections.
    #[must_use]
    pub fn new(me: NodeId, peer: NodeId) -> Self {
        Self { me, peer, known: None, lanes: [LaneLinks::default(); 3] }
    }

    /// The lane's connection.
    #[must_use]
    pub fn current(&self, lane: Lane) -> Option<u64> {
        self.lanes[lane.index()].current.map(|link| link.nonce)
    }

    /// The last connection of the lane that was seen to end; 0: none.
    #[must_use]
    pub const fn dead_nonce(&self, lane: Lane) -> u64 {
        self.lanes[lane.index()].dead_nonce
    }

    /// The highest incarnation of the peer that ever had a connection.
    #[must_use]
    pub const fn known(&self) -> Option<Incarnation> {
        self.known
    }

    /// Nothing that was said of the peer's lives was proven: the next life counts as a new one,
    /// whatever its number.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn distrust(&mut self) {
        self.known = self.known.map(|_| Incarnation::new(0));
    }

    /// A life of the peer speaks: is it stale, and is it new? Then all older connections are void.
    fn meet(&mut self, incarnation: Incarnation) -> Result<bool, Incarnation> {
        match self.known {
            Some(known) if known > incarnation => {
                if crate::mutant::on("stale_incarnation_accepted") { Ok(false) } else { Err(known) }
            }
            Some(known) if known == incarnation => Ok(false),
            known => {
                self.known = Some(incarnation);
                for lane in &mut self.lanes {
                    if let Some(link) = lane.current.take() {
                        lane.dead_nonce = link.nonce;
                    }
                }
                Ok(known.is_some())
            }
        }
    }

    /// The peer dialed this node.
    pub fn handle_hello(
        &mut self,
        lane: Lane,
        incarnation: Incarnation,
        nonce: u64,
        dead_nonce: u64,
    ) -> HelloVerdict {
        let restarted = match self.meet(incarnation) {
            Ok(restarted) => restarted,
            Err(known) => {
                let status = HelloStatus::StaleIncarnation; // H13
                return HelloVerdict::Refuse { status, other_nonce: 0, known };
            }
        };
        let preferred = self.me < self.peer;
        let slot = &mut self.lanes[lane.index()];
        if let Some(link) = slot.current
            && link.mine
            && preferred
            && link.nonce != dead_nonce
        {
            return HelloVerdict::Refuse {
                status: HelloStatus::Duplicate,
                other_nonce: link.nonce,
                known: incarnation,
            };
        }
        let replaced = slot.current.replace(Link { nonce, mine: false });
        let replaces =
            replaced.map(|link| Replaced { nonce: link.nonce, dead: link.nonce == dead_nonce });
        HelloVerdict::Accept { restarted, replaces }
    }

    /// The peer accepted a dial of this node.
    pub fn handle_accept(
        &mut self,
        lane: Lane,
        incarnation: Incarnation,
        nonce: u64,
    ) -> DialVerdict {
        let Ok(restarted) = self.meet(incarnation) else { return DialVerdict::Stale };
        let preferred = self.me < self.peer;
        let slot = &mut self.lanes[lane.index()];
        if slot.current.is_some_and(|link| !link.mine) && !preferred {
            return DialVerdict::Surplus;
        }
        let replaced = slot.current.replace(Link { nonce, mine: true });
        let replaces = replaced.map(|link| Replaced::alive(link.nonce));
        DialVerdict::Current { restarted, replaces }
    }

    /// The peer refused a dial of this node as `Duplicate` of `other`.
    pub fn handle_duplicate(&mut self, lane: Lane, other: u64) -> DuplicateVerdict {
        let slot = &mut self.lanes[lane.index()];
        if slot.current.is_some_and(|link| link.nonce == other) {
            return DuplicateVerdict::Held;
        }
        slot.dead_nonce = other;
        DuplicateVerdict::Redial
    }

    /// A connection ended. Whether it was the lane's.
    pub fn handle_lost(&mut self, lane: Lane, nonce: u64) -> bool {
        let slot = &mut self.lanes[lane.index()];
        if slot.current.is_some_and(|link| link.nonce == nonce) {
            slot.current = None;
            slot.dead_nonce = nonce;
            return true;
        }
        false
    }
}
