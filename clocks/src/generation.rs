//! [`GenerationClock`]: a number of the reign, durable before anybody hears of it.

use crate::{DurableMark, mutant};
use core::fmt;

/// A generation: which reign of a leader, which life of a node. 0 is none.
///
/// # Examples
/// ```
/// use quorate_clocks::Generation;
/// assert!(Generation::new(2) > Generation::NONE);
/// assert_eq!(Generation::new(2).as_u64(), 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl Generation {
    /// Before the first.
    pub const NONE: Self = Self(0);

    /// The generation of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hands out generations that rise for ever, over a [`DurableMark`].
///
/// # Limits
/// 2⁶⁴ − 1 generations; then the mark refuses, for it cannot fall. [`adopt`](Self::adopt) believes
/// its caller: a generation that came from a stranger can use them up at once.
///
/// # Examples
/// ```
/// use quorate_clocks::{Generation, GenerationClock, MemoryMark};
///
/// let mut clock = GenerationClock::new(MemoryMark::new(0));
/// let mine = clock.bump()?; // durable now: say it to others
/// assert!(clock.check(mine).is_ok());
/// assert!(clock.adopt(Generation::new(5))?); // another leader was elected
/// assert!(clock.check(mine).is_err()); // whoever still uses the old one is refused
/// # Ok::<(), quorate_clocks::MarkFalls>(())
/// ```
///
/// # Source
/// Joshi, *Patterns of Distributed Systems*, "Generation Clock".
#[derive(Debug)]
pub struct GenerationClock<M> {
    mark: M,
    current: u64,
}

impl<M: DurableMark> GenerationClock<M> {
    /// Goes on where the mark stands.
    pub fn new(mark: M) -> Self {
        let current = mark.get();
        Self { mark, current }
    }

    /// The newest generation known to be durable here; [`Generation::NONE`] before the first.
    #[must_use]
    pub const fn current(&self) -> Generation {
        Generation(self.current)
    }

    /// The next generation, durable when this returns. // H21
    ///
    /// # Cost
    /// One [`raise`](DurableMark::raise) of the mark.
    ///
    /// # Errors
    /// Those of the mark. The current generation did not change, and nobody may use the next one:
    /// whether the mark holds it is unknown.
    pub fn bump(&mut self) -> Result<Generation, M::Error> {
        // After the last there is only 0, which every mark refuses.
        self.raise(self.current.wrapping_add(1))?;
        Ok(self.current())
    }

    /// Takes over a newer generation that was seen elsewhere, durably; false if it is not newer.
    ///
    /// # Cost
    /// One [`raise`](DurableMark::raise) of the mark if it is newer, else nothing.
    ///
    /// # Errors
    /// Those of the mark; the current generation did not change.
    pub fn adopt(&mut self, seen: Generation) -> Result<bool, M::Error> {
        if seen.0 <= self.current {
            return Ok(false);
        }
        self.raise(seen.0).map(|()| true)
    }

    /// Whether a message of generation `remote` may still be obeyed.
    ///
    /// # Errors
    /// [`StaleGeneration`] if a newer one is known here. Nothing changes.
    pub const fn check(&self, remote: Generation) -> Result<(), StaleGeneration> {
        if remote.0 < self.current {
            return Err(StaleGeneration { remote, current: self.current() });
        }
        Ok(())
    }

    fn raise(&mut self, to: u64) -> Result<(), M::Error> {
        if mutant::on("generation_used_early") {
            self.current = to;
        }
        self.mark.raise(to)?;
        self.current = self.mark.get();
        Ok(())
    }
}

/// A message is of a generation that is over.
///
/// # Examples
/// ```
/// use quorate_clocks::{Generation, GenerationClock, MemoryMark};
/// let clock = GenerationClock::new(MemoryMark::new(9));
/// let stale = clock.check(Generation::new(8)).unwrap_err();
/// assert_eq!(stale.to_string(), "generation 8 is over, 9 is current");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaleGeneration {
    /// That of the message.
    pub remote: Generation,
    /// The one known here.
    pub current: Generation,
}

impl fmt::Display for StaleGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation {} is over, {} is current", self.remote, self.current)
    }
}

impl core::error::Error for StaleGeneration {}
