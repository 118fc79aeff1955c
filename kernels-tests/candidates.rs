//! Every implementation that `jem tune` measures, as lowering emits it, against float64.

use super::harness::{Inputs, devices};
use super::reference;
use jem::compute::conv_geometry::{ConvGeometry, ConvProblem, Direction};
use jem::graph::{Function, Graph};
use jem::policy::convolution::{ConvolutionPolicy, Tuned};
use jem::policy::implementation::ConvImplementation;

tests![every_candidate_computes_its_shape];

/// Σ(a-b)²/Σb² for sums of some hundred products in f32, by Winograd's larger tiles too.
const BOUND: f64 = 4e-12;

fn every_candidate_computes_its_shape() {
    let shape = |size, (c_in, c_out), stride| ConvGeometry {
        n: 3,
        h: size,
        w: 8,
        c_in,
        c_out,
        kh: 3,
        kw: 3,
        stride,
        padding: 1,
    };
    let mut winograd = 0;
    for (seed, geometry) in
        [shape(9, (16, 20), 1), shape(10, (3, 16), 1), shape(8, (32, 64), 2)].into_iter().enumerate()
    {
        for direction in [Direction::Forward, Direction::InputGradient, Direction::WeightGradient] {
            let shape = ConvProblem::new(direction, geometry);
            for candidate in ConvolutionPolicy::default().candidates(&shape) {
                winograd += usize::from(matches!(candidate, ConvImplementation::Winograd(_)));
                compare(&shape, candidate, seed as u64);
            }
        }
    }
    assert_eq!(winograd, 4, "both sizes in both directions");
}

fn compare(shape: &ConvProblem, candidate: ConvImplementation, seed: u64) {
    let g = shape.geometry;
    let mut inputs = Inputs::new(seed);
    let [input, weights, gradient] =
        [g.input_len(), g.weights_len(), g.output_len()].map(|len| inputs.floats(len));
    let graph = Graph::new();
    let x = graph.input("input", [g.n, g.h, g.w, g.c_in]);
    let w = graph.input("weights", [g.kh, g.kw, g.c_in, g.c_out]);
    let u = graph.input("gradient", [g.n, g.out_h(), g.out_w(), g.c_out]);
    let (tensor, expected) = match shape.direction {
        Direction::Forward => {
            (x.conv2d(&w, None, g.stride, g.padding), reference::conv2d(&g, &input, &weights))
        }
        Direction::InputGradient => {
            (u.conv2d_input_gradient(&w, g), reference::conv2d_input_gradient(&g, &gradient, &weights))
        }
        Direction::WeightGradient => {
            let mut sums = vec![0.0; g.weights_len()];
            reference::for_each_product(&g, |i, w, o| {
                sums[w] += f64::from(input[i]) * f64::from(gradient[o]);
            });
            (x.conv2d_weight_gradient(&u, g), sums)
        }
    };
    for (name, device) in devices() {
        let policy = ConvolutionPolicy::default().with_tuned(Tuned::from([(*shape, candidate)]));
        let function = Function::with_policy(device, &policy, &[&tensor]).expect("a function");
        for (slot, values) in [("input", &input), ("weights", &weights), ("gradient", &gradient)] {
            function.set_slot(slot, values).expect("an input");
        }
        function.run().expect("a run");
        let found = function.get(&tensor).expect("the result");
        assert_eq!(found.len(), expected.len());
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
        let error = squares(&mut found.iter().zip(&expected).map(|(&a, b)| f64::from(a) - b))
            / squares(&mut expected.iter().copied());
        assert!(error <= BOUND, "{shape} by {candidate} on {name}: error {error:.1e}");
    }
}
