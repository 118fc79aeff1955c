//! The size of submissions: about 20 ms of work at a GPU's measured pace.
//!
//! Work is in the units of [`super::executable`]: floating-point operations, with each byte counted as a number of
//! them. The estimate comes from two times on the host's clock: when a submission was handed over, and when the host
//! saw that it was done. The host may look late, so it also says whether it waited for the end.

use super::AdapterKind;
use std::collections::VecDeque;
use std::time::Duration;

/// The time that a submission to a GPU should take: long enough that the cost of a submission (20 to 100 µs) does not
/// matter, short enough that the desktop is drawn and Ctrl-C answered.
const ON_HARDWARE: Duration = Duration::from_millis(20);

/// The same for a driver that computes on the CPU: it draws no desktop, and handing over a submission takes cores from
/// it.
const ON_SOFTWARE: Duration = Duration::from_millis(200);

/// The work of a submission before anything was measured: 0.1 s on a GPU of 0.1 TFLOP/s. (Windows resets a GPU after
/// 2 s.)
const FIRST: u64 = 10_000_000_000;

/// A submission has at most this many times the work of the largest that was seen to end.
const GROWTH: u64 = 8;

/// The most dispatches of one submission: dispatches without work take time too.
const MOST_DISPATCHES: usize = 1024;

/// Measurements shorter than this are merged with the next one, because the host's clock and the fixed cost of a
/// submission would weigh too much.
const SHORT: Duration = Duration::from_millis(1);

/// The estimate is the median of this many measurements, of which two may be outliers.
const WINDOW: usize = 5;

/// The pace of a device, and the submissions from which it is learned.
#[derive(Debug)]
pub struct Pace {
    /// The time that a submission should take.
    target: Duration,
    pending: VecDeque<Sent>,
    /// The number of the next submission.
    next: u64,
    /// Bounds on the time at which the last finished submission ended.
    done: Bounds,
    /// The last measurements, the newest last.
    measured: VecDeque<Measurement>,
    /// The sum of measurements that are too short to stand alone.
    short: Measurement,
    /// The median pace, in work per second.
    pace: Option<f64>,
    /// The most work of a submission that was seen to end.
    proven: u64,
}

/// A submission that is not known to be done.
#[derive(Debug)]
struct Sent {
    number: u64,
    at: Duration,
    /// `None` if its time says nothing about the pace, as for large copies.
    work: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Bounds {
    earliest: Duration,
    latest: Duration,
}

/// Work that the device did in this time.
#[derive(Debug, Default, Clone, Copy)]
struct Measurement {
    work: u64,
    time: Duration,
}

impl Measurement {
    fn pace(self) -> f64 {
        self.work as f64 / self.time.max(Duration::from_micros(1)).as_secs_f64()
    }
}

impl Pace {
    /// The pace of a device of which only the kind is known.
    pub fn of(kind: AdapterKind) -> Self {
        Self {
            target: if kind == AdapterKind::Software { ON_SOFTWARE } else { ON_HARDWARE },
            pending: VecDeque::new(),
            next: 0,
            done: Bounds::default(),
            measured: VecDeque::new(),
            short: Measurement::default(),
            pace: None,
            proven: 0,
        }
    }

    /// The end of the submission that starts with dispatch `first`. `before[i]` is the work of the dispatches before
    /// `i`; its last item is the work of all.
    ///
    /// The rest of the program is cut into parts of equal work, none above the aim; a dispatch above the aim is
    /// submitted alone.
    pub fn end(&self, before: &[u64], first: usize) -> usize {
        let dispatches = before.len() - 1;
        let most = dispatches.min(first + MOST_DISPATCHES);
        let (start, aim) = (before[first], self.aim());
        let rest = before[dispatches] - start;
        let part = rest.div_ceil(rest.div_ceil(aim).max(1));
        // The dispatch that fills a part goes to the next part if it would exceed the aim.
        let full = before.partition_point(|&work| work < start + part);
        let over = before.partition_point(|&work| work <= start + aim) - 1;
        let end = if before[dispatches] - start <= aim { dispatches } else { full.min(over) };
        end.min(most).max(first + 1)
    }

    /// The work that a submission should have.
    fn aim(&self) -> u64 {
        self.paced().unwrap_or(FIRST).min(self.allowed()).max(1)
    }

    /// Whether submissions will be larger once the last one is seen to end.
    pub fn grows(&self) -> bool {
        self.paced().is_none_or(|work| work > self.allowed())
    }

    /// The work of a submission at the measured pace.
    fn paced(&self) -> Option<u64> {
        Some((self.pace? * self.target.as_secs_f64()) as u64)
    }

    /// The largest work that a submission may have after those that were seen to end.
    fn allowed(&self) -> u64 {
        FIRST.max(self.proven.saturating_mul(GROWTH))
    }

    /// Records that a submission was handed over at `at`; returns its number. `work` is `None` if its time says nothing
    /// about the pace.
    pub fn sent(&mut self, work: Option<u64>, at: Duration) -> u64 {
        let number = self.next;
        self.next += 1;
        self.pending.push_back(Sent { number, at, work });
        number
    }

    /// Records that the host saw at `at` that submission `number` and all before it are done. `watched` means that it
    /// was not done a moment earlier.
    pub fn ended(&mut self, number: u64, at: Duration, watched: bool) {
        let count = self.pending.partition_point(|sent| sent.number <= number);
        let (Some(first), Some(last)) = (self.pending.front(), self.pending.get(count.wrapping_sub(1)))
        else {
            return;
        };
        // The group began when the first was handed over and everything before it was done. Within the group the
        // device may have waited for the host, but not after the last one was handed over.
        let began = first.at.max(self.done.earliest);
        let busy = last.at.max(self.done.latest);
        let earliest = if watched { at } else { last.at.max(self.done.earliest) };
        self.done = Bounds { earliest, latest: at };
        let group: Vec<Option<u64>> = self.pending.drain(..count).map(|sent| sent.work).collect();
        let most = group.iter().flatten().max().copied().unwrap_or(0);
        self.proven = self.proven.max(most);
        if let Some(work) = group.into_iter().sum::<Option<u64>>().filter(|&work| work > 0) {
            let longest = Measurement { work, time: at.saturating_sub(began) };
            let shortest = Measurement { work, time: at.saturating_sub(busy) };
            self.bounded(longest, watched.then_some(shortest));
        }
    }

    /// Takes a measurement into account: the pace was at least that of `longest`, and at most that of `shortest`, if
    /// any.
    fn bounded(&mut self, longest: Measurement, shortest: Option<Measurement>) {
        let pace = self.pace.unwrap_or(FIRST as f64 / self.target.as_secs_f64());
        let exact = |shortest: Measurement| shortest.time.as_secs_f64() * 1.5 >= longest.time.as_secs_f64();
        let measurement = match shortest {
            Some(shortest) if exact(shortest) => longest,
            _ if longest.pace() > pace => longest,
            Some(shortest) if shortest.pace() < pace => shortest,
            // The estimate lies within the bounds and stays.
            _ => return,
        };
        self.short.work += measurement.work;
        self.short.time += measurement.time;
        if self.short.time >= SHORT {
            self.measured.push_back(std::mem::take(&mut self.short));
        }
        if self.measured.len() > WINDOW {
            self.measured.pop_front();
        }
        let short = Some(self.short).filter(|short| short.work > 0);
        let mut paces: Vec<f64> = self.measured.iter().copied().chain(short).map(Measurement::pace).collect();
        paces.sort_by(f64::total_cmp);
        // Of two measurements the faster: the first submission includes what drivers do only once.
        self.pace = paces.get(paces.len() / 2).copied();
    }
}

#[cfg(test)]
pub(crate) mod tests;
