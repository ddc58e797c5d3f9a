//! Traces: what is written, what is refused.

use crate::support::{Rng, each_seed};
use quorate_clocks::{ShivizLog, TraceError, TraceProcess, VectorClock};
use std::collections::BTreeMap;
use std::io;

/// Host, clock and text of each event, read the way the drawing tool does.
fn events(text: &str) -> Vec<(String, BTreeMap<String, u64>, String)> {
    let lines: Vec<&str> = text.lines().collect();
    assert!(text.is_empty() || text.ends_with('\n'));
    assert_eq!(lines.len() % 2, 0);
    let event = |pair: &[&str]| {
        let (host, clock) = pair[0].split_once(' ').unwrap();
        let clock: BTreeMap<String, u64> = serde_json::from_str(clock).unwrap();
        (host.to_owned(), clock, pair[1].to_owned())
    };
    lines.chunks(2).map(event).collect()
}

/// Reads a trace, checks that each host's own entry rises by one from 1 and that no clock names an
/// event that is not there yet; gives the number of events of each host.
pub(crate) fn check_trace(text: &str) -> BTreeMap<String, u64> {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for (host, clock, _) in events(text) {
        let own = last.entry(host.clone()).or_default();
        *own += 1;
        assert_eq!(clock[&host], *own, "{host}");
        for (other, counter) in &clock {
            assert!(*counter > 0 && last[other] >= *counter, "{host} has seen {other}'s future");
        }
    }
    last
}

#[test]
fn traces_can_be_drawn() {
    each_seed(20, "shiviz::traces_can_be_drawn", |seed| {
        let mut rng = Rng::new(seed);
        let log = ShivizLog::new(Vec::new());
        let mut hosts: Vec<_> = ["a", "b.1", "c:2-x"]
            .iter()
            .map(|name| TraceProcess::new(&log, name).unwrap())
            .collect();
        let mut stamps = Vec::new();
        for _ in 0..40 {
            let host = &mut hosts[usize::try_from(rng.below(3)).unwrap()];
            match rng.below(3) {
                0 => host.local("works").unwrap(),
                1 => stamps.push(host.send("sends").unwrap()),
                _ if stamps.is_empty() => {}
                _ => host.receive(rng.pick(&stamps).clone(), "receives").unwrap(),
            }
        }
        drop(hosts);
        let text = String::from_utf8(log.into_inner()).unwrap();
        assert!(check_trace(&text).values().sum::<u64>() > 20);
    });
}

#[test]
fn threads_share_a_log() {
    let log = ShivizLog::new(Vec::new());
    std::thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let mut host = TraceProcess::new(&log, name).unwrap();
            scope.spawn(move || {
                for _ in 0..100 {
                    host.local("works").unwrap();
                }
            });
        }
    });
    let text = String::from_utf8(log.into_inner()).unwrap();
    assert_eq!(check_trace(&text).into_values().collect::<Vec<_>>(), [100, 100, 100]);
}

#[test]
fn h32_neither_names_nor_texts_can_forge_events() {
    let log = ShivizLog::new(Vec::new());
    for name in ["", "two words", "line\nend", "quo\"te", "back\\slash", "tab\t", "bräuer", "{}"] {
        let TraceError::Name { name: shown } = log.host(name).unwrap_err() else {
            panic!("{name:?} was taken")
        };
        assert!(!shown.contains('\n'));
    }
    assert!(matches!(log.host(&"x".repeat(65)), Err(TraceError::Name { .. })));
    log.host(&"x".repeat(64)).unwrap();
    let mut host = TraceProcess::new(&log, "host").unwrap();
    let evil = "x\nforged {\"forged\":1}\r\nhello\u{2028}\u{2029}\u{85}\0\u{7f}\tend";
    host.local(evil).unwrap();
    host.local("").unwrap();
    let text = String::from_utf8(log.into_inner()).unwrap();
    assert_eq!(check_trace(&text), BTreeMap::from([("host".to_owned(), 2)]));
    let (_, _, shown) = &events(&text)[0];
    assert_eq!(
        shown,
        "x\\u{a}forged {\"forged\":1}\\u{d}\\u{a}hello\\u{2028}\\u{2029}\\u{85}\\u{0}\\u{7f}\\u{9}\
         end"
    );
}

#[test]
fn events_out_of_their_order_are_refused() {
    let log = ShivizLog::new(Vec::new());
    let host = log.host("a").unwrap();
    assert!(matches!(log.host("a"), Err(TraceError::Known { name }) if name == "a"));
    let other = ShivizLog::new(Vec::new());
    let stranger = ["b", "c"].map(|name| other.host(name).unwrap())[1];
    let mut clock = VectorClock::new();
    let error = log.event(host, &clock, "before it happened").unwrap_err();
    assert!(matches!(&error, TraceError::Skipped { have: 0, got: 0, .. }));
    assert_eq!(error.to_string(), "event 0 of `a` follows its event 0");
    clock.tick(host);
    log.event(host, &clock, "first").unwrap();
    assert!(matches!(log.event(host, &clock, "again"), Err(TraceError::Skipped { .. })));
    clock.tick(host);
    let mut mixed = clock.clone();
    mixed.tick(stranger);
    for (host, clock) in [(stranger, &clock), (host, &mixed)] {
        let error = log.event(host, clock, "whose?").unwrap_err();
        assert!(matches!(error, TraceError::Unknown { number: 1 }), "{error}");
    }
    clock.tick(host);
    let error = log.event(host, &clock, "third").unwrap_err();
    assert!(matches!(error, TraceError::Skipped { have: 1, got: 3, .. }), "{error}");
    assert_eq!(check_trace(&String::from_utf8(log.into_inner()).unwrap())["a"], 1);
}

/// Takes so many bytes and then fails.
struct Full(usize);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("no space"));
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_log_that_failed_takes_no_more() {
    let log = ShivizLog::new(Full(20));
    let mut host = TraceProcess::new(&log, "host").unwrap();
    host.local("one").unwrap();
    let error = host.local("two").unwrap_err();
    assert_eq!(error.to_string(), "the event was not written: no space");
    assert!(std::error::Error::source(&error).is_some());
    assert!(matches!(host.local("three"), Err(TraceError::Broken)));
}

#[test]
fn a_log_takes_4096_hosts() {
    let log = ShivizLog::new(io::sink());
    for number in 0..4_096 {
        log.host(&number.to_string()).unwrap();
    }
    assert!(matches!(log.host("one-more"), Err(TraceError::Full { limit: 4_096 })));
}
