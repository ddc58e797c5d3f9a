//! A table of lanes whose values have units of their own; printed line by line, then written.

use std::fmt::Write as _;
use std::path::Path;

use crate::turns::Rounds;

/// One line.
#[derive(Default)]
pub struct Line {
    lane: String,
    value: String,
    floor: String,
    peers: Vec<(String, String)>,
    goals: Vec<(String, Option<bool>)>,
    csv: Vec<(String, f64, &'static str)>,
}

impl Line {
    /// A lane by its name.
    pub fn new(lane: &str) -> Self {
        Self { lane: lane.to_owned(), ..Self::default() }
    }

    /// Times of one operation: ours, the floor (if named), all others as peers.
    pub fn times(lane: &str, rounds: &Rounds, ours: &str, floor: Option<&str>) -> Self {
        let mut line = Self::new(lane).value(&time(rounds.ns(ours)), rounds.ns(ours), "ns");
        if let Some(floor) = floor {
            let ratio = rounds.ratio(ours, floor);
            line = line.floor(&format!("{floor} {}", time(rounds.ns(floor))), ratio);
        }
        let but: Vec<&str> = [ours].into_iter().chain(floor).collect();
        for peer in rounds.others(&but) {
            let (text, ratio) = (time(rounds.ns(&peer)), rounds.ratio(&peer, ours));
            line = line.peer(&peer, &text, ratio);
        }
        line
    }

    /// What ours came to.
    pub fn value(mut self, text: &str, number: f64, unit: &'static str) -> Self {
        self.value = text.to_owned();
        self.csv.push(("ours".to_owned(), number, unit));
        self
    }

    /// The floor, and ours as so many times of it.
    pub fn floor(mut self, text: &str, ratio: f64) -> Self {
        self.floor = format!("{ratio:.2}× {text}");
        self.csv.push(("ours / floor".to_owned(), ratio, "ratio"));
        self
    }

    /// A peer, and how many times better ours is.
    pub fn peer(mut self, name: &str, text: &str, better: f64) -> Self {
        self.peers.push((name.to_owned(), format!("{better:.2}× ({text})")));
        self.csv.push((format!("better than {name}"), better, "ratio"));
        self
    }

    /// What was aimed at, and whether it was met.
    pub fn goal(mut self, what: &str, met: bool) -> Self {
        self.goals.push((what.to_owned(), Some(met)));
        self
    }

    /// The same, judged only if the device went at its quick pace: at the slow one everything is
    /// as slow as the device, and a target that is met says nothing.
    pub fn goal_at(self, quick: bool, what: &str, met: bool) -> Self {
        if quick {
            self.goal(what, met)
        } else {
            self.note(&format!("{what}: not judged (slow pace)"))
        }
    }

    /// Something worth saying that is not aimed at.
    pub fn note(mut self, what: &str) -> Self {
        self.goals.push((what.to_owned(), None));
        self
    }

    fn markdown(&self) -> String {
        let peers: Vec<String> = self.peers.iter().map(|(n, t)| format!("{n} {t}")).collect();
        let judged = |(what, met): &(String, Option<bool>)| match met {
            Some(true) => format!("{what}: met"),
            Some(false) => format!("{what}: **missed**"),
            None => what.clone(),
        };
        let goals: Vec<String> = self.goals.iter().map(judged).collect();
        let (lane, value, floor) = (&self.lane, &self.value, &self.floor);
        format!("| {lane} | {value} | {floor} | {} | {} |", peers.join(", "), goals.join("; "))
    }
}

/// The lines so far.
pub struct Sheet {
    title: String,
    head: String,
    lines: Vec<Line>,
}

const HEAD: &str = "| lane | ours | ours / floor | better than peers (their value) | target |\n\
                    |---|---|---|---|---|";

impl Sheet {
    /// Prints the head; lines follow as they are measured.
    pub fn begin(title: &str, conditions: &str) -> Self {
        println!("# {title}\n\n{conditions}\n\n{HEAD}");
        Self { title: title.to_owned(), head: conditions.to_owned(), lines: Vec::new() }
    }

    /// Adds and prints a line.
    pub fn push(&mut self, line: Line) {
        println!("{}", line.markdown());
        self.lines.push(line);
    }

    /// Writes `<name>.md` and `<name>.csv` into `folder`; `after` goes below the table.
    pub fn write(&self, folder: &Path, name: &str, after: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut text = format!("# {}\n\n{}\n\n{HEAD}\n", self.title, self.head);
        let mut csv = "lane,what,value,unit\n".to_owned();
        for line in &self.lines {
            let _ = writeln!(text, "{}", line.markdown());
            for (what, number, unit) in &line.csv {
                let _ = writeln!(csv, "\"{}\",\"{what}\",{number:.4},{unit}", line.lane);
            }
            for (what, met) in &line.goals {
                let met = met.map_or(String::new(), |met| u8::from(met).to_string());
                let _ = writeln!(csv, "\"{}\",\"{what}\",{met},met", line.lane);
            }
        }
        std::fs::write(folder.join(format!("{name}.md")), format!("{text}\n{after}"))?;
        std::fs::write(folder.join(format!("{name}.csv")), csv)
    }
}

/// Nanoseconds in a unit that reads well.
pub fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}
