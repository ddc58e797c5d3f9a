//! Rules about documents.

use super::crates::{CRATES, assert_none, read, root};

const README_LINES_MAX: usize = 120;

#[test]
fn every_crate_has_its_documents() {
    let mut wanted = vec!["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
    wanted.extend(["LICENSE-MIT", "LICENSE-APACHE", "deny.toml"]);
    let mut wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
    for name in CRATES {
        wanted.extend(
            ["README.md", "CHANGELOG.md", "DESIGN.md"].map(|file| format!("{name}/{file}")),
        );
    }
    wanted.extend(["transport", "wal", "raft", "hashring"].map(|name| format!("{name}/FORMAT.md")));
    let missing = wanted.iter().filter(|file| read(&root().join(file)).trim().is_empty());
    assert_none(&missing.map(|file| format!("{file} is empty")).collect::<Vec<_>>());
}

#[test]
fn the_readme_is_short_and_its_example_is_the_tested_one() {
    let readme = read(&root().join("README.md"));
    assert!(readme.lines().count() <= README_LINES_MAX, "README.md has too many lines");
    let example = rust_block(&readme).expect("the README has an example");
    // That of the facade is a doctest.
    assert!(read(&root().join("quorate/README.md")).contains(example), "examples differ");
    for command in ["cargo run --release --example kv", "cargo test --workspace"] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
}

fn rust_block(text: &str) -> Option<&str> {
    text.split("```rust\n").nth(1)?.split("```").next()
}

/// Tests of hazards that DESIGN.md names exist.
#[test]
fn hazards_in_design_documents_have_their_tests() {
    let mut wrong = Vec::new();
    for name in CRATES {
        let sources: String =
            super::crates::rust_files(name).into_iter().map(|file| file.text).collect();
        for word in read(&root().join(name).join("DESIGN.md")).split('`') {
            let test = word.rsplit("::").next().unwrap_or_default();
            let hazard = test.strip_prefix('h').is_some_and(|rest| {
                let digits = rest.chars().take_while(char::is_ascii_digit).count();
                digits == 2 && rest[digits..].starts_with('_')
            });
            // `h14_…` stands for whatever the test is called besides.
            let begin = test.split(['…', '*']).next().unwrap_or_default();
            if hazard && !sources.contains(&format!("fn {begin}")) {
                wrong.push(format!("{name}/DESIGN.md names `{test}`, which is no test"));
            }
        }
    }
    assert_none(&wrong);
}
