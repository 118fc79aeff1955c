//! How much work goes into a submission: about 20 ms of a GPU's measured pace.
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

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::*;
    use crate::device::gpu::executable::work_before;
    use crate::ebm::Preset;
    use crate::ebm::programs::{BatchLayout, Programs};
    use crate::policy::convolution::ConvolutionPolicy;

    const MS: Duration = Duration::from_millis(1);
    const TFLOP: f64 = 1e12;

    /// A host and a device with a simulated clock. The host behaves like [`crate::device::gpu`].
    struct Simulation {
        pace: Pace,
        /// Work per second, by the time.
        device: fn(Duration) -> f64,
        /// The device's fixed time for a submission.
        overhead: Duration,
        /// How late the host wakes up from its `n`th wait.
        late: fn(usize) -> Duration,
        now: Duration,
        /// When the device is done with all that it was given.
        free: Duration,
        in_flight: VecDeque<(u64, Duration)>,
        waits: usize,
        /// Work and time of each submission.
        submissions: Vec<(u64, Duration)>,
    }

    impl Simulation {
        fn new(device: fn(Duration) -> f64) -> Self {
            Self {
                pace: Pace::of(AdapterKind::Discrete),
                device,
                overhead: MS / 20,
                late: |_| Duration::ZERO,
                now: Duration::ZERO,
                free: Duration::ZERO,
                in_flight: VecDeque::new(),
                waits: 0,
                submissions: Vec::new(),
            }
        }

        fn run(&mut self, before: &[u64]) {
            let mut first = 0;
            while first + 1 < before.len() {
                let end = self.pace.end(before, first);
                assert!(end > first && end < before.len());
                // Recording a dispatch takes 5 µs.
                self.now += MS / 200 * (end - first) as u32;
                let number = self.submit(Some(before[end] - before[first]));
                first = end;
                if first + 1 < before.len() && self.pace.grows() {
                    self.wait(number);
                }
            }
        }

        fn submit(&mut self, work: Option<u64>) -> u64 {
            let number = self.pace.sent(work, self.now);
            let begin = self.now.max(self.free);
            let seconds = work.unwrap_or(0) as f64 / (self.device)(begin);
            let time = self.overhead + Duration::from_secs_f64(seconds);
            self.free = begin + time;
            self.in_flight.push_back((number, self.free));
            self.submissions.push((work.unwrap_or(0), time));
            if self.in_flight.len() > 3 {
                self.wait(self.in_flight[0].0);
            }
            number
        }

        fn wait(&mut self, number: u64) {
            let Some(&(_, done)) = self.in_flight.iter().find(|other| other.0 == number) else { return };
            let watched = done > self.now;
            self.now = self.now.max(done) + (self.late)(self.waits);
            self.waits += 1;
            self.pace.ended(number, self.now, watched);
            self.in_flight.retain(|other| other.0 > number);
        }

        /// Waits for all submissions, and returns the work of the next one.
        fn settled_aim(&mut self) -> u64 {
            if let Some(&(last, _)) = self.in_flight.back() {
                self.wait(last);
            }
            self.pace.aim()
        }

        /// The times of the submissions from `first` on, in ms.
        fn times(&self, first: usize) -> Vec<f64> {
            self.submissions[first..].iter().map(|(_, time)| time.as_secs_f64() * 1e3).collect()
        }
    }

    /// A program of `dispatches` of so much work each.
    fn even(dispatches: usize, work: u64) -> Vec<u64> {
        (0..=dispatches as u64).map(|i| i * work).collect()
    }

    fn within(times: &[f64], least: f64, most: f64) -> bool {
        !times.is_empty() && times.iter().all(|time| (least..=most).contains(time))
    }

    #[test]
    fn a_fast_device_soon_gets_20_ms_at_a_time() {
        let mut simulation = Simulation::new(|_| 300.0 * TFLOP);
        simulation.run(&even(10_000, 26_000_000_000));
        let times = simulation.times(0);
        assert!(times[0] < 0.2, "{times:?}");
        assert!(within(&times[3..times.len() - 1], 17.0, 21.0), "{times:?}");
    }

    #[test]
    fn a_driver_on_the_cpu_gets_200_ms_at_a_time() {
        let mut simulation = Simulation::new(|_| 0.006 * TFLOP);
        simulation.pace = Pace::of(AdapterKind::Software);
        simulation.run(&even(1000, 50_000_000));
        let times = simulation.times(0);
        assert!(within(&times[1..times.len() - 1], 170.0, 201.0), "{times:?}");
    }

    #[test]
    fn a_slow_device_never_gets_much_at_a_time() {
        let mut simulation = Simulation::new(|_| 0.1 * TFLOP);
        simulation.run(&even(1000, 500_000_000));
        let times = simulation.times(0);
        assert!(within(&times, 0.0, 101.0), "{times:?}");
        assert!(within(&times[1..], 5.0, 21.0), "{times:?}");
    }

    #[test]
    fn a_dispatch_of_more_goes_alone() {
        let mut simulation = Simulation::new(|_| 100.0 * TFLOP);
        simulation.run(&even(1000, 100_000_000_000));
        let parts = |pace: &Pace, before: &[u64]| {
            let mut ends = vec![0];
            while ends[ends.len() - 1] + 1 < before.len() {
                ends.push(pace.end(before, ends[ends.len() - 1]));
            }
            ends
        };
        let tera = |works: &[u64]| {
            let mut sum = 0;
            let sums = works.iter().map(|work| {
                sum += work * 1_000_000_000_000;
                sum
            });
            [0].into_iter().chain(sums).collect::<Vec<_>>()
        };
        // 20 ms are 2 TFLOP.
        assert_eq!(parts(&simulation.pace, &tera(&[0, 0, 1, 50, 0, 0, 1, 0])), [0, 3, 4, 8]);
        assert_eq!(parts(&simulation.pace, &tera(&[0, 0, 0])), [0, 3]);
        // The rest is cut evenly: no small part remains.
        let ends = parts(&simulation.pace, &even(23, 100_000_000_000));
        assert_eq!(ends, [0, 12, 23]);
        // Even dispatches without work are limited in number.
        assert_eq!(parts(&simulation.pace, &vec![0; 3001]), [0, 1024, 2048, 3000]);
    }

    #[test]
    fn a_late_host_does_not_make_a_device_slow() {
        // Once it sleeps for ten seconds, and now and then it wakes up some milliseconds late.
        let mut simulation = Simulation::new(|_| 100.0 * TFLOP);
        simulation.late = |wait| match wait {
            2 | 40 => 10_000 * MS,
            _ if wait % 5 == 0 => 15 * MS,
            _ => Duration::ZERO,
        };
        for _ in 0..40 {
            simulation.run(&even(100, 100_000_000_000));
        }
        let times = simulation.times(0);
        assert!(within(&times[12..], 5.0, 35.0), "{times:?}");

        // The host is always late: submissions keep their size.
        let mut simulation = Simulation::new(|_| 100.0 * TFLOP);
        simulation.run(&even(1000, 100_000_000_000));
        let aim = simulation.settled_aim();
        for _ in 0..40 {
            simulation.now += 1000 * MS;
            simulation.run(&even(1, 1_000_000_000_000));
        }
        assert_eq!(simulation.settled_aim(), aim);
    }

    #[test]
    fn a_device_that_changes_its_speed_is_followed() {
        let mut simulation = Simulation::new(|now| match now.as_secs() {
            0..5 => 300.0 * TFLOP,
            5..10 => 30.0 * TFLOP,
            _ => 300.0 * TFLOP,
        });
        let mut after = Vec::new();
        while simulation.now.as_secs() < 15 {
            simulation.run(&even(100, 25_000_000_000));
            after.push((simulation.now, simulation.submissions.len()));
        }
        let from = |seconds| after.iter().find(|(now, _)| now.as_secs_f64() >= seconds).unwrap().1;
        let (slow, fast) = (&simulation.submissions[from(6.5)..from(9.5)], &simulation.times(from(11.0)));
        let slow: Vec<f64> = slow.iter().map(|(_, time)| time.as_secs_f64() * 1e3).collect();
        assert!(within(&slow, 10.0, 25.0), "{slow:?}");
        // A program takes 8.4 ms then, and is not cut.
        assert!(within(fast, 8.0, 9.0), "{fast:?}");
    }

    #[test]
    fn writes_profiles_and_small_programs_do_not_count() {
        let mut simulation = Simulation::new(|_| 100.0 * TFLOP);
        simulation.run(&even(1000, 100_000_000_000));
        let aim = simulation.settled_aim();
        for work in [Some(0), None] {
            for _ in 0..20 {
                let number = simulation.submit(work);
                simulation.free += 500 * MS;
                let last = simulation.in_flight.back_mut().unwrap();
                last.1 = simulation.free;
                simulation.wait(number);
            }
        }
        assert_eq!(simulation.settled_aim(), aim);
        // Programs so small that they are all overhead lower the estimate, but not for long.
        for _ in 0..100 {
            simulation.run(&even(1, 1_000_000));
        }
        let first = simulation.submissions.len();
        simulation.run(&even(1000, 100_000_000_000));
        let times = simulation.times(first);
        assert!(within(&times[10..times.len() - 1], 15.0, 21.0), "{times:?}");
    }

    /// The submissions of an iteration of WRN-28-10 at batch 64 if cut after every 200 GFLOP, and if cut by time on
    /// `device`, after four iterations.
    fn submissions_of_an_iteration(
        policy: &ConvolutionPolicy,
        device: fn(Duration) -> f64,
    ) -> (usize, usize) {
        let recipe = Preset::Paper.recipe();
        let network = recipe.network(10, 3);
        let batch = BatchLayout::new(&recipe, 32, 32, 3);
        let programs = Programs::build(&recipe, &network, batch, 50_000, policy).unwrap();
        let steps = std::iter::repeat_n(programs.sgld.as_ref().unwrap(), recipe.steps);
        let before_steps = [&programs.gather, &programs.prepare];
        let after_steps = [programs.scatter.as_ref().unwrap(), &programs.update];
        let iteration: Vec<_> = before_steps.into_iter().chain(steps).chain(after_steps).collect();
        let before = |balance| iteration.iter().map(move |program| work_before(&program.dispatches, balance));
        let old = |before: Vec<u64>| {
            let mut parts = 1;
            let mut start = 0;
            for (i, &flops) in before.iter().enumerate() {
                if flops - start >= 200_000_000_000 && i + 1 < before.len() {
                    (parts, start) = (parts + 1, flops);
                }
            }
            parts
        };
        let mut simulation = Simulation::new(device);
        let programs: Vec<_> = before(ConvolutionPolicy::HARDWARE).collect();
        let mut first = 0;
        for _ in 0..5 {
            first = simulation.submissions.len();
            programs.iter().for_each(|program| simulation.run(program));
        }
        (before(0).map(old).sum(), simulation.submissions.len() - first)
    }

    #[test]
    fn an_iteration_of_wide_resnet_28_10_takes_few_submissions() {
        let devices: [fn(Duration) -> f64; 3] = [|_| 50.0 * TFLOP, |_| 150.0 * TFLOP, |_| 300.0 * TFLOP];
        let counts = devices.map(|device| submissions_of_an_iteration(&ConvolutionPolicy::default(), device));
        // At least one for each of 24 programs.
        assert_eq!(counts, [(188, 51), (188, 26), (188, 25)]);
    }
}
