//! Repeated measurements.

use std::time::{Duration, Instant};

/// The times of `once`, sorted: three or more, until `budget` is spent; fewer if they take ten times that. One more
/// comes first, in which drivers compile.
///
/// # Errors
/// The errors of `once`.
pub fn replay(
    budget: Duration,
    mut once: impl FnMut() -> jem::Result<Duration>,
) -> jem::Result<Vec<Duration>> {
    once()?;
    let mut times = Vec::new();
    let start = Instant::now();
    loop {
        times.push(once()?);
        let spent = start.elapsed();
        if spent >= 10 * budget || spent >= budget && times.len() >= 3 {
            times.sort();
            return Ok(times);
        }
    }
}
