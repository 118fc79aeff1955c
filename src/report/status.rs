//! The figures that the progress line shows beside the iteration.

/// The figures beside the iteration; `None` for those that were not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Status {
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
            self.loss.map(|value| format!("loss {value:.3}")),
            self.energy_gap.map(|value| format!("gap {value:+.3}")),
            self.accuracy.map(|value| format!("accuracy {:.1}%", 100.0 * value)),
            self.images_per_second.map(|value| format!("{value:.*} images/s", usize::from(value < 100.0))),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
    }
}
