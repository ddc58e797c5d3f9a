//! Connections whose end is not reported yet: what later ones of the same peer wait for.

use super::connection::Connection;
use crate::{DownReason, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All of a transport, by peer; they outlive the peer's entry in the book.
///
/// The connections of a peer are in one order, and each waits only for some of those before it: so
/// nobody waits in a circle.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Mutex<BTreeMap<NodeId, Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    conn: Arc<Connection>,
    /// Of a life of the peer that is over, or from before the peer was removed.
    void: bool,
}

impl Entry {
    fn is_past(&self, conn: &Connection) -> bool {
        if crate::mutant::on("former_life_not_followed") {
            return false;
        }
        self.void || self.conn.peer.incarnation < conn.peer.incarnation
    }
}

impl Unfinished {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Vec<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `conn` begins. It is read after all older ones of its lane, and, whatever their lane, after
    /// those that are void.
    pub(super) fn enter(&self, conn: &Arc<Connection>) {
        let mut peers = self.lock();
        let entries = peers.entry(conn.peer.node).or_default();
        follow_all(conn, entries);
        entries.push(Entry { conn: conn.clone(), void: false });
    }

    /// `conn` begins and ends at once, as its peer was removed: no lane waits for it, nor it for
    /// one.
    pub(super) fn enter_void(&self, conn: &Arc<Connection>) {
        let mut peers = self.lock();
        let entries = peers.entry(conn.peer.node).or_default();
        entries.insert(0, Entry { conn: conn.clone(), void: true });
    }

    /// `conn` begins and ends at once. It goes before the lane's current one: false if that is read
    /// already.
    pub(super) fn enter_surplus(
        &self,
        conn: &Arc<Connection>,
        current: Option<&Arc<Connection>>,
    ) -> bool {
        let mut peers = self.lock();
        let entries = peers.entry(conn.peer.node).or_default();
        let is_current = |old: &Entry| current.is_some_and(|it| Arc::ptr_eq(&old.conn, it));
        let at = entries.iter().position(is_current).unwrap_or(entries.len());
        follow_all(conn, &entries[..at]);
        entries.insert(at, Entry { conn: conn.clone(), void: false });
        current.is_none_or(|current| current.follow(conn.finished()))
    }

    /// Ends all there are now: no draining. // H13
    pub(super) fn void(&self, node: NodeId, reason: DownReason) {
        let mut doomed = Vec::new();
        if let Some(entries) = self.lock().get_mut(&node) {
            for entry in entries.iter_mut() {
                entry.void = true;
                doomed.push(entry.conn.clone());
            }
        }
        doomed.iter().for_each(|conn| conn.kill(reason));
    }

    /// The end of `conn` was reported.
    pub(super) fn leave(&self, conn: &Arc<Connection>) {
        let mut peers = self.lock();
        let Some(entries) = peers.get_mut(&conn.peer.node) else { return };
        entries.retain(|entry| !Arc::ptr_eq(&entry.conn, conn));
        if entries.is_empty() {
            peers.remove(&conn.peer.node);
        }
    }

    pub(super) fn kill_all(&self, reason: DownReason) {
        let all: Vec<_> = self.lock().values().flatten().map(|entry| entry.conn.clone()).collect();
        all.iter().for_each(|conn| conn.kill(reason));
    }
}

fn follow_all(conn: &Connection, before: &[Entry]) {
    for old in before.iter().filter(|old| old.is_past(conn) || old.conn.lane == conn.lane) {
        conn.follow(old.conn.finished());
    }
}
