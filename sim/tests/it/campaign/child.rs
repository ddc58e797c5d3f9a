//! Campaigns in processes of their own: for variables of the environment, and to see that nothing
//! depends on the process.

use super::subjects::named;
use quorate_sim::{FailureKind, Report};
use std::path::{Path, PathBuf};
use std::process::Command;

const CAMPAIGN: &str = "SIM_TEST_CAMPAIGN";

/// How a campaign ended in another process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// `passed`, `violation`, `vacuous`, `environment`, or `unlike`.
    pub(crate) kind: String,
    pub(crate) seed: String,
    pub(crate) checker: String,
    pub(crate) hash: String,
    /// All that there is to say.
    pub(crate) text: String,
}

impl Ending {
    /// Where the plan was written.
    pub(crate) fn plan_path(&self) -> PathBuf {
        let command = self.text.lines().find_map(|line| line.strip_prefix("replay: ")).unwrap();
        let path = command.split_whitespace().next().unwrap();
        path.strip_prefix("QUORATE_REPLAY=").unwrap().into()
    }
}

/// What does not depend on how quick the machine is.
fn lines_of(report: &Report) -> String {
    format!("events={}\n{}", report.events, report.coverage)
}

/// Runs a campaign as another process with this environment.
pub(crate) fn run(campaign: &str, environment: &[(&str, &str)]) -> Ending {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = "campaign::child::one_campaign";
    command.args([test, "--exact", "--nocapture"]).env(CAMPAIGN, campaign);
    for name in ["SEEDS", "SEED", "JOBS", "REPLAY", "TRACE"] {
        command.env_remove(format!("QUORATE_{name}"));
    }
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, said) = text.split_once("\n@ ").unwrap_or_else(|| panic!("{output:?}"));
    let (first, rest) = said.split_once('\n').unwrap();
    let words: Vec<&str> = first.split('|').collect();
    let [kind, seed, checker, hash] = words[..] else { panic!("{first}") };
    let [kind, seed, checker, hash] = [kind, seed, checker, hash].map(str::to_owned);
    let text = rest.split_once("\n@end").unwrap().0.to_owned();
    Ending { kind, seed, checker, hash, text }
}

pub(crate) fn replay(campaign: &str, file: &Path) -> Ending {
    run(campaign, &[("QUORATE_REPLAY", file.to_str().unwrap())])
}

#[test]
fn one_campaign() {
    let Ok(name) = std::env::var(CAMPAIGN) else { return };
    let (first, rest) = match named(&name).run() {
        Ok(report) => {
            (format!("passed|{}||{:#018x}", report.seeds, report.hash), lines_of(&report))
        }
        Err(failure) => {
            let kind = match failure.kind {
                FailureKind::Violation(_) => "violation",
                FailureKind::Vacuous { .. } => "vacuous",
                FailureKind::Environment(_) => "environment",
                _ => "unlike",
            };
            let seed = failure.seed.map(|seed| seed.to_string()).unwrap_or_default();
            let checker = failure.checker().unwrap_or_default();
            (format!("{kind}|{seed}|{checker}|{:#018x}", failure.hash), failure.to_string())
        }
    };
    println!("\n@ {first}\n{rest}\n@end");
}
