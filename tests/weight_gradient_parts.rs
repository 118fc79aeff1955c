//! The numbers of parts in which complete networks sum their weight gradients.

use jem::compute::conv_geometry::{ConvProblem, Direction};
use jem::compute::conv_tile::ConvTile;
use jem::compute::cooperative::{Cooperative, Method};
use jem::compute::parts::{LEAST_PIXELS, MOST_PIXELS, WORKGROUPS};
use jem::device::Program;
use jem::ebm::{BatchLayout, Preset, Programs};
use jem::policy::convolution::{ConvolutionPolicy, Tuned};
use jem::policy::implementation::ConvImplementation;
use std::collections::BTreeMap;

const MATRICES: Method = Method::Cooperative(Cooperative::new(16, 32));

/// The update of `preset` with `policy`.
fn update(preset: Preset, policy: ConvolutionPolicy) -> Program {
    let recipe = preset.recipe();
    let batch = BatchLayout::new(&recipe, 32, 32, 3);
    Programs::build(&recipe, &recipe.network(10, 3), batch, 50_000, &policy).unwrap().update
}

/// The weight gradients of `program` in order: the shape, the parts and the workgroups.
fn weight_gradients(program: &Program) -> Vec<(ConvProblem, usize, usize)> {
    let kernels = program.dispatches.iter().map(|dispatch| &dispatch.kernel);
    let of = kernels.filter_map(|kernel| Some((kernel, kernel.convolution()?)));
    let of = of.filter(|(_, shape)| shape.direction == Direction::WeightGradient);
    of.map(|(kernel, shape)| {
        let partials = kernel.bindings().last().unwrap().words;
        let workgroups = kernel.workgroups().iter().product::<u32>() as usize;
        (shape, partials / shape.geometry.weights_len(), workgroups)
    })
    .collect()
}

/// Returns `policy` with the numbers of parts that GPUs had before they depended on the tile.
fn as_before(policy: &ConvolutionPolicy, program: &Program) -> ConvolutionPolicy {
    let cpu = ConvolutionPolicy::default();
    let before = |shape: ConvProblem| match (policy.candidate(&shape), cpu.candidate(&shape)) {
        (ConvImplementation::Parts(tile, _), ConvImplementation::Parts(_, count)) => {
            (shape, ConvImplementation::Parts(tile, count))
        }
        (other, _) => panic!("{other}"),
    };
    let tuned: Tuned = weight_gradients(program).into_iter().map(|(shape, ..)| before(shape)).collect();
    policy.clone().with_tuned(tuned)
}

/// The README's results for the preset `tiny` come from these sums.
#[test]
fn the_cpus_tiny_adds_as_it_did_when_it_was_published() {
    let parts: Vec<_> = weight_gradients(&update(Preset::Tiny, ConvolutionPolicy::default()))
        .into_iter()
        .map(|(_, n, _)| n)
        .collect();
    assert_eq!(parts, [24, 8, 15, 64, 29, 52, 52, 52, 64]);
    let half = update(Preset::Tiny, ConvolutionPolicy::default().in_f16(Method::Scalar));
    let half: Vec<_> = weight_gradients(&half).into_iter().map(|(_, n, _)| n).collect();
    assert_eq!(half, parts);
}

/// Prints the tables of docs/performance.md.
#[test]
fn every_weight_gradient_of_the_published_network_fills_a_gpu() {
    let gpu = ConvolutionPolicy::fastest(u64::MAX, ConvolutionPolicy::HARDWARE);
    for (name, policy) in [("f32", gpu.clone()), ("f16, 16x16 matrices", gpu.clone().in_f16(MATRICES))] {
        let after = update(Preset::Paper, policy.clone());
        let before = update(Preset::Paper, as_before(&policy, &after));
        println!("{name}\n  before: {}\n  after: {}", before.summary(), after.summary());
        let old: BTreeMap<_, _> = weight_gradients(&before)
            .into_iter()
            .map(|(shape, ..)| shape)
            .zip(weight_gradients(&before))
            .collect();
        let found = weight_gradients(&after);
        let mut counts: BTreeMap<ConvProblem, usize> = BTreeMap::new();
        found.iter().for_each(|(shape, ..)| *counts.entry(*shape).or_default() += 1);
        assert_eq!((found.len(), counts.len()), (28, 12), "{counts:?}");
        for (shape, parts, workgroups) in found {
            let Some(count) = counts.remove(&shape) else { continue };
            let pixels = shape.geometry.out_pixels().div_ceil(parts);
            let (_, old_parts, old_workgroups) = old[&shape];
            let old_pixels = shape.geometry.out_pixels().div_ceil(old_parts);
            let tile = match policy.candidate(&shape) {
                ConvImplementation::Parts(tile @ ConvTile::Scalar(_), _) => tile.to_string(),
                ConvImplementation::Parts(ConvTile::Matrices(tile), _) => {
                    let Method::Cooperative(matrices) = MATRICES else { unreachable!() };
                    let [m, n] = tile.size(matrices);
                    format!("{tile}: {m}x{n}")
                }
                other => panic!("{other}"),
            };
            println!(
                "| {shape} | {count} | {tile} | {old_parts}, {parts} | {old_workgroups}, {workgroups} | {old_pixels}, {pixels} |"
            );
            assert!(pixels <= MOST_PIXELS, "{shape}: {pixels} pixels a part");
            let floor = shape.geometry.out_pixels() / (parts + 1) < LEAST_PIXELS;
            assert!(workgroups >= WORKGROUPS || floor, "{shape}: {workgroups} workgroups, {pixels} pixels");
        }
    }
    for policy in [gpu.clone(), gpu.in_f16(MATRICES)] {
        let after = update(Preset::Tiny, policy.clone());
        let before = update(Preset::Tiny, as_before(&policy, &after));
        println!("tiny\n  before: {}\n  after: {}", before.summary(), after.summary());
    }
}
