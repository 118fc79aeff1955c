//! A table of the time that the dispatches of a program take.

use crate::device::DispatchTime;

/// The maximum number of rows of a program's table.
const ROWS: usize = 12;

/// The table of one program: its time, and its slowest dispatches with their share and rate.
pub fn table(program: &str, runs: usize, times: &[DispatchTime]) -> String {
    let total: f64 = times.iter().map(|time| time.time.as_secs_f64()).sum();
    let flops: u64 = times.iter().map(|time| time.flops).sum();
    let rate = |flops: u64, seconds: f64| flops as f64 / 1e9 / seconds.max(1e-12);
    let mut text = format!(
        "{program}: {runs} x {:.3} ms, {} dispatches, {:.1} GFLOP/s\n",
        1e3 * total,
        times.len(),
        rate(flops, total)
    );
    let mut sorted: Vec<&DispatchTime> = times.iter().collect();
    sorted.sort_by_key(|time| std::cmp::Reverse(time.time));
    for time in sorted.iter().take(ROWS) {
        let seconds = time.time.as_secs_f64();
        text += &format!(
            "  {:>9.3} ms {:>5.1}% {:>8.1} GFLOP/s  {:<24} {}\n",
            1e3 * seconds,
            100.0 * seconds / total.max(1e-12),
            rate(time.flops, seconds),
            time.kernel,
            time.label
        );
    }
    text
}
