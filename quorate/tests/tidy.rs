//! What lints cannot hold: the shape of the workspace, its documents, its dependencies.

mod tidy {
    pub(crate) mod crates;
    pub(crate) mod dependencies;
    pub(crate) mod documents;
    pub(crate) mod sources;
}
