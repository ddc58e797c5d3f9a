//! The rows of "Limits and bad input".

use crate::process::{Local, Raw, free_ports, kv};
use std::path::Path;

#[test]
fn malformed_protocol_names_the_byte_and_closes_only_that_connection() {
    let local = Local::start(&[]);
    let mut bystander = local.raw(0);
    for (bytes, expected) in [
        (&b"*1\r\n:5\r\n"[..], "-ERR Protocol error: expected '$', got ':' at byte 4\r\n"),
        (b"*x\r\n", "-ERR Protocol error: invalid multibulk length at byte 0\r\n"),
        (b"*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length at byte 4\r\n"),
        (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length at byte 4\r\n"),
        (
            b"*1\r\n$3\r\nabcde\r\n",
            "-ERR Protocol error: expected the end of a bulk string at byte 11\r\n",
        ),
        (
            b"*1048577\r\n",
            "-ERR Protocol error: 1048577 arguments exceeds the limit of 1048576 at byte 0\r\n",
        ),
        (
            b"*1\r\n$99999999999\r\n",
            "-ERR Protocol error: request exceeds the limit of 33554432 bytes at byte 4\r\n",
        ),
        (b"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request at byte 8\r\n"),
    ] {
        let mut c = local.raw(0);
        c.send(bytes);
        assert_eq!(c.rest(), expected);
    }
    let mut c = local.raw(0);
    c.send(&vec![b'x'; 70_000]);
    let answer = c.rest();
    assert_eq!(answer, "-ERR Protocol error: too big inline request at byte 65536\r\n");
    bystander.ask("PING", "+PONG\r\n");
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let local = Local::start(&[]);
    let mut c = local.raw(0);
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nxy\r\n" {
        c.send(&[*byte]);
    }
    c.expect("+OK\r\n");
    c.ask("GET a", "$2\r\nxy\r\n");
}

#[test]
fn keys_and_values_over_their_limits_are_refused_and_the_connection_lives() {
    let local = Local::start(&[]);
    let mut c = local.raw(0);
    let request = |key: usize, value: usize| {
        let (k, v) = ("k".repeat(key), "v".repeat(value));
        format!("*3\r\n$3\r\nSET\r\n${key}\r\n{k}\r\n${value}\r\n{v}\r\n")
    };
    c.send(request(65_537, 1).as_bytes());
    c.expect("-ERR key exceeds the limit of 65536 bytes\r\n");
    c.send(request(1, 8_388_609).as_bytes());
    c.expect("-ERR value exceeds the limit of 8388608 bytes\r\n");
    c.send(request(65_536, 8_388_608).as_bytes());
    c.expect("+OK\r\n");
    c.send(request(1, 8_388_608).as_bytes());
    c.expect("+OK\r\n");
    c.ask("APPEND k v", "-ERR value exceeds the limit of 8388608 bytes\r\n");
    c.ask("STRLEN k", ":8388608\r\n");
    // Each value within its limit, all of them together not.
    let value = "v".repeat(7 << 20);
    let mut many = "*5\r\n$4\r\nMSET\r\n".to_owned();
    for key in ["a", "b"] {
        many += &format!("$1\r\n{key}\r\n${}\r\n{value}\r\n", value.len());
    }
    c.send(many.as_bytes());
    c.expect("-ERR request exceeds the limit of 12582912 bytes\r\n");
    c.ask("EXISTS a b", ":0\r\n");
}

#[test]
fn clients_over_the_limit_are_told_so() {
    let local = Local::start(&["--max-clients", "2"]);
    let (mut a, mut b) = (local.raw(0), local.raw(0));
    a.ask("PING", "+PONG\r\n");
    b.ask("PING", "+PONG\r\n");
    assert_eq!(local.raw(0).rest(), "-ERR max number of clients reached\r\n");
    a.ask("QUIT", "+OK\r\n");
    assert_eq!(a.rest(), "");
    // Its place is free again, as soon as the server has noticed.
    let mut tries = 0;
    loop {
        let mut c = local.raw(0);
        c.send(b"PING\r\n");
        if c.line() == "+PONG\r\n" {
            break;
        }
        tries += 1;
        assert!(tries < 1_000, "the place of a client that left stays taken");
    }
}

/// One of three: no quorum.
#[test]
fn without_a_quorum_the_answer_is_definite() {
    let folder = tempfile::tempdir().unwrap();
    let ports = free_ports(4);
    let peers: Vec<String> =
        (1..).zip(&ports[1..]).map(|(id, port)| format!("{id}=127.0.0.1:{port}")).collect();
    let resp = format!("127.0.0.1:{}", ports[0]);
    let mut args = vec!["node", "--id", "1", "--resp", &resp, "--election-timeout", "50"];
    args.extend(["--dir", folder.path().to_str().unwrap()]);
    for peer in &peers {
        args.extend(["--peer", peer]);
    }
    let _node = crate::process::Process::start(&args);
    while std::net::TcpStream::connect(&resp).is_err() {
        std::thread::yield_now();
    }
    let mut c = Raw::connect(ports[0]);
    c.ask("SET a 1", "-TRYAGAIN no quorum\r\n");
    c.ask("GET a", "-TRYAGAIN no quorum\r\n");
    c.ask("PING", "+PONG\r\n");
}

fn fails_with(args: &[&str], expected: &[&str]) {
    let out = kv(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(crate::process::FAILED), "{text}");
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn data_of_another_cluster_or_in_use_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let path = dir.to_str().unwrap();
    let local = Local::start_on(&dir, &[]);
    local.raw(0).ask("SET a 1", "+OK\r\n");
    // In use.
    fails_with(&["local", "--port", "0", "--dir", path], &["node-1", "locked by process"]);
    assert!(local.stop().success());
    // Of another cluster.
    let other = "000000000000000000000000000000ff";
    fails_with(
        &["local", "--port", "0", "--dir", path, "--cluster", other],
        &["node-1", "cluster", other, "6b760000000000000000000000000001"],
    );
    // Of another node.
    let swapped = folder.path().join("swapped");
    std::fs::rename(&dir, &swapped).unwrap();
    std::fs::rename(swapped.join("node-1"), swapped.join("x")).unwrap();
    std::fs::rename(swapped.join("node-2"), swapped.join("node-1")).unwrap();
    std::fs::rename(swapped.join("x"), swapped.join("node-2")).unwrap();
    let path = swapped.to_str().unwrap();
    fails_with(&["local", "--port", "0", "--dir", path], &["node-1", "node", "expected 1"]);
    std::fs::rename(swapped.join("node-1"), swapped.join("x")).unwrap();
    std::fs::rename(swapped.join("node-2"), swapped.join("node-1")).unwrap();
    std::fs::rename(swapped.join("x"), swapped.join("node-2")).unwrap();
    let local = Local::start_on(&swapped, &[]);
    local.raw(0).ask("GET a", "$1\r\n1\r\n");
}

#[test]
fn a_corrupted_log_is_refused_and_kept_as_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let local = Local::start_on(&dir, &[]);
    let mut c = local.raw(0);
    for n in 0..50 {
        c.ask(&format!("SET key-{n} some-value"), "+OK\r\n");
    }
    assert!(local.stop().success());
    let segment = largest_file(&dir.join("node-1").join("log"));
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(6).position(|w| w == b"key-10").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    fails_with(
        &["local", "--port", "0", "--dir", dir.to_str().unwrap()],
        &["node-1", "damaged", "segment 1 at", "records"],
    );
    assert!(std::fs::read(&segment).unwrap() == bytes, "the evidence is untouched");
}

fn largest_file(dir: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let holding = files.filter(|path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(6).any(|w| w == b"key-10")
    });
    holding.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
}
