//! The door of a replica: it admits a request under exactly the epoch that its row has here, and
//! knows when the last one admitted under an older view has left.

mod error;
mod marks;

pub use error::{InstallError, Reject};

use crate::plant::planted;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use crate::{Epoch, NodeId, Partition, Reader, Shared, Stage, View};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use marks::{Mark, Marks};
use std::sync::PoisonError;

/// Fences the requests that reach a replica.
///
/// A request carries the epoch of its partition's row as a *tag* ([`Route::tag`](crate::Route)).
/// The gate admits exactly the epoch that the row has here: with less the coordinator is stale,
/// with more this node is behind. So nobody has to know who the coordinators are, or to wait for
/// the slowest of them.
///
/// The order on each replica: [`admit`](Gate::admit), apply to the store, drop the [`Pass`] (O2).
/// A view is made durable before [`acked`](Gate::acked) is reported, and after a restart the gate
/// begins with the newest one that was (O4): beginning with an older one would accept tags that
/// were promised to be fenced (H36).
///
/// # Cost
/// `admit` and the drop of its pass take five uncontended atomic operations together: no lock, no
/// allocation. Only a pass that outlives an installation takes a lock, once, when it is dropped.
/// Installing writes one word for each partition. At most 2³² − 1 passes are out at a time.
///
/// # Examples
/// ```
/// use quorate_hashring::{Epoch, Gate, KeyHash, Node, NodeId, Partition, PartitionTable, Reject};
/// use quorate_hashring::{Rules, Topology, View};
///
/// let (a, b) = (NodeId::new(1), NodeId::new(2));
/// let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// let rows = [vec![a]];
/// let table = PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &rows)?;
/// let view = View::initial(table);
/// let gate = Gate::new(a, view.clone());
///
/// let partition = Partition::new(0);
/// let pass = gate.admit(partition, Epoch::new(1))?; // now apply the request to the store
/// gate.install(view.replace_rows(&[(partition, vec![b])])?)?;
/// assert_eq!(gate.acked(), Epoch::new(1)); // a request of the older view is still at work
/// drop(pass);
/// assert_eq!(gate.acked(), Epoch::new(2));
/// let have = Epoch::new(2);
/// assert_eq!(gate.admit(partition, Epoch::new(1)).unwrap_err(), Reject::Stale { have });
/// assert!(gate.may_drop(partition));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    me: NodeId,
    /// The number of the generation in the upper half, how many of its passes are out in the
    /// lower: counting up and learning what one is counted in are one step.
    generation: AtomicU64,
    /// For each partition its row epoch here.
    marks: Marks,
    /// The epoch of the view.
    epoch: AtomicU64,
    views: Shared<View>,
    installed: Mutex<Installations>,
    admitted: AtomicU64,
    stale: AtomicU64,
    ahead: AtomicU64,
    not_here: AtomicU64,
}

/// What only installations change, and passes that outlive one.
struct Installations {
    view: View,
    /// Older generations that still have passes, the oldest first.
    draining: Vec<Draining>,
    installs: u64,
    skipped: u64,
}

/// A generation: the passes admitted between two installations.
struct Draining {
    generation: u32,
    /// The epoch of its view.
    epoch: Epoch,
    passes: u64,
}

impl Gate {
    /// The gate of node `me`.
    ///
    /// After a restart the view must be the newest whose epoch was ever reported by
    /// [`Gate::acked`], or a newer one (O4, H36).
    #[must_use]
    pub fn new(me: NodeId, view: View) -> Self {
        let marks = Marks::default();
        marks.write(me, &view);
        let installed = Installations { view, draining: Vec::new(), installs: 0, skipped: 0 };
        let inner = Inner {
            me,
            generation: AtomicU64::new(0),
            marks,
            epoch: AtomicU64::new(installed.view.epoch().value()),
            views: Shared::new(installed.view.clone()),
            installed: Mutex::new(installed),
            admitted: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
            not_here: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Goes over to a newer view. Views may be skipped: only the newest counts.
    ///
    /// A view names no cluster: one of another cluster with a greater epoch cannot be told from a
    /// skipped one of this. Keeping clusters apart is up to what carries the views.
    ///
    /// Passes that are out stay valid; [`Gate::acked`] waits for them. During the call requests
    /// are admitted under the older or the newer epoch of their row, never under both.
    ///
    /// # Errors
    /// [`InstallError`] for an older view, one of the same epoch with other content, or a next one
    /// that was not made from the one here. Nothing changed.
    pub fn install(&self, view: View) -> Result<Installed, InstallError> {
        let inner = &*self.inner;
        let mut installed = inner.lock();
        let step = check_next(&installed.view, &view)?;
        if step == Installed::Already {
            return Ok(step);
        }
        // The marks first: who counts up in the new generation has seen them. Who still counts up
        // in the old one with a new tag only delays the acknowledgement.
        inner.marks.write(inner.me, &view);
        inner.epoch.store(view.epoch().value(), Ordering::Release);
        installed.next_generation(&inner.generation);
        installed.installs += 1;
        if let Installed::Skipped { views } = step {
            installed.skipped += views;
        }
        installed.view = view.clone();
        inner.views.publish(Arc::new(view));
        Ok(step)
    }

    /// Lets a request for a partition in, if its tag is exactly the epoch of the row here.
    ///
    /// # Errors
    /// [`Reject`], with the epoch here. Nothing happened: the coordinator may try again with a
    /// newer view, or after this node has one.
    pub fn admit(&self, partition: Partition, tag: Epoch) -> Result<Pass, Reject> {
        let inner = &*self.inner;
        loop {
            let mark = inner.marks.get(partition);
            if let Some(reject) = inner.reject(mark, tag) {
                return Err(inner.count(reject));
            }
            if planted("m24_admit_without_re_check") {
                std::thread::yield_now();
            }
            let before = inner.generation.fetch_add(1, Ordering::AcqRel);
            let generation = upper(before);
            // An installation that has ended its generation before this one counted up has
            // written its marks before: they show here, and the old tag is refused. // H33
            if inner.marks.get(partition) == mark || planted("m24_admit_without_re_check") {
                inner.admitted.fetch_add(1, Ordering::Relaxed);
                return Ok(Pass { gate: Arc::clone(&self.inner), generation });
            }
            inner.leave(generation);
        }
    }

    /// The newest epoch of which it is certain that no request of an older view is at work any
    /// more: what this replica acknowledges to the authority. Report it again from time to time;
    /// reports may be lost, repeated and late.
    #[must_use]
    pub fn acked(&self) -> Epoch {
        let installed = self.inner.lock();
        let newest = installed.view.epoch();
        if planted("m25_acked_ignores_open_passes") {
            return newest;
        }
        installed.draining.first().map_or(newest, |oldest| oldest.epoch) // H33
    }

    /// Whether this node may delete what it holds of a partition: a settled view is installed
    /// whose row does not name it, and no request of an older view is at work. Nobody else has to
    /// be asked.
    #[must_use]
    pub fn may_drop(&self, partition: Partition) -> bool {
        let installed = self.inner.lock();
        installed.view.stage() == Stage::Settled
            && installed.draining.is_empty()
            && self.inner.marks.get(partition).is_some_and(|mark| !mark.is_here())
    }

    /// The installed view.
    #[must_use]
    pub fn view(&self) -> View {
        self.inner.lock().view.clone()
    }

    /// Follows the installed view without a lock, for a node that coordinates requests too.
    #[must_use]
    pub fn reader(&self) -> Reader<View> {
        self.inner.views.reader()
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> GateStats {
        let inner = &*self.inner;
        let installed = inner.lock();
        GateStats {
            admitted: inner.admitted.load(Ordering::Relaxed),
            stale: inner.stale.load(Ordering::Relaxed),
            ahead: inner.ahead.load(Ordering::Relaxed),
            not_here: inner.not_here.load(Ordering::Relaxed),
            installs: installed.installs,
            skipped: installed.skipped,
            generations: installed.draining.len() + 1,
        }
    }
}

/// Whether `next` may follow what is installed.
fn check_next(have: &View, next: &View) -> Result<Installed, InstallError> {
    let (epoch, found) = (next.epoch(), have.epoch());
    if epoch < found {
        return Err(InstallError::Stale { have: found, given: epoch });
    }
    if epoch == found {
        // H18
        if next.digest() == have.digest() || planted("m26_equal_epoch_other_digest_accepted") {
            return Ok(Installed::Already);
        }
        return Err(InstallError::Conflict { epoch, have: have.digest(), given: next.digest() });
    }
    match epoch.value() - found.value() - 1 {
        0 if next.parent() != Some(have.digest()) => {
            Err(InstallError::Fork { epoch, have: have.digest(), parent: next.parent() })
        }
        0 => Ok(Installed::Next),
        views => Ok(Installed::Skipped { views }),
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Installations> {
        self.installed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a request with this tag must not come in.
    #[inline]
    fn reject(&self, mark: Option<Mark>, tag: Epoch) -> Option<Reject> {
        // A partition that the table does not have: of a table that was doubled, or of none.
        let have = mark.map_or_else(|| Epoch::new(self.epoch.load(Ordering::Acquire)), Mark::epoch);
        let almost = planted("m22_tag_minus_one_accepted") && tag.value() + 1 == have.value();
        if tag < have && !almost {
            Some(Reject::Stale { have })
        } else if tag > have {
            Some(Reject::Ahead { have })
        } else if mark.is_some_and(Mark::is_here) {
            None
        } else {
            Some(Reject::NotHere { have })
        }
    }

    #[cold]
    fn count(&self, reject: Reject) -> Reject {
        let counter = match reject {
            Reject::Stale { .. } => &self.stale,
            Reject::Ahead { .. } => &self.ahead,
            Reject::NotHere { .. } => &self.not_here,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        reject
    }

    /// Counts one pass of a generation down.
    #[inline]
    fn leave(&self, generation: u32) {
        let mut word = self.generation.load(Ordering::Relaxed);
        while upper(word) == generation {
            let left = self.generation.compare_exchange_weak(
                word,
                word - 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match left {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.leave_late(generation);
    }

    /// An installation has ended the generation and listed how many are still out.
    #[cold]
    fn leave_late(&self, generation: u32) {
        let mut installed = self.lock();
        if let Some(of) = installed.draining.iter_mut().find(|of| of.generation == generation) {
            of.passes -= 1;
        }
        installed.draining.retain(|of| of.passes > 0);
    }
}

impl Installations {
    /// Ends the current generation: what is out of it drains from here on.
    fn next_generation(&mut self, word: &AtomicU64) {
        let mut next = upper(word.load(Ordering::Relaxed)).wrapping_add(1);
        // After 2³² installations numbers come again: not one that is still in use.
        while self.draining.iter().any(|of| of.generation == next) {
            next = next.wrapping_add(1);
        }
        let ended = word.swap(u64::from(next) << 32, Ordering::AcqRel);
        let passes = ended & u64::from(u32::MAX);
        if passes > 0 {
            let (generation, epoch) = (upper(ended), self.view.epoch());
            self.draining.push(Draining { generation, epoch, passes });
        }
    }
}

/// The upper half of a word.
const fn upper(word: u64) -> u32 {
    (word >> 32) as u32
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("me", &self.inner.me)
            .field("view", &self.view())
            .field("stats", &self.stats())
            .finish()
    }
}

/// Leave to apply one request to the store. Hold it until the store has applied it, and drop it
/// then, also if that failed (O2).
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let gate = Gate::new(a, View::initial(table(a)?));
/// let pass: Pass = gate.admit(Partition::new(0), Epoch::new(1))?;
/// // Apply the request to the store, then:
/// drop(pass);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the request counts as applied when the pass is dropped"]
pub struct Pass {
    gate: Arc<Inner>,
    generation: u32,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.leave(self.generation);
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// How a view came to be installed.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let view = View::initial(table(a)?);
/// let gate = Gate::new(a, view.clone());
/// assert_eq!(gate.install(view.clone())?, Installed::Already);
/// assert_eq!(gate.install(view.doubled()?)?, Installed::Next);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Installed {
    /// It was made from the one before.
    Next,
    /// Views in between were never seen here; that is harmless.
    Skipped {
        /// How many.
        views: u64,
    },
    /// It was installed before; nothing changed.
    Already,
}

/// What a gate counted since it was made.
///
/// # Examples
/// ```
/// # use quorate_hashring::*;
/// # let [a, b] = [1, 2].map(NodeId::new);
/// # let topology = Topology::builder().node(Node::new(a)).node(Node::new(b)).build()?;
/// # let table = |node: NodeId| {
/// #     PartitionTable::from_rows(&topology, &Rules::new(1), KeyHash::default(), &[vec![node]])
/// # };
/// let gate = Gate::new(a, View::initial(table(a)?));
/// drop(gate.admit(Partition::new(0), Epoch::new(1))?);
/// assert_eq!(gate.stats().admitted, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateStats {
    /// Requests let in.
    pub admitted: u64,
    /// Requests refused because their coordinator was stale.
    pub stale: u64,
    /// Requests refused because this node was behind.
    pub ahead: u64,
    /// Requests refused because the row does not name this node.
    pub not_here: u64,
    /// Views installed.
    pub installs: u64,
    /// Views never seen here.
    pub skipped: u64,
    /// Generations of passes now: the current one, and older ones with passes still out.
    pub generations: usize,
}
