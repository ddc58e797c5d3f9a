//! What lints cannot hold: the shape of the workspace, its documents, its dependencies.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail the way tests do")]

mod tidy {
    pub(crate) mod crates;
    pub(crate) mod dependencies;
    pub(crate) mod documents;
    pub(crate) mod sources;
}
