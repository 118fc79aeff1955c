//! The clock of a step: the time until the device is done, and the host's time to record it.

use jem::device::Device;
use std::time::{Duration, Instant};

/// The times of one step.
#[derive(Debug, Clone, Copy)]
pub struct StepTime {
    /// From the first dispatch until the device is done.
    pub whole: Duration,
    /// The host's time to record and submit it; `None` where the host is the device.
    pub recording: Option<Duration>,
}

impl StepTime {
    /// Times `queue`, which queues a step's programs on an idle `device`, and waits for the device.
    ///
    /// # Errors
    /// The errors of `queue`, and errors on the device.
    pub fn of(device: &Device, queue: impl FnOnce() -> jem::Result<()>) -> jem::Result<Self> {
        let (start, busy) = (Instant::now(), thread_time());
        queue()?;
        let queued = start.elapsed();
        device.wait()?;
        let whole = start.elapsed();
        // Queueing waits when too much is in flight; waiting takes some time of the processor. Both are at least
        // what recording takes.
        let busy = busy.zip(thread_time()).map(|(before, after)| after.saturating_sub(before));
        // (The system may count whole ticks: nothing counted is no answer.)
        let busy = busy.filter(|busy| !busy.is_zero());
        let recording = (!device.is_cpu()).then(|| busy.map_or(queued, |busy| busy.min(queued)));
        Ok(Self { whole, recording })
    }
}

/// The time that this thread has had a processor, where Linux tells it.
fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
