//! The results of a run.

use jem::ebm::Evaluation;
use jem::io::atomic;
use jem::report::metrics::MetricsTable;
use jem::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::Path;

/// The file in a run directory that records that the run has ended, and how.
const FILE: &str = "result.json";
/// The number of last iterations whose mean is the energy gap of a run.
const LAST: usize = 50;

/// Figures of a run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Figures of the best model on the test images; `None` if the run failed.
    pub test: Option<Evaluation>,
    /// Why it failed.
    pub failure: Option<String>,
    /// Mean energy of samples minus that of data, over the last iterations; `None` without samples.
    pub energy_gap: Option<f64>,
    /// Faults that were healed; `None` if the run failed: the message has the number.
    pub trips: Option<u32>,
    /// Seconds of training and evaluation, without iterations that were repeated.
    pub seconds: f64,
}

impl Figures {
    /// The figures of the run in `directory`, which ended with test figures and a number of faults, or failed.
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

    /// Reads the figures that an earlier call wrote for the run in `directory`; `None` if the run has not ended.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let wrong = |error| Error::file(&path, format!("{error}; remove it to score the run again"));
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }

    /// Writes the figures into the run directory.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain numbers");
        atomic::write(&directory.join(FILE), |file| writeln!(file, "{text}"))
    }

    /// A summary in a few words.
    pub fn summary(&self) -> String {
        match (&self.test, &self.failure) {
            (Some(test), _) if test.accuracy.is_nan() => format!("energy of test images {:.2}", test.energy),
            (Some(test), _) => format!("test accuracy {:.2}%", 100.0 * test.accuracy),
            (None, Some(failure)) => failure.clone(),
            (None, None) => "no figures".into(),
        }
    }
}

/// The total of a clock, which restarted at each resume in runs of earlier versions.
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
