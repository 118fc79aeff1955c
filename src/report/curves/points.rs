//! The points of a curve: thinned, smoothed, and their range.

use std::ops::Range;

/// The maximum number of groups of points of a line.
pub(super) const COLUMNS: usize = 1100;
/// The approximate fraction of the run that a smoothed line averages over.
const SMOOTHING: f64 = 0.03;
/// Fewer points than this are drawn unsmoothed, with markers.
pub(in crate::report) const SPARSE: usize = 40;

/// The range of the values without the outermost hundredth at each end, with a margin.
pub(in crate::report) fn range_of<'a>(lines: impl Iterator<Item = &'a [(f64, f64)]>) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for points in lines {
        let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
        values.sort_by(f64::total_cmp);
        let trimmed = if values.len() < SPARSE { 0 } else { values.len().div_ceil(100) };
        low = low.min(values[trimmed]);
        high = high.max(values[values.len() - 1 - trimmed]);
    }
    if low > high {
        return 0.0..1.0;
    }
    let margin = (0.08 * (high - low)).max(1e-3 * low.abs().max(high.abs())).max(1e-6);
    low - margin..high + margin
}

/// Splits points into at most `count` groups of neighbours.
fn groups(points: &[(f64, f64)], count: usize) -> impl Iterator<Item = &[(f64, f64)]> {
    points.chunks(points.len().div_ceil(count.max(1)).max(1))
}

/// The lowest and the highest point of each of [`COLUMNS`] groups, finer than the pixels, in the order of the first
/// coordinate.
pub(super) fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let pair = |group: &[(f64, f64)]| {
        let (low, high) = (*group.iter().min_by(by_value)?, *group.iter().max_by(by_value)?);
        Some(if low.0 <= high.0 { [low, high] } else { [high, low] })
    };
    groups(points, COLUMNS).filter_map(pair).flatten().collect()
}

/// The mean of each of at most `count` groups of neighbours.
pub(in crate::report) fn means(points: &[(f64, f64)], count: usize) -> Vec<(f64, f64)> {
    let mean = |group: &[(f64, f64)]| {
        let (x, y) = group.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (x / group.len() as f64, y / group.len() as f64)
    };
    groups(points, count).map(mean).collect()
}

/// Smooths by a line fitted around each point, with triangular weights over [`SMOOTHING`] of the points on each side:
/// unlike a mean it does not lag at the ends.
pub(in crate::report) fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = ((points.len() as f64 * SMOOTHING) as usize).max(2);
    (0..points.len())
        .map(|at| {
            let x0 = points[at].0;
            let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (index, point) in
                points.iter().enumerate().take(at + reach + 1).skip(at.saturating_sub(reach))
            {
                let weight = (reach + 1 - at.abs_diff(index)) as f64;
                let (x, y) = (point.0 - x0, point.1);
                w += weight;
                wx += weight * x;
                wy += weight * y;
                wxx += weight * x * x;
                wxy += weight * x * y;
            }
            let determinant = w * wxx - wx * wx;
            let value = if determinant > 0.0 { (wxx * wy - wx * wxy) / determinant } else { wy / w };
            (x0, value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::curves::tests::run;

    #[test]
    fn an_outlier_does_not_decide_the_range() {
        let points = run(1200).points("cross_entropy");
        let range = range_of([&points[..]].into_iter());
        assert!(range.start > -0.5 && range.end < 3.0, "{range:?}");
        assert_eq!(range_of([].into_iter()), 0.0..1.0);
        let flat = range_of([&[(0.0, 5.0)][..]].into_iter());
        assert!(flat.start < 5.0 && flat.end > 5.0);
    }

    #[test]
    fn smoothing_keeps_lines_and_ends() {
        let line: Vec<_> = (0..100).map(|i| (f64::from(i), 3.0 * f64::from(i))).collect();
        for (found, expected) in smooth(&line).iter().zip(&line) {
            approx::assert_abs_diff_eq!(found.1, expected.1, epsilon = 1e-9);
        }
    }

    #[test]
    fn long_runs_are_thinned_without_losing_a_spike() {
        let mut points: Vec<_> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
        points[54_321].1 = 7.0;
        let shown = extremes(&points);
        assert!(shown.len() <= 2 * COLUMNS && shown.contains(&(54_321.0, 7.0)));
        assert!(shown.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        let means = means(&points, COLUMNS);
        assert!(means.len() <= COLUMNS);
        assert_eq!(means[0], (45.0, 1.0));
    }
}
