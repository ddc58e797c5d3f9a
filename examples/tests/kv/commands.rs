//! Every command with its answers, errors included.

use crate::process::Local;

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

const OK: &str = "+OK\r\n";
const NULL: &str = "$-1\r\n";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";

/// Connection, single values, numbers.
const FIRST: &[(&str, &str)] = &[
    ("PING", "+PONG\r\n"),
    ("PING hi", "$2\r\nhi\r\n"),
    ("ECHO hi", "$2\r\nhi\r\n"),
    ("ECHO", "-ERR wrong number of arguments for 'echo' command\r\n"),
    ("SELECT 0", OK),
    ("SELECT 1", "-ERR DB index is out of range\r\n"),
    ("CLIENT SETNAME me", OK),
    ("CLIENT GETNAME", "$2\r\nme\r\n"),
    ("CLIENT SETINFO LIB-NAME x", OK),
    ("COMMAND COUNT", ":0\r\n"),
    ("COMMAND", "*0\r\n"),
    ("CONFIG GET nothing", "*0\r\n"),
    ("GET a", NULL),
    ("SET a 1", OK),
    ("SET a 2 NX", NULL),
    ("SET a 2 XX", OK),
    ("SET a 3 GET", "$1\r\n2\r\n"),
    ("SET a 3 NX XX", "-ERR syntax error\r\n"),
    ("SET a", "-ERR wrong number of arguments for 'set' command\r\n"),
    ("SET a 3 EX 0", "-ERR invalid expire time in 'set' command\r\n"),
    ("SET a 3 EX x", NOT_INTEGER),
    ("GET a", "$1\r\n3\r\n"),
    ("GETSET a 4", "$1\r\n3\r\n"),
    ("GETDEL a", "$1\r\n4\r\n"),
    ("GETDEL a", NULL),
    ("SETNX n 1", ":1\r\n"),
    ("SETNX n 2", ":0\r\n"),
    ("INCR n", ":2\r\n"),
    ("INCRBY n 40", ":42\r\n"),
    ("DECR n", ":41\r\n"),
    ("DECRBY n 1", ":40\r\n"),
    ("SET text x", OK),
    ("INCR text", NOT_INTEGER),
    ("GET text", "$1\r\nx\r\n"),
    ("SET big 9223372036854775807", OK),
    ("INCR big", "-ERR increment or decrement would overflow\r\n"),
    ("GET big", "$19\r\n9223372036854775807\r\n"),
    ("DECRBY big -9223372036854775808", "-ERR decrement would overflow\r\n"),
    ("APPEND text yz", ":3\r\n"),
    ("STRLEN text", ":3\r\n"),
    ("STRLEN none", ":0\r\n"),
    ("TYPE text", "+string\r\n"),
    ("TYPE none", "+none\r\n"),
];

/// Several keys, expiry, the end of a connection. Goes on where the first left off.
const SECOND: &[(&str, &str)] = &[
    ("MSET x 1 y 2", OK),
    ("MSET x", "-ERR wrong number of arguments for 'mset' command\r\n"),
    ("MSETNX y 3 z 3", ":0\r\n"),
    ("MGET x y z", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n"),
    ("EXISTS x y z x", ":3\r\n"),
    ("DEL x z", ":1\r\n"),
    ("UNLINK y", ":1\r\n"),
    ("TTL text", ":-1\r\n"),
    ("TTL none", ":-2\r\n"),
    ("EXPIRE text 100", ":1\r\n"),
    ("TTL text", ":100\r\n"),
    ("PERSIST text", ":1\r\n"),
    ("PERSIST text", ":0\r\n"),
    ("TTL text", ":-1\r\n"),
    ("EXPIRE none 1", ":0\r\n"),
    ("GETEX text EX 50", "$3\r\nxyz\r\n"),
    ("TTL text", ":50\r\n"),
    ("SET text kept KEEPTTL", OK),
    ("TTL text", ":50\r\n"),
    ("SETEX soon 200 v", OK),
    ("TTL soon", ":200\r\n"),
    ("PSETEX soon 300000 v", OK),
    ("TTL soon", ":300\r\n"),
    ("SET past v PXAT 1", OK),
    ("GET past", NULL),
    ("PEXPIRE soon -1", ":1\r\n"),
    ("EXISTS soon", ":0\r\n"),
    ("DBSIZE", ":3\r\n"),
    ("NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' \r\n"),
    ("FLUSHALL", OK),
    ("DBSIZE", ":0\r\n"),
    ("RESET", "+RESET\r\n"),
    ("QUIT", OK),
];

#[test]
fn commands_answer_as_redis_does() {
    let local = Local::start(&[]);
    let mut c = local.raw(0);
    for (command, expected) in FIRST.iter().chain(SECOND) {
        c.ask(command, expected);
    }
    assert_eq!(c.rest(), "");
    assert!(local.stop().success());
}

#[test]
fn any_node_serves_and_a_restart_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let local = Local::start_on(&dir, &[]);
    local.raw(0).ask("SET a 1", "+OK\r\n");
    local.raw(1).ask("GET a", "$1\r\n1\r\n");
    local.raw(2).ask("INCR a", ":2\r\n");
    for node in 0..3 {
        let mut c = local.raw(node);
        c.ask("READONLY", "+OK\r\n");
        c.ask("SET stale 1", "+OK\r\n");
        c.ask("READWRITE", "+OK\r\n");
        // All three voters hold what this connection wrote.
        c.ask("WAIT 3 10000", ":3\r\n");
    }
    assert!(local.stop().success());
    let local = Local::start_on(&dir, &[]);
    local.raw(0).ask("GET a", "$1\r\n2\r\n");
    assert!(local.stop().success());
}

#[test]
fn resp3_and_resp2_shapes() {
    let local = Local::start(&[]);
    let mut c = local.raw(0);
    c.send(b"HELLO 3 SETNAME me\r\n");
    assert_eq!(c.line(), "%7\r\n", "a map of seven fields");
    let mut lines = 0;
    while lines < 26 {
        c.line();
        lines += 1;
        // Seven keys and five texts take two lines each, proto and id one, the empty array one.
        if lines == 7 * 2 + 4 * 2 + 3 {
            break;
        }
    }
    c.ask("GET none", "_\r\n");
    c.ask("CLIENT GETNAME", "$2\r\nme\r\n");
    c.ask("CONFIG GET appendonly", "%1\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n");
    c.ask("HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    let mut c = local.raw(0);
    c.ask("GET none", "$-1\r\n");
    c.ask("CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n");
}

#[test]
fn scan_and_keys_find_everything_once() {
    let local = Local::start(&[]);
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", local.ports[0])).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut pipe = redis::pipe();
    for n in 0..500 {
        pipe.cmd("SET").arg(format!("k:{n}")).arg(n).ignore();
    }
    pipe.cmd("SET").arg("other").arg(1).ignore();
    pipe.query::<()>(&mut connection).unwrap();
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg("k:*").arg("COUNT").arg(37);
        let (next, keys): (String, Vec<String>) = scan.query(&mut connection).unwrap();
        found.extend(keys);
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    let mut expected: Vec<String> = (0..500).map(|n| format!("k:{n}")).collect();
    expected.sort();
    assert_eq!(found, expected);
    let keys: Vec<String> = redis::cmd("KEYS").arg("k:[0-4]?").query(&mut connection).unwrap();
    assert_eq!(keys.len(), 40);
}

/// Answers come in the order of requests, however reads, writes and constants mix, and however many
/// a client sends before it reads.
#[test]
fn pipelines_answer_in_order() {
    let local = Local::start(&[]);
    let mut c = local.raw(1);
    let (mut requests, mut answers) = (String::new(), String::new());
    for n in 0..20_000 {
        match n % 4 {
            0 => {
                requests += &format!("SET k {n}\r\n");
                answers += "+OK\r\n";
            }
            1 => {
                requests += "GET k\r\n";
                answers += &bulk(&(n - 1).to_string());
            }
            2 => {
                requests += "INCR k\r\n";
                answers += &format!(":{}\r\n", n - 1);
            }
            _ => {
                requests += "PING\r\n";
                answers += "+PONG\r\n";
            }
        }
    }
    let mut sender = c.0.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        std::io::Write::write_all(&mut sender, requests.as_bytes()).unwrap();
    });
    c.expect(&answers);
    sending.join().unwrap();
}
