//! Submissions on a device and a host with a simulated clock.

use super::*;

const MS: Duration = Duration::from_millis(1);
const TFLOP: f64 = 1e12;

/// A host and a device with a simulated clock. The host behaves like [`crate::device::gpu`].
struct Simulation {
    pace: Pace,
    /// Work per second, by the time.
    device: fn(Duration) -> f64,
    /// The device's fixed time for a submission.
    overhead: Duration,
    /// The delay of the host's `n`th wake-up from a wait.
    late: fn(usize) -> Duration,
    now: Duration,
    /// The time at which the device has done all its work.
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

/// The submissions of `programs` on a simulated device, which does `device` floating-point operations a second at each
/// moment: cut after every 200 GFLOP, and cut by time, when they have run four times before.
#[cfg(feature = "train")]
pub(crate) fn submissions(
    programs: &[&crate::device::Program],
    balance: u64,
    device: fn(Duration) -> f64,
) -> (usize, usize) {
    use crate::device::gpu::executable::work_before;

    let before = |balance| programs.iter().map(move |program| work_before(&program.dispatches, balance));
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
    let works: Vec<_> = before(balance).collect();
    let mut first = 0;
    for _ in 0..5 {
        first = simulation.submissions.len();
        works.iter().for_each(|work| simulation.run(work));
    }
    (before(0).map(old).sum(), simulation.submissions.len() - first)
}
