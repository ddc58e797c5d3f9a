//! The crates of the workspace and their files.

use std::path::{Path, PathBuf};

/// Crates that are published.
pub(crate) const CRATES: [&str; 7] =
    ["clocks", "hashring", "transport", "wal", "sim", "raft", "quorate"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds it").to_owned()
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file with its path as messages show it.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Rust files below a folder of the workspace, recursively.
pub(crate) fn rust_files(folder: &str) -> Vec<File> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(root()).expect("below it").display().to_string();
    found.iter().map(|path| File { name: name(path), text: read(path) }).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("readable").path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every Rust file of the workspace.
pub(crate) fn all_rust_files() -> Vec<File> {
    CRATES.iter().chain(&["examples"]).flat_map(|name| rust_files(name)).collect()
}

/// Fails with everything that is wrong at once.
#[track_caller]
pub(crate) fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
