//! Every instruction set of this CPU against the portable code, which `kernels-tests` could not reach on a
//! machine that has a better one; and the same bits for any number of threads.

use crate::compute::argument::Argument;
use crate::compute::contract::{Access, Kernel};
use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::cpu::conv2d::forward::forward_on;
use crate::compute::cpu::conv2d::input_gradient::input_gradient_on;
use crate::compute::cpu::conv2d::weight_gradient::weight_gradient_on;
use crate::compute::cpu::lanes::Isa;
use crate::compute::epilogue::Residual;
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;

/// Numbers in [-1, 1) for the floats that a kernel reads; any words serve as a mask.
fn words(n: usize, seed: u32) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0).to_bits()
    };
    std::iter::repeat_with(next).take(n).collect()
}

/// The words of all written bindings after `run`.
fn outputs(kernel: &dyn Kernel, run: impl FnOnce(&mut [Argument<'_>])) -> Vec<(&'static str, Vec<u32>)> {
    let bindings = kernel.bindings();
    let mut contents: Vec<_> = bindings.iter().map(|b| words(b.words, b.index)).collect();
    let mut arguments: Vec<_> = bindings
        .iter()
        .zip(&mut contents)
        .map(|(b, words)| match b.access {
            Access::Read => Argument::Read(words),
            _ => Argument::Write(words),
        })
        .collect();
    run(&mut arguments);
    let written = bindings.iter().zip(contents).filter(|(b, _)| b.access != Access::Read);
    written.map(|(b, words)| (b.name, words)).collect()
}

fn geometries() -> Vec<ConvGeometry> {
    let mut all = Vec::new();
    for (c_in, c_out) in [(3, 16), (16, 33), (7, 48), (33, 5), (64, 64)] {
        for (h, w, kh, stride, padding) in
            [(5, 7, 3, 1, 1), (9, 8, 3, 2, 1), (6, 9, 1, 3, 0), (8, 16, 5, 1, 2)]
        {
            all.push(ConvGeometry { n: 3, h, w, c_in, c_out, kh, kw: kh, stride, padding });
        }
    }
    all
}

fn kernels() -> Vec<(Box<dyn Kernel>, Run)> {
    let mut all: Vec<(Box<dyn Kernel>, Run)> = Vec::new();
    for geometry in geometries() {
        let forward =
            Conv2d { bias: true, residual: true, activated: Some(0.2), mask: true, ..Conv2d::new(geometry) };
        all.push((Box::new(forward), Box::new(move |isa, a| forward_on(isa, &forward.twin(), a))));
        let input = Conv2dInputGradient {
            mask: Some(0.2),
            residual: Residual::AfterMask,
            ..Conv2dInputGradient::new(geometry)
        };
        all.push((Box::new(input), Box::new(move |isa, a| input_gradient_on(isa, &input.twin(), a))));
        let weight = Conv2dWeightGradient { parts: 2, ..Conv2dWeightGradient::new(geometry) };
        all.push((Box::new(weight), Box::new(move |isa, a| weight_gradient_on(isa, &weight.twin(), a))));
    }
    all
}

type Run = Box<dyn Fn(Isa, &mut [Argument<'_>]) + Send + Sync>;

#[test]
fn instruction_sets_agree() {
    let portable = Isa::available().last().expect("the portable one");
    for (kernel, run) in kernels() {
        let expected = outputs(&*kernel, |a| run(portable, a));
        for isa in Isa::available() {
            for ((name, result), (_, expected)) in outputs(&*kernel, |a| run(isa, a)).iter().zip(&expected) {
                let context = format!("{kernel:?} with {isa:?}: {name}");
                if *name == "mask" {
                    // A value within rounding of 0 may have either sign.
                    let differ: u32 = result.iter().zip(expected).map(|(a, b)| (a ^ b).count_ones()).sum();
                    assert!(differ <= 1, "{context}: {differ} bits differ");
                    continue;
                }
                for (i, (&a, &b)) in result.iter().zip(expected).enumerate() {
                    let (a, b) = (f32::from_bits(a), f32::from_bits(b));
                    assert!((a - b).abs() <= 1e-4, "{context}: element {i} is {a}, portable {b}");
                }
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let (one, five) = (pool(1), pool(5));
    for (kernel, run) in kernels() {
        let alone = one.install(|| outputs(&*kernel, |a| run(Isa::best(), a)));
        let together = five.install(|| outputs(&*kernel, |a| run(Isa::best(), a)));
        assert!(alone == together, "{kernel:?}");
    }
}
