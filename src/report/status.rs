//! The figures that the progress line shows beside the iteration, and the phase of the iteration in progress.

use std::fmt;

/// The phase of an iteration in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The batch is collected.
    Data,
    /// The chains run.
    Sgld {
        /// The number of SGLD steps that are done.
        done: usize,
        /// The number of SGLD steps of the iteration.
        steps: usize,
    },
    /// The perturbation of sharpness-aware minimisation is computed.
    Perturbation {
        /// The part that is done, in percent.
        percent: u8,
    },
    /// The gradients and the optimizer step are computed.
    Update {
        /// The part that is done, in percent.
        percent: u8,
    },
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => f.write_str("data"),
            Self::Sgld { done, steps } => write!(f, "SGLD {done}/{steps}"),
            Self::Perturbation { percent } => write!(f, "perturbation {percent}%"),
            Self::Update { percent } => write!(f, "update {percent}%"),
        }
    }
}

/// The figures beside the iteration; `None` for those that were not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Status {
    /// The phase of a slow iteration in progress; `None` after an iteration.
    pub phase: Option<Phase>,
    /// The value of the loss.
    pub loss: Option<f64>,
    /// Mean energy of samples minus mean energy of data.
    pub energy_gap: Option<f64>,
    /// Accuracy on training batches, 0 to 1.
    pub accuracy: Option<f64>,
    /// Training images per second, at `batch` an iteration.
    pub images_per_second: Option<f64>,
}

impl Status {
    /// The measured figures in one line.
    pub fn line(&self) -> String {
        let parts = [
            self.phase.map(|phase| phase.to_string()),
            self.loss.map(|value| format!("loss {value:.3}")),
            self.energy_gap.map(|value| format!("gap {value:+.3}")),
            self.accuracy.map(|value| format!("accuracy {:.1}%", 100.0 * value)),
            self.images_per_second.map(|value| format!("{value:.*} images/s", usize::from(value < 100.0))),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
    }
}
