//! The division of a run's time among its steps.

/// The time of a step, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// The time reserved for it, which earlier steps must leave.
    pub kept: f64,
    /// The time after which it is killed, however much is left.
    pub limit: f64,
}

impl Share {
    /// The limit of a step when `left` seconds are left, of which `later` are reserved for the steps after it: the time
    /// reserved for it and all that is not reserved. `None` if that is less than half of the time reserved for it, too
    /// little to be of use.
    pub fn limit(self, left: f64, later: f64) -> Option<f64> {
        let spare = (left - self.kept - later).max(0.0);
        let limit = (self.kept + spare).min(self.limit).min(left);
        (limit >= self.kept / 2.0).then_some(limit)
    }

    /// The same with the reserved time multiplied by `scale`.
    pub fn scaled(self, scale: f64) -> Self {
        Self { kept: self.kept * scale, ..self }
    }
}
