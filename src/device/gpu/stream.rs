//! The queue: how far ahead of the device the host may be, and what the host learns by waiting.

use super::pace::Pace;
use super::{AdapterKind, GpuDevice};
use crate::error::Result;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A wait of at least this long blocked on a submission that was not done: otherwise it takes a few microseconds.
const BLOCKED: Duration = Duration::from_micros(100);

/// Submissions that may be queued before the host waits for the oldest. Two keep the GPU busy while the
/// host encodes the next; the third covers a late host. More would only hold memory for longer and make
/// Ctrl-C wait for more work.
const MAX_IN_FLIGHT: usize = 3;

/// Copies of up to so many bytes take next to no time beside a submission's work: 0.1 ms at 10 GB/s.
const LIGHT: u64 = 1 << 20;

/// The submissions that the host has not yet waited for.
#[derive(Debug)]
pub struct Stream {
    in_flight: VecDeque<Submission>,
    /// Bytes written since the last submission.
    pub unsubmitted_writes: u64,
    pub pace: Pace,
}

impl Stream {
    /// The stream of a device of this kind that was just opened.
    pub fn of(kind: AdapterKind) -> Self {
        Self { in_flight: VecDeque::new(), unsubmitted_writes: 0, pace: Pace::of(kind) }
    }
}

/// Commands that were handed to the queue.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its number in [`Pace`].
    number: u64,
    index: wgpu::SubmissionIndex,
}

/// The work of a copy of `bytes` between host and device: 0, or `None` if the copy takes so long that the time says
/// nothing about the device's pace.
pub fn copying(bytes: u64) -> Option<u64> {
    (bytes <= LIGHT).then_some(0)
}

impl GpuDevice {
    /// Hands `commands` to the queue, then waits for the oldest submission if too many are in flight. `work` is what
    /// [`Pace::sent`] takes.
    pub(super) fn submit(
        &self,
        what: impl FnOnce() -> String,
        commands: Option<wgpu::CommandBuffer>,
        work: Option<u64>,
    ) -> Result<Submission> {
        let (submission, oldest) = {
            // Held until the commands are handed over, so that the numbers follow the queue's order.
            let mut stream = self.stream();
            let at = self.opened.elapsed();
            let index = self.scoped(what, || self.queue.submit(commands))?;
            let copies = copying(std::mem::take(&mut stream.unsubmitted_writes));
            let number = stream.pace.sent(work.and_then(|work| Some(work + copies?)), at);
            let submission = Submission { number, index };
            stream.in_flight.push_back(submission.clone());
            let full = stream.in_flight.len() > MAX_IN_FLIGHT;
            (submission, full.then(|| stream.in_flight[0].clone()))
        };
        if let Some(oldest) = oldest {
            self.wait_for(&oldest)?;
        }
        Ok(submission)
    }

    /// Waits until `submission` and all before it are done.
    pub(super) fn wait_for(&self, submission: &Submission) -> Result<()> {
        // No timeout: wgpu 30 panics if another thread finds the queue empty after a wait has timed out.
        let began = Instant::now();
        let submission_index = Some(submission.index.clone());
        self.poll(wgpu::PollType::Wait { submission_index, timeout: None })?;
        // If the wait did not block, the submission ended at an unknown earlier time.
        let watched = began.elapsed() >= BLOCKED;
        let mut stream = self.stream();
        let at = self.opened.elapsed();
        stream.pace.ended(submission.number, at, watched);
        stream.in_flight.retain(|other| other.number > submission.number);
        Ok(())
    }

    /// [`GpuDevice::poll_only`], then the device's health.
    pub(super) fn poll(&self, poll: wgpu::PollType) -> Result<()> {
        let polled = self.poll_only(poll);
        self.check()?;
        polled.map_err(|error| self.error("waiting for the queue".into(), error.to_string()))
    }

    /// Polls wgpu, which panics if the device is lost while it waits; the panic becomes the loss of the device.
    pub(super) fn poll_only(&self, poll: wgpu::PollType) -> Result<(), wgpu::PollError> {
        catch_unwind(AssertUnwindSafe(|| self.device.poll(poll).map(|_| ()))).unwrap_or_else(|panic| {
            self.health.lose(panic.downcast_ref::<String>().map_or("lost while waiting", String::as_str));
            Ok(())
        })
    }

    pub(super) fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
