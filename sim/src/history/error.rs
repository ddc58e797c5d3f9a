//! [`HistoryError`]: a file that is no history.

use std::io;

/// A file that is no history, or a history that no clients can have had.
///
/// # Examples
/// ```
/// use quorate_sim::{History, specs::{RegisterOp, RegisterRet}};
///
/// let line = r#"{"process":0,"type":"ok","f":"read","value":3}"#;
/// let error = History::<RegisterOp, RegisterRet>::read_jsonl(line.as_bytes()).unwrap_err();
/// assert_eq!(error.line(), 1);
/// assert_eq!(error.to_string(), "line 1: expected an invoke first, found process 0 has no \
///                                operation to end");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// Effect: nothing was judged. A line is not what the format asks for; a retry cannot help.
    #[error("line {line}: expected {expected}, found {found}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Effect: nothing was judged. An event breaks a rule: an outcome without invocation, two
    /// operations of one process at once, time that goes back; a retry cannot help.
    #[error("line {line}: expected {expected}, found {found}")]
    Order {
        /// The line, from 1.
        line: u64,
        /// The rule.
        expected: &'static str,
        /// How it was broken.
        found: String,
    },
    /// Effect: nothing was judged. A line is over the limit; a retry cannot help.
    #[error("line {line}: expected at most {bytes_max} bytes, found more")]
    TooLong {
        /// The line, from 1.
        line: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// Effect: nothing was judged. There are too many operations; a retry cannot help.
    #[error("line {line}: expected at most {operations_max} operations, found one more")]
    TooMany {
        /// The line, from 1.
        line: u64,
        /// The limit.
        operations_max: u32,
    },
    /// Effect: nothing was judged. The file could not be read; a retry helps if the cause went
    /// away.
    #[error("line {line}: expected to read it, found {source}")]
    Io {
        /// The line, from 1.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
}

impl HistoryError {
    /// The line it is about, from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        match self {
            Self::Line { line, .. }
            | Self::Order { line, .. }
            | Self::TooLong { line, .. }
            | Self::TooMany { line, .. }
            | Self::Io { line, .. } => *line,
        }
    }

    /// Whether reading again may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    /// Whether the file itself is wrong.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        !self.is_retryable()
    }
}
