//! Structures of the crate as JSON: field names are those of the structures.

use quorate_wal::{
    Damage, DamageKind, Evidence, Health, LsnSpan, Marks, RecoveryReport, ScrubCounts, Tail,
};

/// A string with quotes.
pub(super) fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

pub(super) fn span(span: &LsnSpan) -> String {
    let to = span.to.map_or_else(|| "null".to_owned(), |to| to.to_string());
    format!("{{\"from\":{},\"to\":{to}}}", span.from)
}

pub(super) fn tail(tail: &Tail) -> String {
    match tail {
        Tail::Torn { from } => format!("{{\"Torn\":{{\"from\":{from}}}}}"),
        Tail::Unverifiable { lsns } => {
            format!("{{\"Unverifiable\":{{\"lsns\":{}}}}}", span(lsns))
        }
        other => string(&format!("{other:?}")),
    }
}

fn evidence(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Frame { offset, durable_off } => {
            format!("{{\"Frame\":{{\"offset\":{offset},\"durable_off\":{durable_off}}}}}")
        }
        Evidence::NextSegment { segment } => {
            format!("{{\"NextSegment\":{{\"segment\":{segment}}}}}")
        }
        Evidence::Caller { lsn } => format!("{{\"Caller\":{{\"lsn\":{lsn}}}}}"),
        other => string(&format!("{other:?}")),
    }
}

pub(super) fn damage(damage: &Damage) -> String {
    let Damage { segment, offset, kind, lost, evidence: why, single_bit, .. } = damage;
    let kind: &DamageKind = kind;
    let bit = single_bit.map_or_else(|| "null".to_owned(), |bit| bit.to_string());
    format!(
        "{{\"segment\":{segment},\"offset\":{offset},\"kind\":\"{kind:?}\",\"lost\":{},\
         \"evidence\":{},\"single_bit\":{bit}}}",
        span(lost),
        evidence(why)
    )
}

pub(super) fn report(report: &RecoveryReport) -> String {
    let r = report;
    let foreign = r.foreign.iter().map(|name| string(&name.to_string_lossy()));
    format!(
        "{{\"created\":{},\"first\":{},\"durable\":{},\"tail\":{},\"damage\":{},\"accepted\":{},\
         \"repaired\":{},\"foreign\":{},\"streams\":{},\"segments\":{},\"bytes_scanned\":{},\
         \"anchored_bytes\":{},\"elapsed\":{}}}",
        r.created,
        r.first,
        r.durable,
        tail(&r.tail),
        list(r.damage.iter().map(damage)),
        list(r.accepted.iter().map(span)),
        r.repaired,
        list(foreign),
        r.streams,
        r.segments,
        r.bytes_scanned,
        r.anchored_bytes,
        r.elapsed.as_secs_f64()
    )
}

pub(super) fn marks(marks: &Marks) -> String {
    let Marks { low, high, durable, written, staged, .. } = marks;
    format!(
        "{{\"low\":{low},\"high\":{high},\"durable\":{durable},\"written\":{written},\
         \"staged\":{staged}}}"
    )
}

pub(super) fn counts(counts: &ScrubCounts) -> String {
    let ScrubCounts { segments, bytes, damage, copies_bad, unreadable, gone, .. } = counts;
    format!(
        "{{\"segments\":{segments},\"bytes\":{bytes},\"damage\":{damage},\
         \"copies_bad\":{copies_bad},\"unreadable\":{unreadable},\"gone\":{gone}}}"
    )
}

pub(super) fn health(health: &Health) -> String {
    match health {
        Health::Gap { missing } => {
            format!("{{\"Gap\":{{\"missing\":[{},{}]}}}}", missing.start, missing.end)
        }
        Health::Uncertain { since } => format!("{{\"Uncertain\":{{\"since\":{since}}}}}"),
        other => string(&format!("{other:?}")),
    }
}
