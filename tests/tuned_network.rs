//! The winners of tuning in the programs of a network.

use jem::compute::conv_geometry::ConvProblem;
use jem::compute::cooperative::{Cooperative, Method};
use jem::ebm::{BatchLayout, Preset, Programs, Recipe};
use jem::policy::convolution::{ConvolutionPolicy, Tuned};
use jem::policy::implementation::ConvImplementation;
use jem::tuning::shapes;

/// The shapes measured in f16 are those that a network runs, by kernels that differ in their epilogues only.
#[test]
fn the_shapes_of_a_network_in_f16_are_found_and_chosen_for() {
    let matrices = Cooperative::new(16, 32);
    let policy = ConvolutionPolicy::default().in_f16(Method::Cooperative(matrices));
    let recipe = Recipe { batch: 4, steps: 2, buffer: 40, ..Preset::Tiny.recipe() };
    let build = |policy: &ConvolutionPolicy| {
        let batch = BatchLayout::new(&recipe, 16, 16, 3);
        Programs::build(&recipe, &recipe.network(10, 3), batch, 1000, policy).unwrap()
    };
    let found = |policy: &ConvolutionPolicy| {
        let programs = build(policy);
        shapes(programs.sgld.iter().chain([&programs.update]).map(|program| (program, 1)))
    };
    let by_rule = found(&policy);
    assert!(by_rule.iter().filter(|(shape, _)| shape.is_half()).count() > by_rule.len() / 2, "{by_rule:?}");
    let of_matrices = |candidate: &ConvImplementation| candidate.to_string().starts_with("matrices");
    let last = |shape: &ConvProblem| {
        let all = policy.candidates(shape);
        *all.iter().rfind(|candidate| of_matrices(candidate)).or(all.last()).unwrap()
    };
    let tuned: Tuned = by_rule.iter().map(|(shape, _)| (*shape, last(shape))).collect();
    assert!(tuned.values().any(of_matrices));
    let tuned = policy.with_tuned(tuned);
    assert_eq!(found(&tuned), by_rule, "the same shapes");
    let programs = build(&tuned);
    for dispatch in programs.sgld.iter().chain([&programs.update]).flat_map(|program| &program.dispatches) {
        let Some(shape) = dispatch.kernel.convolution() else { continue };
        let kernel = format!("{:?}", dispatch.kernel);
        match tuned.candidate(&shape) {
            ConvImplementation::Implicit(tile) => {
                assert!(kernel.contains(&format!("Some({tile:?})")), "{kernel}");
            }
            ConvImplementation::Parts(tile, parts) => {
                assert!(kernel.contains(&format!("Some({tile:?})")), "{kernel}");
                assert!(kernel.contains(&format!("parts: {parts},")), "{kernel}");
            }
            ConvImplementation::Winograd(_) => assert!(!shape.is_half()),
        }
    }
}
