//! Normalisation by its definition, in float64.

use jem::compute::norm_geometry::{NormGeometry, RowParts};

/// The indices of each element: `outer`, row, channel.
fn elements(g: &NormGeometry) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
    let rows = (0..g.outer).flat_map(|outer| (0..g.rows).map(move |row| (outer, row)));
    rows.flat_map(|(outer, row)| (0..g.channels).map(move |channel| (outer, row, channel)))
}

fn group(g: &NormGeometry, outer: usize, channel: usize) -> usize {
    outer * g.groups() + channel / g.size
}

/// The mean of each group's elements.
pub fn means(g: &NormGeometry, values: &[f64]) -> Vec<f64> {
    let mut means = vec![0.0; g.statistics_len()];
    for ((outer, _, channel), value) in elements(g).zip(values) {
        means[group(g, outer, channel)] += value / g.population() as f64;
    }
    means
}

/// The mean and the variance of each group.
pub fn moments(g: &NormGeometry, x: &[f64]) -> [Vec<f64>; 2] {
    let mean = means(g, x);
    let squares: Vec<f64> = elements(g)
        .zip(x)
        .map(|((outer, _, channel), x)| (x - mean[group(g, outer, channel)]).powi(2))
        .collect();
    let variance = means(g, &squares);
    [mean, variance]
}

/// `(x - mean) / sqrt(variance + epsilon)`.
pub fn standardised(g: &NormGeometry, x: &[f64], statistics: [&[f64]; 2], epsilon: f32) -> Vec<f64> {
    let of = |((outer, _, channel), x): ((usize, usize, usize), &f64)| {
        let [mean, variance] = statistics.map(|of| of[group(g, outer, channel)]);
        (x - mean) / (variance + f64::from(epsilon)).sqrt()
    };
    elements(g).zip(x).map(of).collect()
}

/// Each element times its channel's weight.
pub fn weighted(g: &NormGeometry, values: &[f64], weight: &[f64]) -> Vec<f64> {
    elements(g).zip(values).map(|((.., channel), value)| value * weight[channel]).collect()
}

/// The sums over the rows, `[outer, channels]`.
pub fn channel_sums(g: &NormGeometry, values: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; g.outer * g.channels];
    for ((outer, _, channel), value) in elements(g).zip(values) {
        sums[outer * g.channels + channel] += value;
    }
    sums
}

/// The product, element by element.
pub fn product(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

/// The gradient at `x` for `gradient` at `standardised * weight + bias`.
pub fn gradient(
    g: &NormGeometry,
    gradient: &[f64],
    x: &[f64],
    statistics: [&[f64]; 2],
    weight: &[f64],
    epsilon: f32,
) -> Vec<f64> {
    let standard = standardised(g, x, statistics, epsilon);
    let weighted = weighted(g, gradient, weight);
    let (m0, m1) = (means(g, &weighted), means(g, &product(&weighted, &standard)));
    let of = |(i, (outer, _, channel))| {
        let at = group(g, outer, channel);
        (weighted[i] - m0[at] - m1[at] * standard[i]) / (statistics[1][at] + f64::from(epsilon)).sqrt()
    };
    elements(g).enumerate().map(of).collect()
}

/// `[outer, parts, 2, channels]`: the results of `first` and `second` for the values of a channel in each part of the
/// rows.
pub fn in_parts(
    g: &NormGeometry,
    first: impl Fn(&[usize]) -> f64,
    second: impl Fn(&[usize]) -> f64,
) -> Vec<f64> {
    let RowParts { part, parts } = RowParts::new(g);
    let mut all = Vec::new();
    for outer in 0..g.outer {
        for p in 0..parts {
            let rows = p * part..g.rows.min((p + 1) * part);
            let places = |channel: usize| -> Vec<usize> {
                rows.clone().map(|row| (outer * g.rows + row) * g.channels + channel).collect()
            };
            all.extend((0..g.channels).map(|channel| first(&places(channel))));
            all.extend((0..g.channels).map(|channel| second(&places(channel))));
        }
    }
    all
}

/// [`in_parts`] of means and sums of squared deviations.
pub fn moments_in_parts(g: &NormGeometry, x: &[f64]) -> Vec<f64> {
    let mean = |at: &[usize]| at.iter().map(|&at| x[at]).sum::<f64>() / at.len() as f64;
    in_parts(g, mean, |at| {
        let centre = mean(at);
        at.iter().map(|&at| (x[at] - centre).powi(2)).sum()
    })
}

/// [`in_parts`] of sums.
pub fn sums_in_parts(g: &NormGeometry, a: &[f64], b: &[f64]) -> Vec<f64> {
    let sum = |values: &[f64], at: &[usize]| at.iter().map(|&at| values[at]).sum::<f64>();
    in_parts(g, |at| sum(a, at), |at| sum(b, at))
}

/// Geometries that kernels get wrong: one row, images that end in the middle of a band of 8, groups of any size, more
/// channels in a group than a workgroup has threads, many parts.
pub fn awkward_norms() -> Vec<NormGeometry> {
    let of = |(outer, rows, channels, size)| NormGeometry { outer, rows, channels, size };
    let all = [
        (1, 1, 4, 1),
        (1, 2, 8, 1),
        (3, 4, 16, 2),
        (5, 9, 20, 5),
        (2, 7, 12, 3),
        (1, 70_001, 4, 1),
        (1, 5000, 16, 1),
        (2, 1024, 160, 20),
        (1, 777, 640, 1),
        (3, 64, 640, 80),
        (2, 33, 132, 132),
        (40, 3, 36, 6),
    ];
    all.map(of).to_vec()
}

/// Any small geometry.
pub fn any_norm() -> impl proptest::strategy::Strategy<Value = NormGeometry> {
    use proptest::prelude::*;
    let size = prop_oneof![Just(1usize), 1usize..30];
    (1usize..5, 1usize..700, 1usize..12, size).prop_map(|(outer, rows, groups, size)| {
        // The channels are the least multiple of 4 that the groups fill, or more.
        let channels = (groups * size).next_multiple_of(size * if size.is_multiple_of(4) { 1 } else { 4 });
        NormGeometry { outer, rows, channels, size }
    })
}
