//! Each example runs, in a process of its own: its exit status and its decisive lines.

#[path = "../../examples/balance.rs"]
#[expect(dead_code, reason = "its `main` reads the command line, which is the test's here")]
mod balance;
#[path = "../../examples/cache.rs"]
mod cache;
#[cfg(feature = "ketama")]
#[path = "../../examples/migrate.rs"]
mod migrate;
#[path = "../../examples/ranges.rs"]
mod ranges;
#[path = "../../examples/storage.rs"]
mod storage;
#[path = "../../examples/tenants.rs"]
mod tenants;

use std::process::Command;

/// Which example a child process runs.
const CHILD: &str = "QUORATE_EXAMPLE";

/// What the children run; passes at once in any other process.
#[test]
fn child() {
    match std::env::var(CHILD).as_deref() {
        Ok("balance") => balance::print(100).unwrap(),
        Ok("cache") => cache::main().unwrap(),
        #[cfg(feature = "ketama")]
        Ok("migrate") => migrate::main().unwrap(),
        Ok("ranges") => ranges::main().unwrap(),
        Ok("storage") => storage::main().unwrap(),
        Ok("tenants") => tenants::main().unwrap(),
        Ok(other) => panic!("no example {other}"),
        Err(_) => {}
    }
}

/// What an example prints, if it ends well.
fn lines(example: &str) -> Vec<String> {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "examples::child", "--nocapture"])
        .env(CHILD, example)
        .output()
        .unwrap();
    let [said, errors] = [out.stdout, out.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(out.status.success(), "{example}: {said}{errors}");
    said.lines().map(str::to_owned).collect()
}

fn has(lines: &[String], wanted: &str) {
    assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted} is not in {lines:#?}");
}

#[test]
fn balance_of_a_hundred_nodes() {
    let lines = lines("balance");
    let line = |name: &str| {
        let line = lines.iter().find(|line| line.starts_with(name)).unwrap();
        let mut words = line.split_whitespace().rev();
        let mut number = || words.next().unwrap().parse::<f64>().unwrap();
        let (moved, worst) = (number(), number());
        (worst, moved)
    };
    // 4,096 rows on 100 nodes: 41 at most.
    has(&lines, "PartitionTable, 41 rows of 40.96");
    assert_eq!(line("PartitionTable"), (1.001, 1.0));
    for (name, most, moved_most) in [
        ("Ring, 160 vnodes", 1.3, 1.0),
        ("Maglev, 65,537 slots", 1.01, 1.8),
        ("Rendezvous", 1.05, 1.0),
        ("jump", 1.05, 1.0),
    ] {
        let (worst, moved) = line(name);
        assert!((1.0..most).contains(&worst), "{name}: {worst}");
        assert!((1.0..=moved_most).contains(&moved), "{name}: {moved}");
    }
}

#[test]
fn cache_loses_a_node() {
    let lines = lines("cache");
    has(&lines, "node 3 is gone: 2131 keys move, 10000 are where the retries have put them");
    has(&lines, "100 requests for one key: [25, 25, 25, 25, 0] at a time");
    has(&lines, "at most 32 of 100 at one of 4 nodes");
    has(&lines, "permits: 0");
}

#[cfg(feature = "ketama")]
#[test]
fn migrate_from_ketama() {
    let lines = lines("migrate");
    has(&lines, "same answers: 50000 of 50000 keys");
    has(&lines, "4271 of 50000 keys move, 0 of them otherwise than planned");
    let first = lines.iter().position(|line| line == "1034 moves, to begin with:").unwrap();
    assert!(lines[first + 1].contains(": Slot(NodeId("), "{}", lines[first + 1]);
}

#[test]
fn ranges_split_and_merge() {
    let lines = lines("ranges");
    has(&lines, "client: mango is in range 2 on [NodeId(2), NodeId(3), NodeId(4)]");
    has(&lines, "client: range 1 is stale, learns 2");
    assert_eq!(lines.iter().filter(|line| line.starts_with("refused: ")).count(), 2);
}

/// A node joins three zones: as many moves as the loads force, each stage with reads, none lost.
#[test]
fn storage_loses_no_read() {
    let lines = lines("storage");
    assert_eq!(lines.iter().filter(|line| line.contains(": target ")).count(), 10);
    let joined = lines.iter().find(|line| line.starts_with("node 10: target 16.00, load 16,"));
    assert!(joined.unwrap().ends_with("in 16, out 0"), "{joined:?}");
    has(&lines, "moves 16, load bound 16");
    for stage in ["copying at epoch 2", "switched at epoch 3", "settled at epoch 4"] {
        has(&lines, stage);
    }
    let end = lines.iter().find_map(|line| line.strip_prefix("settled after ")).unwrap();
    let (reads, rest) = end.split_once(' ').unwrap();
    assert_eq!(rest, "reads, lost reads: 0");
    assert!(reads.parse::<u32>().unwrap() > 4_000);
}

#[test]
fn tenants_share_little() {
    let lines = lines("tenants");
    has(&lines, "5000 tenants, 30 nodes; tenant 0 has ");
    has(&lines, "spread over zones, the most in one zone: 2");
    has(&lines, "a node joins: ");
}
