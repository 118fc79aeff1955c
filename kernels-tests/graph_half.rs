//! A network whose tensors are stored in f16: its numbers, their distance from float64, and which tensors those are.

use super::graph_network::{InFront, Net, count, programs_by, run, slots};
use super::graph_reference::Evaluator;
use super::harness::devices;
use jem::compute::cooperative::{Cooperative, Method};
use jem::compute::storage::Storage;
use jem::device::{Device, Program};
use jem::graph::{Graph, Tensor};
use jem::policy::convolution::ConvolutionPolicy;
use std::collections::BTreeMap;

tests![
    numbers_of_a_step_and_an_update,
    numbers_of_normalised_networks,
    a_step_has_no_tensor_in_f32_but_images,
    gradients_are_scaled_into_the_range_of_f16,
    matrices_multiply_the_same_numbers
];

fn in_f16() -> ConvolutionPolicy {
    ConvolutionPolicy::default().in_f16(Method::Scalar)
}

/// Σ(a-b)²/Σb².
fn error(found: &[f32], expected: &[f64]) -> f64 {
    let error: f64 = found.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    error / expected.iter().map(|b| b * b).sum::<f64>()
}

/// Some outputs by `policy` on a device, one after the other.
fn results(
    device: &Device,
    policy: &ConvolutionPolicy,
    net: &Net,
    outputs: &[(Tensor, usize, &str)],
) -> Vec<Vec<f32>> {
    let found = run(device, programs_by(policy, outputs), &slots(net));
    outputs
        .iter()
        .map(|(tensor, offset, slot)| found[*slot][*offset..][..tensor.elements()].to_vec())
        .collect()
}

/// Each tensor is rounded to 11 digits: 2e-4 of it in the mean, squared and added up over the twelve tensors in
/// sequence here 5e-7. Signs that rounding changes add to that. On devices that round alike only sums differ.
fn numbers_of_a_step_and_an_update() {
    let net = Net::new(&Graph::new(), false);
    compare("step", &net, net.step());
    compare("update", &net, net.update());
}

/// The leaky ReLUs are nearly straight: after a norm, numbers lie on both sides of 0, and the signs that rounding
/// changes would dominate the error (1.8e-2 of a gradient at a slope of 0.2). Gradients at batch norm's own parameters
/// nearly cancel then, unlike group norm's.
fn numbers_of_normalised_networks() {
    let [batch, groups] = [InFront::Batch, InFront::Groups(4)]
        .map(|in_front| Net::normalised(&Graph::new(), false, in_front, 0.99));
    compare("step, batch norm", &batch, batch.step());
    compare("step, group norm", &groups, groups.step());
    compare("update, group norm", &groups, groups.update());
}

fn compare(what: &str, net: &Net, outputs: Vec<(Tensor, usize, &str)>) {
    let slots = slots(net);
    let tensors: Vec<&Tensor> = outputs.iter().map(|(tensor, ..)| tensor).collect();
    let expected = Evaluator::new(&tensors).run(&slots);
    let host = results(&Device::cpu(), &in_f16(), net, &outputs);
    for (name, device) in devices() {
        let found = results(device, &in_f16(), net, &outputs);
        for (i, ((found, expected), host)) in found.iter().zip(&expected).zip(&host).enumerate() {
            let context = format!("{what} on {name}, output {i} of {:?}", outputs[i].0.shape());
            let e = error(found, expected);
            assert!(e < 2e-6, "{context}: {e:.1e}");
            let host: Vec<f64> = host.iter().map(|&v| f64::from(v)).collect();
            let e = error(found, &host);
            assert!(e < 1e-6, "{context}: {e:.1e} from the host");
        }
    }
    let worst = host.iter().zip(&expected).map(|(a, b)| error(a, b)).fold(0.0, f64::max);
    println!("{what} in f16: relative error {:.1e} of an output", worst.sqrt());
    assert!(worst > 1e-9, "{what}: nothing was rounded");
}

/// The storage types of the tensors of a program's convolutions and heads, by kernel and binding.
fn storages(program: &Program) -> BTreeMap<(&'static str, &'static str), Vec<Storage>> {
    let mut all: BTreeMap<_, Vec<Storage>> = BTreeMap::new();
    for dispatch in &program.dispatches {
        for binding in dispatch.kernel.bindings() {
            all.entry((dispatch.kernel.name(), binding.name)).or_default().push(binding.storage);
        }
    }
    all
}

fn a_step_has_no_tensor_in_f32_but_images() {
    let net = Net::new(&Graph::new(), false);
    let [prepare, step] = programs_by(&in_f16(), &net.step());
    let [_, single] = programs_by(&ConvolutionPolicy::default(), &net.step());
    assert_eq!(count(&step), count(&single), "{step}");
    let singles = |of: (&'static str, &'static str)| {
        storages(&step)[&of].iter().filter(|&&storage| storage == Storage::F32).count()
    };
    // The images, their gradient, and the first convolution's weights, transposed and not.
    for of in [("conv2d", "input"), ("conv2d", "weights"), ("conv2d_input_gradient", "transposed")] {
        assert_eq!(singles(of), 1, "{of:?}");
    }
    assert_eq!(singles(("conv2d_input_gradient", "gradient_in")), 1);
    for of in [
        ("conv2d", "raw"),
        ("conv2d", "activated"),
        ("conv2d", "residual"),
        ("conv2d_input_gradient", "gradient"),
        ("conv2d_input_gradient", "residual"),
        ("head", "activated"),
        ("head", "gradient"),
    ] {
        assert_eq!(singles(of), 0, "{of:?}");
    }
    // Five convolutions' weights, transposed and not.
    assert_eq!(count(&prepare)["narrow"], 10, "{prepare}");
    // Tensors that outputs ask for are f32, and so are those that an operation without f16 reads.
    let graph = Graph::new();
    let apart = Net::new(&graph, true);
    let [_, apart] = programs_by(&in_f16(), &apart.step());
    assert!(storages(&apart).values().flatten().all(|&storage| storage == Storage::F32), "{apart}");
}

/// The loss is 2^-20 of the images': its gradients would be zero in f16.
fn gradients_are_scaled_into_the_range_of_f16() {
    let net = Net::with_weight(&Graph::new(), false, 2f32.powi(-20));
    for outputs in [net.step(), net.update()] {
        let tensors: Vec<&Tensor> = outputs.iter().map(|(tensor, ..)| tensor).collect();
        let expected = Evaluator::new(&tensors).run(&slots(&net));
        for (name, device) in devices() {
            for (found, expected) in results(device, &in_f16(), &net, &outputs).iter().zip(&expected) {
                let e = error(found, expected);
                assert!(e < 1e-5, "{name}: {e:.1e}");
            }
        }
    }
}

/// Weights and tensors are f16 before they are multiplied: matrices round nothing more.
fn matrices_multiply_the_same_numbers() {
    let net = Net::new(&Graph::new(), false);
    let host = Device::cpu();
    let matrices = Method::Cooperative(Cooperative::new(16, 32));
    for outputs in [net.step(), net.update()] {
        let [scalar, cooperative] = [in_f16(), ConvolutionPolicy::default().in_f16(matrices)]
            .map(|policy| results(&host, &policy, &net, &outputs));
        for (scalar, cooperative) in scalar.iter().zip(&cooperative) {
            assert_eq!(scalar, cooperative);
        }
    }
}
