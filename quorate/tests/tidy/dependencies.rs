//! Which crate may use which, and how many crates a default graph holds.

use super::crates::{CRATES, assert_none, read, root};
use std::collections::BTreeSet;
use std::process::Command;

/// A1: what each crate may use of the family.
const ARROWS: [(&str, &[&str]); 7] = [
    ("clocks", &[]),
    ("hashring", &[]),
    ("wal", &[]),
    ("transport", &["clocks"]),
    ("sim", &["clocks", "transport", "wal"]),
    ("raft", &["clocks", "transport", "wal"]),
    ("quorate", &["clocks", "hashring", "transport", "wal", "sim", "raft"]),
];

/// Crate, features, and how many crates its graph may hold besides itself.
const BUDGETS: [(&str, &[&str], usize); 8] = [
    ("quorate-clocks", &[], 0),
    ("quorate-hashring", &[], 1),
    ("quorate-wal", &[], 16),
    ("quorate-transport", &["--no-default-features"], 10),
    ("quorate-transport", &[], 20),
    ("quorate-sim", &[], 18),
    ("quorate-raft", &["--no-default-features"], 12),
    ("quorate-raft", &[], 30),
];

#[test]
fn arrows_point_one_way() {
    let mut wrong = Vec::new();
    for (name, allowed) in ARROWS {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        let section = manifest.split("\n[dependencies]").nth(1).unwrap_or_default();
        let section = section.split("\n[").next().unwrap_or_default();
        for line in section.lines() {
            let Some(rest) = line.strip_prefix("quorate-") else { continue };
            let used = rest.split([' ', '.', '=']).next().unwrap_or_default();
            if !allowed.contains(&used) {
                wrong.push(format!("quorate-{name} may not use quorate-{used}"));
            }
        }
    }
    assert_eq!(ARROWS.len(), CRATES.len());
    assert_none(&wrong);
}

/// Names of the crates in a graph of normal dependencies.
fn graph(name: &str, features: &[&str]) -> BTreeSet<String> {
    let out = Command::new(env!("CARGO"))
        .args(["tree", "--package", name, "--edges", "normal", "--prefix", "none"])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .args(features)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn default_graphs_keep_to_their_budgets() {
    let mut wrong = Vec::new();
    for (name, features, budget) in BUDGETS {
        let mut crates = graph(name, features);
        crates.remove(name);
        crates.remove("");
        if crates.len() > budget {
            let (found, features) = (crates.len(), features.join(" "));
            wrong.push(format!("{name} {features}: {found} crates, budget {budget}: {crates:?}"));
        }
        // Unmaintained, or against the rules of the family.
        for banned in ["bincode", "async-trait", "anyhow", "dashmap", "lazy_static", "protobuf"] {
            if crates.contains(banned) {
                wrong.push(format!("{name}: {banned} in the default graph"));
            }
        }
    }
    assert_none(&wrong);
}
