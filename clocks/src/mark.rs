//! [`DurableMark`]: a number that only rises and survives a restart.

use core::fmt;

/// A number that never falls, also through a crash.
///
/// Implement it over whatever storage is at hand; [`FileMark`](crate::FileMark) is a file of its
/// own, [`MemoryMark`] is for tests.
///
/// # Examples
/// A mark kept in somebody's database:
/// ```
/// use quorate_clocks::{DurableMark, MarkFalls};
///
/// struct Row(u64);
/// impl DurableMark for Row {
///     type Error = MarkFalls;
///     fn get(&self) -> u64 {
///         self.0
///     }
///     fn raise(&mut self, to: u64) -> Result<(), MarkFalls> {
///         MarkFalls::check(self.0, to)?;
///         self.0 = to; // after the transaction committed
///         Ok(())
///     }
/// }
/// let mut row = Row(0);
/// row.raise(3)?;
/// assert!(row.raise(2).is_err());
/// assert_eq!(row.get(), 3);
/// # Ok::<(), MarkFalls>(())
/// ```
pub trait DurableMark {
    /// Why a raise failed.
    type Error;

    /// The value of the last `raise` that returned `Ok`, or the one found at the start.
    fn get(&self) -> u64;

    /// Raises the value. On `Ok` the new value is durable: after a crash at any later moment it, or
    /// a larger one, is found. `to` equal to [`get`](Self::get) changes nothing.
    ///
    /// # Errors
    /// `to` below [`get`](Self::get); or the value could not be made durable, and then it is
    /// unknown which of the two the storage holds.
    fn raise(&mut self, to: u64) -> Result<(), Self::Error>;
}

impl<M: DurableMark + ?Sized> DurableMark for &mut M {
    type Error = M::Error;

    fn get(&self) -> u64 {
        (**self).get()
    }

    fn raise(&mut self, to: u64) -> Result<(), M::Error> {
        (**self).raise(to)
    }
}

/// A mark was asked to fall.
///
/// # Examples
/// ```
/// use quorate_clocks::{DurableMark, MemoryMark};
/// let error = MemoryMark::new(5).raise(4).unwrap_err();
/// assert_eq!(error.to_string(), "a mark at 5 cannot fall to 4");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MarkFalls {
    /// What it holds, unchanged.
    pub current: u64,
    /// What was asked for.
    pub asked: u64,
}

impl MarkFalls {
    /// For implementations of [`DurableMark`].
    ///
    /// # Errors
    /// `asked` is below `current`.
    pub const fn check(current: u64, asked: u64) -> Result<(), Self> {
        if asked < current { Err(Self { current, asked }) } else { Ok(()) }
    }
}

impl fmt::Display for MarkFalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a mark at {} cannot fall to {}", self.current, self.asked)
    }
}

impl core::error::Error for MarkFalls {}

/// A mark that is durable in name only: for tests and simulations, which keep it across the
/// restarts they play.
///
/// # Examples
/// ```
/// use quorate_clocks::{DurableMark, MemoryMark};
/// let mut mark = MemoryMark::new(0);
/// mark.raise(7)?;
/// assert_eq!(mark.get(), 7);
/// # Ok::<(), quorate_clocks::MarkFalls>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryMark(u64);

impl MemoryMark {
    /// A mark that holds `value`.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }
}

impl DurableMark for MemoryMark {
    type Error = MarkFalls;

    fn get(&self) -> u64 {
        self.0
    }

    fn raise(&mut self, to: u64) -> Result<(), MarkFalls> {
        MarkFalls::check(self.0, to)?;
        self.0 = to;
        Ok(())
    }
}

/// What the value of a mark file means, so that one is not taken for another.
///
/// # Examples
/// ```
/// use quorate_clocks::MarkKind;
/// assert_eq!(MarkKind::Horizon.to_string(), "horizon");
/// ```
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MarkKind {
    /// A [`Generation`](crate::Generation).
    Generation,
    /// The restart floor of a hybrid clock: the word of a [`Timestamp`](crate::Timestamp).
    Horizon,
    /// Whatever its owner says.
    User,
}

#[cfg(feature = "std")]
impl MarkKind {
    /// Its number in the file.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Generation => 1,
            Self::Horizon => 2,
            Self::User => 3,
        }
    }
}

#[cfg(feature = "std")]
impl fmt::Display for MarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generation => "generation",
            Self::Horizon => "horizon",
            Self::User => "user",
        })
    }
}

/// What a mark file did since it was opened.
///
/// # Examples
/// ```
/// use quorate_clocks::{DurableMark, FileMark, MarkKind};
///
/// let dir = tempfile::tempdir()?;
/// let mut mark = FileMark::create_new(dir.path().join("mark"), MarkKind::User)?;
/// mark.raise(1)?;
/// assert_eq!((mark.stats().raises, mark.stats().repairs), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MarkStats {
    /// Raises that are durable.
    pub raises: u64,
    /// Slots that were written anew because they were torn, rotten or behind.
    pub repairs: u64,
    /// The longest sync, in microseconds.
    pub fsync_us_max: u64,
}
