//! Random numbers in expressions, and dropout.

use super::function::sealed;
use super::{Contents, Graph, Leaf, Op, Tensor, Value};
use crate::compute::random::{lane, stream};
use crate::kernels::tick::COUNTERS;

/// The source of an expression's random numbers: an external buffer of four words (u32), the seed, the step and two
/// that other kernels use ([`crate::kernels::tick`]). The same words give the same numbers on every device; another
/// step or another seed gives others.
///
/// ```
/// use jem::device::Device;
/// use jem::graph::{Function, Graph};
///
/// let graph = Graph::new();
/// let counters = graph.counters("counters");
/// let x = graph.constant(1.0, [1000]);
/// let dropped = x.dropout(0.5, &counters);
/// let function = Function::new(&Device::cpu(), &[&dropped])?;
/// let mut steps = Vec::new();
/// for step in 0..2 {
///     let seed = 7;
///     function.set(&counters, &[seed, step, 0, 0])?;
///     function.run()?;
///     steps.push(function.get(&dropped)?);
/// }
/// assert!(steps[0].iter().all(|&y| y == 0.0 || y == 2.0));
/// assert_ne!(steps[0], steps[1]);
/// # Ok::<(), jem::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Counters(Tensor);

impl Graph {
    /// The counters in the external buffer `name`.
    pub fn counters(&self, name: &str) -> Counters {
        let leaf = Leaf { slot: name.to_owned(), words: COUNTERS, offset: 0, parameter: false };
        Counters(self.leaf_of(leaf, Contents::Words, vec![COUNTERS]))
    }
}

impl Value for Counters {
    type Element = u32;
}

impl sealed::Node for Counters {
    fn node(&self, _: sealed::Token) -> &Tensor {
        &self.0
    }
}

impl Counters {
    /// The name of their external buffer.
    pub(crate) fn slot(&self) -> String {
        match self.0.graph.node(self.0.id()).op {
            Op::Leaf(leaf) => leaf.slot,
            _ => unreachable!("counters are a leaf"),
        }
    }

    /// Uniform random numbers in [0, 1), with 24 bits; their gradient is 0. Every call on the counters of a graph has a
    /// stream of its own, numbered in the order of the calls, so the same expression draws the same numbers.
    pub fn uniform(&self, shape: impl Into<Vec<usize>>) -> Tensor {
        let shape = shape.into();
        let stream = lane(stream::EXPRESSION, self.0.graph.next_stream());
        self.0.push(Op::Uniform { stream }, &[], shape)
    }
}

impl Tensor {
    /// Sets each element to 0 with probability `p`, else to `x / (1 - p)`, which keeps the mean (Srivastava et al.
    /// 2014). NaN stays NaN. Each call draws its own elements, and draws again at each step of `counters`. Only the
    /// elements that are kept have a gradient. `p` is in [0, 1); with 0 nothing is drawn.
    pub fn dropout(&self, p: f32, counters: &Counters) -> Tensor {
        if !(0.0..1.0).contains(&p) {
            let message = format!("probability {p}; it must be at least 0 and below 1");
            return self.fail("dropout", message, self.shape.clone());
        }
        if !self.graph.is_same(&counters.0.graph) {
            return self.fail("dropout", "tensors of two graphs".into(), self.shape.clone());
        }
        if p == 0.0 {
            return self.clone();
        }
        // Above 0 where a uniform number is at least p.
        let kept = counters.uniform(self.shape.clone()).affine(1.0, -p.next_down());
        // The gradient of a ReLU selects x where `kept` is above 0, else 0. A product would turn an infinity into NaN.
        self.scale(1.0 / (1.0 - p)).leaky_relu_gradient(&kept, 0.0)
    }
}
