//! Each example runs.

use crate::cluster::guard;

#[path = "../../examples/counter.rs"]
#[expect(dead_code, reason = "a program of its own; the test calls what it calls")]
mod counter;
#[path = "../../examples/durable.rs"]
#[expect(dead_code, reason = "a program of its own; the test calls what it calls")]
mod durable;
#[path = "../../examples/members.rs"]
#[expect(dead_code, reason = "a program of its own; the test calls what it calls")]
mod members;
#[path = "../../examples/reads_and_sessions.rs"]
#[expect(dead_code, reason = "a program of its own; the test calls what it calls")]
mod reads_and_sessions;

#[tokio::test(flavor = "multi_thread")]
async fn counter_runs() {
    assert_eq!(guard(counter::run()).await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_runs() {
    let dir = tempfile::tempdir().unwrap();
    let lines = guard(durable::run(dir.path())).await.unwrap();
    assert_eq!(lines, "written in one life\nwritten in the next\n");
    let nodes = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(nodes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_runs() {
    assert_eq!(guard(members::run()).await.unwrap(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_sessions_runs() {
    assert_eq!(guard(reads_and_sessions::run()).await.unwrap(), 40);
}
