//! Every example runs.

#[path = "../../examples/basic.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod basic;
#[path = "../../examples/full_disk.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod full_disk;
#[path = "../../examples/group.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod group;
#[path = "../../examples/raft_log.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod raft_log;
#[path = "../../examples/recover.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod recover;
#[path = "../../examples/tail.rs"]
#[expect(dead_code, reason = "main is not called here")]
mod tail;

#[test]
fn basic() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(basic::run(dir.path()).unwrap(), ["one", "two", "three"]);
}

#[test]
fn full_disk() {
    assert_eq!(
        full_disk::run().unwrap(),
        [
            "full: true",
            "all readable: true",
            "resumed behind all others: true",
            "the operator was told: true",
        ]
    );
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
fn recover() {
    let dir = tempfile::tempdir().unwrap();
    let lines = recover::run(dir.path()).unwrap();
    assert_eq!(
        lines,
        [
            "refused: lost 3..=3, evidence Frame { offset: 4352, durable_off: 4352 }",
            "one bit explains it: true",
            "salvaged: 3 is lost: true, 4 is \"payment 4\"",
            "strict again: 1 accepted, \"payment 3, from the replica\"",
        ]
    );
}

#[test]
fn tail() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(tail::run(dir.path()).unwrap(), (200 * 201 / 2, 200));
}
