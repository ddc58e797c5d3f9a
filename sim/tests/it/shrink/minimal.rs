//! The plans of all planted bugs, replayed in processes of their own.

use crate::campaign::child::replay;
use crate::toys::{ALL, Planted};
use std::fs;

/// Whether a line of a plan file is a step.
fn is_step(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_digit())
}

fn examine(planted: &Planted) {
    let Planted { name, campaign, .. } = planted;
    let caught = campaign(true).must_fail(200).unwrap();
    assert!(caught.runs <= 200, "{name}: {} runs", caught.runs);
    let text = caught.plan_file();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.plan");
    fs::write(&path, &text).unwrap();

    let again = replay(name, &path);
    assert_eq!((&*again.kind, &again.checker), ("violation", &caught.checker), "{again:?}");
    assert_eq!(again.hash, format!("{:#018x}", caught.hash), "{name}");

    let steps = text.lines().filter(|line| is_step(line)).count();
    assert_eq!(steps, caught.plan.steps.len());
    for gone in text.lines().filter(|line| is_step(line)) {
        let shorter: Vec<&str> = text.lines().filter(|line| *line != gone).collect();
        fs::write(&path, shorter.join("\n")).unwrap();
        let ending = replay(name, &path);
        assert_eq!(ending.kind, "unlike", "{name} without {gone}: {ending:?}");
        let same = format!("{} at ", caught.checker);
        let first = ending.text.lines().next().unwrap();
        assert!(!first.contains(&same), "{name} does not need {gone}: {first}\n{text}");
    }
}

#[test]
fn plans_replay_elsewhere_and_need_every_step() {
    std::thread::scope(|scope| {
        let (one, other) = ALL.split_at(ALL.len() / 2);
        scope.spawn(|| other.iter().for_each(examine));
        one.iter().for_each(examine);
    });
}
