//! The paired runner: ours, peers and the floor take turns in one process, so that whatever slows
//! the machine slows all of them; medians over the rounds are compared.

pub mod busy;
pub mod count;
pub mod crew;
pub mod device;
pub mod sheet;
pub mod turns;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Turns of every candidate.
const ROUNDS: usize = 21;
/// How long one turn is about.
const TURN: Duration = Duration::from_millis(12);

/// Does an operation so many times; says how many it did.
pub type Run<'a> = Box<dyn FnMut(u64) -> u64 + 'a>;

/// A way to do the work of a lane.
pub struct Candidate<'a> {
    name: String,
    run: Run<'a>,
    /// How often per turn, and the times taken in nanoseconds an operation.
    count: u64,
    times: Vec<f64>,
}

impl<'a> Candidate<'a> {
    /// `op` once, timed in a loop.
    pub fn each<T>(name: &str, mut op: impl FnMut() -> T + 'a) -> Self {
        Self::run(name, move |count| {
            for _ in 0..count {
                std::hint::black_box(op());
            }
            count
        })
    }

    /// `run` does so many operations as it is told, and says how many it did.
    pub fn run(name: &str, run: impl FnMut(u64) -> u64 + 'a) -> Self {
        Self { name: name.to_owned(), run: Box::new(run), count: 1, times: Vec::new() }
    }

    /// Begins with so many operations a turn: for work whose preparation takes long.
    pub fn of(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    fn turn(&mut self) -> f64 {
        let begun = Instant::now();
        let done = (self.run)(self.count);
        let taken = begun.elapsed();
        assert_eq!(done, self.count, "{} did less than its work", self.name);
        taken.as_secs_f64() * 1e9 / self.count as f64
    }

    /// Finds out how often makes a turn; the quickest of three, since one may be interrupted.
    fn calibrate(&mut self) {
        loop {
            let each = (0..3).map(|_| self.turn()).fold(f64::INFINITY, f64::min);
            if each * self.count as f64 >= TURN.as_secs_f64() * 1e9 / 2.0 {
                return;
            }
            self.count *= 2;
        }
    }

    fn median(&self) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

/// What a lane promises.
#[derive(Clone, Copy)]
pub enum Target {
    /// At most so many times the floor.
    OfFloor(f64),
    /// At most so many times the first peer.
    OfPeer(f64),
    /// At most so many times the peer of this number.
    Of(usize, f64),
    /// At most so many nanoseconds.
    Nanos(f64),
}

/// One line of the table.
pub struct Lane<'a> {
    pub name: &'a str,
    pub ours: Candidate<'a>,
    pub floor: Candidate<'a>,
    pub peers: Vec<Candidate<'a>>,
    pub targets: Vec<Target>,
}

/// The lines so far.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    facts: Vec<String>,
}

struct Row {
    lane: String,
    ours: f64,
    floor: (String, f64),
    peers: Vec<(String, f64)>,
    targets: Vec<(String, bool)>,
}

impl Table {
    /// Measures a lane: floor, peers and ours in turns.
    pub fn measure(&mut self, mut lane: Lane<'_>) {
        let mut all: Vec<&mut Candidate<'_>> =
            [&mut lane.floor, &mut lane.ours].into_iter().chain(&mut lane.peers).collect();
        all.iter_mut().for_each(|candidate| candidate.calibrate());
        for _ in 0..ROUNDS {
            for candidate in &mut all {
                let time = candidate.turn();
                candidate.times.push(time);
            }
        }
        let (ours, floor) = (lane.ours.median(), lane.floor.median());
        let peers: Vec<(String, f64)> =
            lane.peers.iter().map(|p| (p.name.clone(), p.median())).collect();
        let judge = |target: &Target| match *target {
            Target::OfFloor(max) => (format!("≤ {max}× floor"), ours <= max * floor),
            Target::Of(peer, max) => {
                let (name, time) = &peers[peer];
                (format!("≤ {}× {name}", (max * 1e4).round() / 1e4), ours <= max * time)
            }
            Target::OfPeer(max) => (format!("≤ {max}× {}", peers[0].0), ours <= max * peers[0].1),
            Target::Nanos(max) => (format!("≤ {max} ns"), ours <= max),
        };
        let targets = lane.targets.iter().map(judge).collect();
        let floor = (lane.floor.name.clone(), floor);
        let row = Row { lane: lane.name.to_owned(), ours, floor, peers, targets };
        println!("{}", row.markdown());
        self.rows.push(row);
    }

    /// Prints the head of the table; lines follow as they are measured.
    pub fn begin(title: &str) -> Self {
        println!("# {title}\n\n{}\n", machine());
        println!("{HEAD}");
        Self::default()
    }

    /// Adds a line that is no time: bytes, moves, how even something is.
    pub fn say(&mut self, fact: &str) {
        println!("{fact}");
        self.facts.push(fact.to_owned());
    }

    /// Writes `<name>.md` and `<name>.csv` into `folder`.
    pub fn write(&self, title: &str, folder: &Path, name: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut text = format!("# {title}\n\n{}\n\n{HEAD}\n", machine());
        let mut csv = "lane,candidate,ns,ratio_of_ours\n".to_owned();
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.markdown());
            let _ = writeln!(csv, "{},ours,{:.3},1", row.lane, row.ours);
            for (candidate, ns) in [&row.floor].into_iter().chain(&row.peers) {
                let _ = writeln!(csv, "{},{candidate},{ns:.3},{:.3}", row.lane, row.ours / ns);
            }
        }
        if !self.facts.is_empty() {
            let _ = write!(text, "\n```text\n{}\n```\n", self.facts.join("\n"));
        }
        std::fs::write(folder.join(format!("{name}.md")), text)?;
        std::fs::write(folder.join(format!("{name}.csv")), csv)
    }
}

const HEAD: &str = "| lane | ours ns | floor | ours / floor | peers | ours / peer | target |\n\
                    |---|---:|---|---:|---|---|---|";

impl Row {
    fn markdown(&self) -> String {
        let named = |(name, ns): &(String, f64)| format!("{name} {ns:.1}");
        let peers: Vec<String> = self.peers.iter().map(named).collect();
        let ratios: Vec<String> =
            self.peers.iter().map(|(_, ns)| format!("{:.2}×", self.ours / ns)).collect();
        let judged = |(what, met): &(String, bool)| {
            format!("{what}: {}", if *met { "met" } else { "**missed**" })
        };
        let targets: Vec<String> = self.targets.iter().map(judged).collect();
        format!(
            "| {} | {:.1} | {} | {:.2}× | {} | {} | {} |",
            self.lane,
            self.ours,
            named(&self.floor),
            self.ours / self.floor.1,
            peers.join(", "),
            ratios.join(", "),
            targets.join(", ")
        )
    }
}

/// Processor, clock source, compiler: what the figures depend on.
fn machine() -> String {
    format!("{} · medians of {ROUNDS} interleaved turns", processor())
}

/// Processor, cores, clock source.
pub fn processor() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let source = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    format!("{model}, {cores} cores · clock source {}", source.trim())
}
