//! How the steps share the time that there is.

/// The time of a step, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// The seconds that earlier steps must leave for it.
    pub kept: f64,
    /// After which it is killed, however much time is left.
    pub limit: f64,
}

impl Share {
    /// The limit of a step when `left` seconds are left, of which `later` are kept for the steps behind it: what is
    /// kept for it and all that nothing is kept for. `None` if that is less than half of what is kept for it,
    /// which is of no use.
    pub fn limit(self, left: f64, later: f64) -> Option<f64> {
        let spare = (left - self.kept - later).max(0.0);
        let limit = (self.kept + spare).min(self.limit).min(left);
        (limit >= self.kept / 2.0).then_some(limit)
    }

    /// The same with what is kept for it times `scale`.
    pub fn scaled(self, scale: f64) -> Self {
        Self { kept: self.kept * scale, ..self }
    }
}
