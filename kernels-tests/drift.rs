//! The drift of a chain of twenty SGLD steps from float64, for each precision and convolution algorithm.

use super::graph_function::slot_words;
use super::graph_reference::{Evaluator, Slots, random_slots};
use super::harness::devices;
use super::sgld::reference;
use jem::compute::cooperative::Method;
use jem::compute::winograd::Winograd;
use jem::device::{Buffer, Device, ProgramBuilder};
use jem::ebm::Langevin;
use jem::graph::{Graph, Tensor};
use jem::kernels::sgld::Sgld;
use jem::nn::batch_norm::NormMode;
use jem::nn::ingredients::SLOPE;
use jem::nn::init::Init;
use jem::nn::network::{Network as _, Pass};
use jem::nn::parameters::PARAMETERS;
use jem::nn::wide_resnet::WideResNet;
use jem::policy::convolution::ConvolutionPolicy;
use std::collections::BTreeMap;

tests![twenty_steps];

const STEPS: u32 = 20;
const CHAINS: usize = 2;
const NETWORK: WideResNet = WideResNet::new(10, 2, 10, 3);
/// The published settings.
const LANGEVIN: Langevin =
    Langevin { step_size: 1.0, noise: 0.01, clamp_gradient: None, clamp_x: false, inner_steps: 1 };

struct Chain {
    x: Tensor,
    log_density: Tensor,
}

impl Chain {
    fn new() -> Self {
        let graph = Graph::new();
        let x = graph.input("x", [CHAINS, 8, 8, 3]);
        let labels = graph.indices("labels", [CHAINS]);
        let logits = NETWORK.logits(&x, &mut Pass::new(&NETWORK.layout(), NormMode::Inference));
        let log_density = logits.logit_loss(&labels, &[Langevin::log_density(CHAINS, false)]);
        Self { x, log_density }
    }

    fn slots(&self) -> Slots {
        let mut slots = random_slots(&[&self.log_density], 10, 1);
        let parameters = NETWORK.layout().initialise(Init::HeNormal, SLOPE, 5);
        slots.insert(PARAMETERS.name().into(), parameters.into_iter().map(f64::from).collect());
        slots
    }

    /// The chains after each step, in float64.
    fn exact(&self) -> Vec<Vec<f64>> {
        let [gradient] = self.x.graph().grad(&self.log_density, [&self.x]);
        let evaluator = Evaluator::new(&[&gradient]);
        let mut slots = self.slots();
        let mut path = vec![slots["x"].clone()];
        for step in 0..STEPS {
            let gradient = evaluator.run(&slots).remove(0);
            let next = walk(&slots["x"], &gradient, step);
            path.push(next.clone());
            slots.insert("x".into(), next);
        }
        path
    }

    /// The same on a device.
    fn on(&self, device: &Device, policy: &ConvolutionPolicy) -> Vec<f32> {
        let slots = self.slots();
        let (mut prepare, mut step) = (ProgramBuilder::new("prepare"), ProgramBuilder::new("sgld"));
        let images = step.external_named("x", self.x.elements());
        LANGEVIN
            .append(policy, &mut step, &mut prepare, &self.log_density, &self.x, images, &[], None)
            .expect("a program");
        let programs = [prepare.finish(), step.finish()];
        let mut buffers: BTreeMap<String, Buffer> = BTreeMap::new();
        for slot in programs.iter().flat_map(|program| program.externals()) {
            let buffer = match (slot.name.as_str(), slots.get(&slot.name)) {
                ("counters", _) => device.buffer_from("counters", &[7u32, 0, 0, 0]),
                (name, Some(values)) => device.buffer_from(name, &slot_words(name, values)),
                (name, None) => device.buffer(name, slot.bytes),
            };
            buffers.insert(slot.name.clone(), buffer.expect("a buffer"));
        }
        let externals: Vec<_> = buffers.iter().map(|(name, buffer)| (name.as_str(), buffer)).collect();
        let [prepare, step] = programs.map(|program| device.load(program, &externals).expect("it loads"));
        device.run(&prepare).expect("a run");
        for _ in 0..STEPS {
            device.run(&step).expect("a run");
        }
        device.read_as(&buffers["x"]).expect("the chains")
    }
}

/// One step of [`LANGEVIN`] from `x`, which is float64 here.
fn walk(x: &[f64], gradient: &[f64], step: u32) -> Vec<f64> {
    let kernel = Sgld {
        n: x.len(),
        step: LANGEVIN.step_size,
        noise: LANGEVIN.noise,
        clamp_gradient: None,
        clamp_x: None,
        masked: false,
    };
    let moved = reference(&kernel, [7, 0, step, 0], &vec![0.0; x.len()], gradient, None);
    x.iter().zip(moved).map(|(x, moved)| x + moved).collect()
}

fn distance(a: impl Iterator<Item = f64>, b: &[f64]) -> f64 {
    a.zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// Bounds the distance from the float64 chain, relative to the chain's own displacement. The noise is the same; the
/// gradients differ by ten roundings of f32, some 5e-7, or of f16, which are 8192 times as large. Such gradients change
/// the signs of some activations during the chain, which separates two chains further than rounding does.
fn twenty_steps() {
    let chain = Chain::new();
    let exact = chain.exact();
    let (first, last) = (&exact[0], &exact[STEPS as usize]);
    let way = distance(last.iter().copied(), first);
    let standing = vec![0.0; first.len()];
    let noise = (0..STEPS).fold(first.clone(), |x, step| walk(&x, &standing, step));
    let noise = distance(noise.into_iter(), first);
    println!("twenty steps of WRN-10-2: {way:.3} long, by noise alone {noise:.3}");
    assert!(way > 3.0 * noise, "the gradient makes too little of the way");
    let policy = [
        ("f32", ConvolutionPolicy::default(), 2e-6),
        ("f32 by Winograd F(2x2)", ConvolutionPolicy::always(Winograd::F2), 2e-6),
        ("f32 by Winograd F(4x4)", ConvolutionPolicy::always(Winograd::F4), 2e-6),
        ("f16", ConvolutionPolicy::default().in_f16(Method::Scalar), 0.1),
    ];
    for (device_name, device) in devices() {
        for &(name, ref policy, bound) in &policy {
            let found = chain.on(device, policy);
            let drift = distance(found.into_iter().map(f64::from), last) / way;
            println!("  {name} on {device_name}: drift {drift:.1e}");
            assert!(drift < bound, "{name} on {device_name}: drift {drift:.1e} over {bound:.0e}");
        }
    }
}
