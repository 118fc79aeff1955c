//! What a run came to.

use jem::ebm::Evaluation;
use jem::io::atomic;
use jem::report::metrics::MetricsTable;
use jem::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::Path;

/// The file in a run directory that says that the run has ended, and how.
const FILE: &str = "result.json";
/// The energy gap of a run is the mean over this many last iterations.
const LAST: usize = 50;

/// Figures of a run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The best model's on the test images; `None` if the run failed.
    pub test: Option<Evaluation>,
    /// Why it failed.
    pub failure: Option<String>,
    /// Mean energy of samples minus that of data, over the last iterations; `None` without samples.
    pub energy_gap: Option<f64>,
    /// Faults that were healed; of a run that failed its message says.
    pub trips: Option<u32>,
    /// Seconds of training and evaluations, without those of iterations that were done again.
    pub seconds: f64,
}

impl Figures {
    /// The figures of the run in `directory`, which ended with those of the test images and its faults, or failed.
    pub fn of(directory: &Path, end: Result<(Evaluation, u32)>) -> Result<Self> {
        let metrics = MetricsTable::read(&directory.join("metrics.csv"))?;
        let (test, trips, failure) = match end {
            Ok((test, trips)) => (Some(test), Some(trips), None),
            Err(error) => (None, None, Some(error.to_string())),
        };
        let gaps = metrics.points("energy_gap");
        let last = &gaps[gaps.len().saturating_sub(LAST)..];
        let gap = last.iter().map(|(_, gap)| gap).sum::<f64>() / last.len() as f64;
        let energy_gap = gap.is_finite().then_some(gap);
        Ok(Self { test, failure, energy_gap, trips, seconds: seconds(&metrics.points("seconds")) })
    }

    /// What an earlier call wrote of the run in `directory`; `None` if the run has not ended.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let wrong = |error| Error::file(&path, format!("{error}; remove it to score the run again"));
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }

    /// Writes them into the run directory.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain numbers");
        atomic::write(&directory.join(FILE), |file| writeln!(file, "{text}"))
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        match (&self.test, &self.failure) {
            (Some(test), _) => format!("test accuracy {:.2}%", 100.0 * test.accuracy),
            (None, Some(failure)) => failure.clone(),
            (None, None) => "no figures".into(),
        }
    }
}

/// The sum of a clock that begins anew each time the run is resumed.
fn seconds(points: &[(f64, f64)]) -> f64 {
    let ends = points.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1);
    ends.chain(points.last().map(|last| last.1)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resumed_clocks_add_up() {
        assert_eq!(seconds(&[]), 0.0);
        assert_eq!(seconds(&[(0.0, 1.0), (1.0, 3.0), (2.0, 0.5), (3.0, 2.0)]), 5.0);
    }
}
