//! The normalisations on small inputs, compared with float64 implementations of their formulas.

#[path = "common/close.rs"]
mod close;
#[path = "common/devices.rs"]
mod devices;

use close::assert_close;
use devices::devices;
use jem::graph::{Function, Graph, Tensor};
use jem::nn::batch_norm::NormMode;
use jem::nn::init::{Fans, Init};
use jem::nn::network::Pass;
use jem::nn::parameters::{PARAMETERS, ParameterLayout};
use jem::nn::{batch_norm, group_norm, spectral_norm};

/// The relative rounding of float32.
const ROUNDING: f64 = 1e-6;
const SHAPE: [usize; 4] = [3, 2, 5, 16];
const CHANNELS: usize = 16;

/// Pseudo-random numbers in [-1, 1), in float32.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let one = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(seed).wrapping_mul(0x045d_9f3b) >> 8;
    (0..count as u32).map(|i| one(i + 1) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Evaluates `tensors` on each device, for the flat buffer and `x`, and calls `check`.
fn on_devices(tensors: &[&Tensor], flat: &[f32], x: Option<&[f32]>, check: impl Fn(&str, &[Vec<f32>])) {
    for (name, device) in devices() {
        let function = Function::new(&device, tensors).expect("a program");
        function.set_slot(PARAMETERS.name(), flat).expect("parameters");
        if let Some(x) = x {
            function.set_slot("x", x).expect("x");
        }
        function.run().expect("a run");
        let values: Vec<_> = tensors.iter().map(|tensor| function.get(tensor).expect("values")).collect();
        check(name, &values);
    }
}

/// The mean and the variance (divided by n) of some of the elements.
fn moments(x: &[f32], of: impl Fn(usize) -> bool) -> (f64, f64, f64) {
    let chosen: Vec<f64> = (0..x.len()).filter(|&i| of(i)).map(|i| f64::from(x[i])).collect();
    let n = chosen.len() as f64;
    let mean = chosen.iter().sum::<f64>() / n;
    (mean, chosen.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n, n)
}

#[test]
fn group_norm_takes_each_images_groups() {
    let mut layout = ParameterLayout::default();
    batch_norm::declare_affine(&mut layout, "norm", CHANNELS);
    let graph = Graph::new();
    let y = group_norm::normalise(&graph.input("x", SHAPE), &layout, "norm", group_norm::GROUPS);
    let (image, size) = (SHAPE[1] * SHAPE[2] * CHANNELS, CHANNELS / 8);
    // A mean that is large relative to the standard deviation.
    let x: Vec<f32> = values(SHAPE[0] * image, 1).iter().map(|x| 3.0 + x).collect();
    let flat = values(layout.words(), 2);
    let affine = |part: usize, channel: usize| f64::from(flat[layout.parameters()[part].offset + channel]);
    let group = |i: usize| (i / image, i % CHANNELS / size);
    let expected: Vec<f64> = (0..x.len())
        .map(|i| {
            let (mean, variance, n) = moments(&x, |j| group(j) == group(i));
            assert_eq!(n, 20.0);
            let channel = i % CHANNELS;
            (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt() * affine(0, channel) + affine(1, channel)
        })
        .collect();
    on_devices(&[&y], &flat, Some(&x), |name, found| assert_close(&found[0], &expected, ROUNDING, name));
}

#[test]
fn running_statistics_take_the_unbiased_variance() {
    let mut layout = ParameterLayout::default();
    batch_norm::declare_affine(&mut layout, "norm", CHANNELS);
    batch_norm::declare_statistics(&mut layout, "norm", CHANNELS);
    let graph = Graph::new();
    let x = graph.input("x", SHAPE);
    let mut pass = Pass::new(&layout, NormMode::Training);
    pass.batch_norm(&x, "norm");
    let next = pass.running_statistics(0.25);
    let names: Vec<&str> = next.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["norm.running_mean", "norm.running_var"]);
    let x: Vec<f32> = values(SHAPE.iter().product(), 3).iter().map(|x| 1.0 + x).collect();
    let flat = values(layout.words(), 4);
    let running = |part: usize, c: usize| 0.75 * f64::from(flat[layout.parameters()[part].offset + c]);
    let of = |c: usize| moments(&x, |i| i % CHANNELS == c);
    let mean: Vec<f64> = (0..CHANNELS).map(|c| running(2, c) + 0.25 * of(c).0).collect();
    let variance = |(_, variance, n): (f64, f64, f64)| variance * n / (n - 1.0);
    let variance: Vec<f64> = (0..CHANNELS).map(|c| running(3, c) + 0.25 * variance(of(c))).collect();
    on_devices(&[&next[0].1, &next[1].1], &flat, Some(&x), |name, found| {
        assert_close(&found[0], &mean, ROUNDING, name);
        assert_close(&found[1], &variance, ROUNDING, name);
    });
}

/// Weights `[2, 3, 4, 5]` with spectral norm.
fn divided() -> ParameterLayout {
    let mut layout = ParameterLayout::default();
    let fans = Fans { fan_in: 24, fan_out: 30, bias: false };
    layout.push("weight".into(), vec![2, 3, 4, 5], fans);
    layout.push("bias".into(), vec![5], Fans { bias: true, ..fans });
    spectral_norm::declare(&mut layout, "weight", &[2, 3, 4, 5]);
    layout
}

/// `W v` for the device's `[in, out]`, or `W^T u` of the transposed.
fn product(weights: &[f32], vector: &[f64], transposed: bool) -> Vec<f64> {
    let (outs, ins) = (5, 24);
    let w = |i: usize, o: usize| f64::from(weights[i * outs + o]);
    match transposed {
        true => (0..ins).map(|i| (0..outs).map(|o| w(i, o) * vector[o]).sum()).collect(),
        false => (0..outs).map(|o| (0..ins).map(|i| w(i, o) * vector[i]).sum()).collect(),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn normalised(x: &[f64]) -> Vec<f64> {
    x.iter().map(|v| v / dot(x, x).sqrt()).collect()
}

#[test]
fn spectral_norm_divides_by_sigma_and_its_gradient_flows_through_it() {
    let layout = divided();
    let names: Vec<&str> = layout.parameters().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["weight", "bias", "weight_u", "weight_v"]);
    assert_eq!(layout.parameters()[3].file_shape(), [24]);
    let flat = layout.initialise(Init::LecunUniform, 0.0, 7);
    let part =
        |number: usize| &flat[layout.parameters()[number].offset..][..layout.parameters()[number].elements()];
    let [weights, u, v] = [part(0), part(2), part(3)];
    let [u, v] = [u, v].map(|part| part.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
    for vector in [&u, &v] {
        assert!((dot(vector, vector) - 1.0).abs() < 1e-6, "a unit vector at the beginning");
    }
    let sigma = dot(&u, &product(weights, &v, false));
    let expected: Vec<f64> = weights.iter().map(|&w| f64::from(w) / sigma).collect();
    // d <c, W / sigma> / dW = c / sigma - <c, W> / sigma^2 v u^T.
    let c = values(weights.len(), 5);
    let along: f64 = c.iter().zip(weights).map(|(&c, &w)| f64::from(c) * f64::from(w)).sum();
    let slope = |i: usize| f64::from(c[i]) / sigma - along / sigma.powi(2) * v[i / 5] * u[i % 5];
    let slopes: Vec<f64> = (0..c.len()).map(slope).collect();

    let graph = Graph::new();
    let leaf = layout.leaf(&graph, "weight");
    let y = spectral_norm::divide(&leaf, &layout, "weight");
    let [gradient] = graph.grad(&y.mul(&graph.input("x", y.shape())), [&leaf]);
    on_devices(&[&y, &gradient], &flat, Some(&c), |name, found| {
        // Sigma is smaller than its terms: u and v are not yet singular vectors.
        assert_close(&found[0], &expected, 20.0 * ROUNDING, name);
        assert_close(&found[1], &slopes, 20.0 * ROUNDING, name);
    });

    let next_v = normalised(&product(weights, &u, true));
    let next_u = normalised(&product(weights, &next_v, false));
    let next = spectral_norm::power_iteration(&layout, &Graph::new());
    let names: Vec<&str> = next.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["weight_v", "weight_u"]);
    on_devices(&[&next[0].1, &next[1].1], &flat, None, |name, found| {
        assert_close(&found[0], &next_v, ROUNDING, name);
        assert_close(&found[1], &next_u, ROUNDING, name);
    });
}

#[test]
fn power_iteration_finds_the_largest_singular_value() {
    let layout = divided();
    let mut flat = layout.initialise(Init::HeNormal, 0.0, 8);
    let offsets: Vec<usize> = layout.parameters().iter().map(|p| p.offset).collect();
    let next = spectral_norm::power_iteration(&layout, &Graph::new());
    let (_, device) = devices().into_iter().next().expect("the host");
    let function = Function::new(&device, &[&next[0].1, &next[1].1]).expect("a program");
    for _ in 0..100 {
        function.set_slot(PARAMETERS.name(), &flat).expect("parameters");
        function.run().expect("a run");
        flat[offsets[2]..][..5].copy_from_slice(&function.get(&next[1].1).expect("u"));
        flat[offsets[3]..][..24].copy_from_slice(&function.get(&next[0].1).expect("v"));
    }
    let weights = &flat[..120];
    let vector =
        |offset: usize, n: usize| flat[offset..][..n].iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let (u, v) = (vector(offsets[2], 5), vector(offsets[3], 24));
    let sigma = dot(&u, &product(weights, &v, false));
    // W^T W v = sigma^2 v, and no other direction is stretched more.
    let image = product(weights, &product(weights, &v, false), true);
    for (image, v) in image.iter().zip(&v) {
        assert!((image - sigma * sigma * v).abs() < 1e-4 * sigma * sigma, "{image} for {v}");
    }
    for seed in 0..1000 {
        let other = normalised(&values(24, seed).iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        let stretched = product(weights, &other, false);
        assert!(dot(&stretched, &stretched).sqrt() <= sigma * (1.0 + 1e-6));
    }
}
