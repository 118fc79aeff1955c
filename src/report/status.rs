//! The figures that progress shows beside the iteration.

/// The figures beside the iteration; what was not measured is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Status {
    /// The objective.
    pub loss: Option<f64>,
    /// Mean energy of samples minus mean energy of data.
    pub energy_gap: Option<f64>,
    /// Accuracy on training batches, 0 to 1.
    pub accuracy: Option<f64>,
    /// Labelled images trained on a second.
    pub images_per_second: Option<f64>,
}

impl Status {
    /// The figures in one line, those that there are.
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
