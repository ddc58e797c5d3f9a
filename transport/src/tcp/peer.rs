//! One peer: its addresses, its lanes, and the rules of its connections.

use super::connection::Connection;
use super::lane::TcpLane;
use super::shared::Shared;
use crate::links::{LinkTable, Replaced};
use crate::{Address, DownReason, Lane, NodeId, TcpConfig};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Addresses kept per peer.
const ADDRESSES_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct TcpPeer {
    pub(super) node: NodeId,
    book: Mutex<Book>,
    links: Mutex<LinkTable>,
    lanes: [TcpLane; 3],
}

#[derive(Debug, Default)]
struct Book {
    addresses: Vec<Address>,
    /// Named by `set_peer` (perhaps without an address).
    known: bool,
    /// A certificate of it was seen.
    proven: bool,
    removed: bool,
}

impl TcpPeer {
    pub(super) fn new(me: NodeId, node: NodeId, config: &TcpConfig) -> Self {
        Self {
            node,
            book: Mutex::default(),
            links: Mutex::new(LinkTable::new(me, node)),
            lanes: Lane::ALL.map(|lane| TcpLane::new(lane, config)),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lock order: links → a lane → a connection's out.
    pub(super) fn links(&self) -> MutexGuard<'_, LinkTable> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn lane(&self, lane: Lane) -> &TcpLane {
        &self.lanes[lane.index()]
    }

    pub(super) const fn lanes(&self) -> &[TcpLane; 3] {
        &self.lanes
    }

    /// Whether they changed.
    pub(super) fn set_addresses(&self, addresses: &[Address]) -> bool {
        let mut book = self.book();
        let kept: Vec<Address> = addresses.iter().take(ADDRESSES_MAX).cloned().collect();
        let changed = book.addresses != kept;
        book.addresses = kept;
        book.known = true;
        drop(book);
        if changed {
            self.lanes.iter().for_each(|lane| lane.redial.notify_waiters());
        }
        changed
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        self.book().addresses.clone()
    }

    /// Where datagrams go.
    pub(super) fn first_address(&self) -> Option<Address> {
        self.book().addresses.first().cloned()
    }

    pub(super) fn has_address(&self) -> bool {
        !self.book().addresses.is_empty()
    }

    pub(super) fn is_known(&self) -> bool {
        self.book().known
    }

    /// Whether a session of it was authenticated.
    pub(super) fn is_proven(&self) -> bool {
        self.book().proven
    }

    /// Whether forgetting it loses nothing but the incarnation it was last seen with.
    pub(super) fn is_disposable(&self) -> bool {
        !self.is_known() && self.lanes.iter().all(|lane| lane.lock().conn.is_none())
    }

    /// Makes `conn` its lane's connection. Under the lock of `links`, whose verdict this is.
    pub(super) fn install(
        &self,
        shared: &Arc<Shared>,
        conn: &Arc<Connection>,
        restarted: bool,
        replaces: Option<Replaced>,
    ) {
        if conn.peer.authenticated {
            self.book().proven = true;
        }
        if restarted {
            for lane in &self.lanes {
                lane.lock().part(); // what was queued was meant for the former life
            }
            shared.unfinished.void(self.node, DownReason::Restarted); // H13
        }
        if self.is_removed() {
            conn.never_current(); // a dial that was being made then
            shared.unfinished.enter_void(conn);
        } else {
            shared.unfinished.enter(conn);
        }
        let lane = self.lane(conn.lane);
        let mut state = lane.lock();
        let old = state.conn.replace(conn.clone());
        state.closing = None;
        state.last_failure = None;
        if !state.queue.is_empty() {
            conn.wake.ring();
        }
        drop(state);
        if let Some(old) = old {
            if replaces.is_some_and(|replaced| replaced.dead) {
                old.kill(DownReason::Closed);
            } else {
                old.retire(shared, super::connection::GOAWAY_REPLACED, DownReason::Replaced);
            }
        }
        if shared.is_closing() {
            // The shutdown has passed this lane already.
            conn.retire(shared, super::connection::GOAWAY_SHUTDOWN, DownReason::Shutdown);
        }
        if self.is_removed() {
            conn.kill(DownReason::Closed);
        }
        // The peer lives: whoever waits with a dial on another lane need not.
        self.lanes.iter().for_each(|lane| lane.redial.notify_waiters());
    }

    /// It is not in the book any more: no connection of it stays.
    pub(super) fn remove(&self, shared: &Shared) {
        self.book().removed = true;
        self.set_addresses(&[]);
        shared.unfinished.void(self.node, DownReason::Closed);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.book().removed
    }
}
