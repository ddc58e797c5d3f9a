//! Every example runs.

#[path = "../../examples/basic.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod basic;
#[path = "../../examples/group.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod group;
#[path = "../../examples/raft_log.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod raft_log;
#[path = "../../examples/tail.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod tail;

#[test]
fn basic() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(basic::run(dir.path()).unwrap(), ["one", "two", "three"]);
}

#[test]
fn group() {
    let dir = tempfile::tempdir().unwrap();
    let (appends, groups) = group::run(dir.path()).unwrap();
    assert!(appends == 64 * 50 && groups < appends, "{appends} appends in {groups} groups");
}

#[test]
fn raft_log() {
    let dir = tempfile::tempdir().unwrap();
    let lines = raft_log::run(dir.path()).unwrap();
    assert_eq!(
        lines,
        [
            "group 1: entries 3..6, vote for node 2 in term 2",
            "entries 3..4 of term 1",
            "entries 4..6 of term 2",
        ]
    );
}

#[test]
fn tail() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(tail::run(dir.path()).unwrap(), (200 * 201 / 2, 200));
}
