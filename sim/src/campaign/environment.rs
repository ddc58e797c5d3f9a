//! What a campaign is told from outside. A word that cannot be read stops it.

use std::path::PathBuf;

/// The environment variables of campaigns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) seeds: Option<u64>,
    pub(super) seed: Option<u64>,
    pub(super) jobs: Option<usize>,
    pub(super) replay: Option<PathBuf>,
    pub(super) trace: Option<PathBuf>,
}

impl Environment {
    pub(super) fn read() -> Result<Self, String> {
        Self::from(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn from(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str, least: u64| -> Result<Option<u64>, String> {
            let Some(text) = get(name) else { return Ok(None) };
            let number = text.parse().ok().filter(|number| *number >= least);
            let wrong = || format!("{name}: expected a number from {least} on, found {text:?}");
            number.ok_or_else(wrong).map(Some)
        };
        let path = |name: &str| -> Result<Option<PathBuf>, String> {
            match get(name) {
                Some(text) if text.is_empty() => {
                    Err(format!("{name}: expected a path, found nothing"))
                }
                found => Ok(found.map(PathBuf::from)),
            }
        };
        let jobs = number("QUORATE_JOBS", 1)?;
        Ok(Self {
            seeds: number("QUORATE_SEEDS", 1)?,
            seed: number("QUORATE_SEED", 0)?,
            jobs: jobs.map(|jobs| usize::try_from(jobs).unwrap_or(usize::MAX)),
            replay: path("QUORATE_REPLAY")?,
            trace: path("QUORATE_TRACE")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_parse_is_named() {
        let with = |name: &'static str, value: &'static str| {
            Environment::from(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(with("QUORATE_SEED", "7").map(|e| e.seed), Ok(Some(7)));
        assert_eq!(with("QUORATE_JOBS", "2").map(|e| e.jobs), Ok(Some(2)));
        for (name, value) in [
            ("QUORATE_SEED", "x"),
            ("QUORATE_SEEDS", "0"),
            ("QUORATE_SEEDS", "-1"),
            ("QUORATE_JOBS", ""),
            ("QUORATE_REPLAY", ""),
        ] {
            let error = with(name, value).unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
        assert_eq!(Environment::from(|_| None), Ok(Environment::default()));
    }
}
