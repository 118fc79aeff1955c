//! One SGLD step of the published network, as a program that is built but not run: the amount of computation, and the
//! small part of the forward pass that it keeps.

use jem::compute::Access;
use jem::device::{Program, ProgramBuilder, SlotKind};
use jem::ebm::programs::BatchLayout;
use jem::ebm::{Preset, sgld_program};
use jem::nn::network::Network as _;
use jem::policy::convolution::ConvolutionPolicy;
use std::collections::BTreeSet;

/// One SGLD step of WRN-28-10 at batch 64, as published, built but not run.
fn published_step(policy: &ConvolutionPolicy) -> Program {
    let recipe = Preset::Paper.recipe();
    let network = recipe.network(10, 3);
    let batch = BatchLayout::new(&recipe, 32, 32, 3);
    assert_eq!(recipe.batch, 64);
    let mut prepare = ProgramBuilder::new("prepare");
    let program = sgld_program(&recipe, &network, &network.layout(), batch, policy, &mut prepare);
    let program = program.expect("a program");
    println!("WRN-28-10, batch {}, one SGLD step: {}", recipe.batch, program.summary());
    program
}

#[test]
fn an_sgld_step_of_the_published_network_fits() {
    let program = published_step(&ConvolutionPolicy::default());
    let summary = program.summary();
    let readme = include_str!("../README.md");
    let stated = format!("an SGLD step of a WRN-28-10 is {} dispatches", summary.dispatches);
    assert!(readme.contains(&stated), "README.md does not say that {stated}");
    assert!(summary.peak_bytes <= 1 << 30, "{program}");
    keeps_masks_alone(&program);
}

#[test]
fn an_sgld_step_of_the_published_network_by_winograd_fits() {
    let [implicit, winograd] =
        [ConvolutionPolicy::default(), ConvolutionPolicy::fastest(2 << 30, ConvolutionPolicy::HARDWARE)]
            .each_ref()
            .map(published_step);
    let ratio = winograd.summary().flops as f64 / implicit.summary().flops as f64;
    println!("{ratio:.3} of the implicit product's arithmetic");
    let stated = format!("it is {} with", winograd.summary().dispatches);
    assert!(include_str!("../README.md").contains(&stated), "README.md does not say that {stated}");
    // A quarter for all but the first convolutions, the strides and the shortcuts.
    assert!(ratio < 0.45, "{winograd}");
    // Half of it is the transformed weights of both directions, each four times as large as the weights.
    assert!(winograd.summary().peak_bytes <= 9 << 28, "{winograd}");
    keeps_masks_alone(&winograd);
}

/// Asserts that the sign masks are the only results of the forward pass that the backward pass reads.
fn keeps_masks_alone(program: &Program) {
    let heads: Vec<usize> = (0..program.dispatches.len())
        .filter(|&step| program.dispatches[step].kernel.name() == "head")
        .collect();
    let [head] = heads[..] else { panic!("not one head: {program}") };
    let (mut written_before, mut read_after) = (BTreeSet::new(), BTreeSet::new());
    // The slots that any dispatch binds as something other than a sign mask.
    let mut not_masks = BTreeSet::new();
    for (step, dispatch) in program.dispatches.iter().enumerate() {
        for (binding, view) in dispatch.kernel.bindings().iter().zip(&dispatch.views) {
            let slot = view.slot.0;
            if step < head && binding.access != Access::Read {
                written_before.insert(slot);
            }
            if step > head && binding.access != Access::Write {
                read_after.insert(slot);
            }
            if binding.name != "mask" {
                not_masks.insert(slot);
            }
        }
    }
    let kept: BTreeSet<usize> = written_before.intersection(&read_after).copied().collect();
    let floats: Vec<&str> =
        kept.intersection(&not_masks).map(|&slot| program.slots[slot].name.as_str()).collect();
    assert!(floats.is_empty(), "kept for the backward pass: {floats:?}\n{program}");
    assert!(kept.iter().all(|&slot| program.slots[slot].kind == SlotKind::Transient));
    let bytes: u64 = kept.iter().map(|&slot| program.slots[slot].bytes).sum();
    // Two leaky ReLUs per block; the mask of the last one ends in the head.
    assert_eq!(kept.len(), 24, "{program}");
    let mib = bytes as f64 / f64::from(1 << 20);
    println!("kept for the backward pass: {} masks, {mib:.1} MiB", kept.len());
}
