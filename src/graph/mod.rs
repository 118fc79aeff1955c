//! Tensor expressions: shapes, gradients, and lowering to programs of kernels.
//!
//! A [`Graph`] is a list of nodes; a [`Tensor`] names one. Operations append nodes and infer shapes; a
//! mistake in shapes is kept by the graph and returned by whatever lowers it, so that expressions can be
//! written without a `?` after every operation. Equal operations on equal inputs are one node. Every tensor has at
//! least one element: an axis of length 0 is a mistake in shapes.
//!
//! # Operations
//!
//! | | |
//! |---|---|
//! | element by element | [`add`](Tensor::add), [`sub`](Tensor::sub), [`mul`](Tensor::mul), [`div`](Tensor::div), [`maximum`](Tensor::maximum), [`minimum`](Tensor::minimum), [`step`](Tensor::step), [`affine`](Tensor::affine), [`scale`](Tensor::scale), [`exp`](Tensor::exp), [`log`](Tensor::log), [`reciprocal`](Tensor::reciprocal), [`sqrt`](Tensor::sqrt), [`square`](Tensor::square), [`pow`](Tensor::pow), [`abs`](Tensor::abs), [`sign`](Tensor::sign), [`clamp`](Tensor::clamp), [`inside`](Tensor::inside) |
//! | activations | [`relu`](Tensor::relu), [`leaky_relu`](Tensor::leaky_relu), [`sigmoid`](Tensor::sigmoid), [`tanh`](Tensor::tanh), [`softplus`](Tensor::softplus), [`silu`](Tensor::silu) |
//! | shapes | [`reshape`](Tensor::reshape), [`flatten`](Tensor::flatten), [`permute`](Tensor::permute), [`broadcast_to`](Tensor::broadcast_to) |
//! | parts | [`slice`](Tensor::slice), [`slice_step`](Tensor::slice_step), [`pad`](Tensor::pad), [`concat`](Graph::concat) |
//! | over axes | [`sum`](Tensor::sum), [`sum_all`](Tensor::sum_all), [`mean`](Tensor::mean), [`max`](Tensor::max), [`min`](Tensor::min), [`argmax`](Tensor::argmax); [`sum_keep`](Tensor::sum_keep), [`max_keep`](Tensor::max_keep), [`min_keep`](Tensor::min_keep) |
//! | matrices | [`matmul`](Tensor::matmul), [`linear`](Tensor::linear), [`matmul_with`](Tensor::matmul_with) |
//! | images | [`conv2d`](Tensor::conv2d), [`average_pool`](Tensor::average_pool), [`global_average_pool`](Tensor::global_average_pool), [`max_pool`](Tensor::max_pool) |
//! | normalisation | [`moments`](Tensor::moments), [`normalise`](Tensor::normalise) |
//! | rows and labels | [`gather_rows`](Tensor::gather_rows), [`scatter_add`](Tensor::scatter_add), [`gather_labels`](Tensor::gather_labels), [`scatter_labels`](Tensor::scatter_labels), [`one_hot`](Indices::one_hot), [`to_floats`](Indices::to_floats) |
//! | logits and losses | [`logsumexp`](Tensor::logsumexp), [`softmax`](Tensor::softmax), [`log_softmax`](Tensor::log_softmax), [`cross_entropy`](Tensor::cross_entropy), [`mse`](Tensor::mse), [`logit_loss`](Tensor::logit_loss), [`logit_stats`](Tensor::logit_stats) |
//! | random numbers | [`uniform`](Counters::uniform), [`dropout`](Tensor::dropout) |
//!
//! Each operation has a gradient, and so does that gradient: [`Graph::grad`]. The only exception is a
//! [`Tensor::logit_loss`] with a functional of energies, which can be differentiated only once.

mod function;
mod gradient;
mod indices;
mod layers;
mod loss;
mod lower;
mod normalise;
mod op;
mod operators;
mod parts;
mod pools;
mod random;
mod reductions;
mod tensor;

// `ebm` alone sets values from outside.
#[cfg(feature = "train")]
pub(crate) use function::sealed::Token;
pub use function::{Function, Value};
pub use indices::Indices;
pub use lower::{Output, Update, lower, lower_with_update};
pub use normalise::Normalisation;
pub use op::{Leaf, Op};
pub use random::Counters;
pub use tensor::Tensor;

use crate::error::{Error, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The number of a node; inputs have smaller numbers than what uses them.
pub type NodeId = usize;

/// One operation with its inputs and the shape of its result.
#[derive(Debug, Clone)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// The nodes that it takes.
    pub inputs: Vec<NodeId>,
    /// The result's lengths, outermost axis first; `[]` is a scalar.
    pub shape: Vec<usize>,
    /// The scope it was made in, for labels in programs and profiles, such as `layer1.0.conv1`.
    pub scope: String,
}

/// A growing list of operations. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Graph(Rc<RefCell<Nodes>>);

#[derive(Debug, Default)]
struct Nodes {
    nodes: Vec<Node>,
    /// Hash-consing: the node of each (operation, inputs, shape).
    known: HashMap<String, NodeId>,
    error: Option<(&'static str, String)>,
    /// The contents of each external buffer, as its first leaf declares them.
    contents: HashMap<String, Contents>,
    /// The streams of random numbers that are taken.
    streams: u32,
    scope: String,
}

/// The contents of an external buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Floating-point numbers.
    Floats,
    /// Whole numbers ([`Indices`], [`Counters`]).
    Words,
    /// The parameters of a network.
    Parameters {
        /// A hash of the names, shapes and offsets of all parameters.
        layout: u64,
        /// The number of parameters and the first, for messages.
        text: String,
    },
}

impl std::fmt::Display for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Floats => f.write_str("floating-point numbers"),
            Self::Words => f.write_str("indices or counters"),
            Self::Parameters { text, .. } => f.write_str(text),
        }
    }
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// A leaf that is the whole external buffer `name`.
    pub fn input(&self, name: &str, shape: impl Into<Vec<usize>>) -> Tensor {
        self.input_of(name, Contents::Floats, shape.into())
    }

    /// [`Graph::input`] of a buffer with these contents.
    fn input_of(&self, name: &str, contents: Contents, shape: Vec<usize>) -> Tensor {
        let words = shape.iter().product();
        self.leaf_of(Leaf { slot: name.to_owned(), words, offset: 0, parameter: false }, contents, shape)
    }

    /// A leaf that is a part of an external buffer, or a parameter.
    pub fn leaf(&self, leaf: Leaf, shape: impl Into<Vec<usize>>) -> Tensor {
        self.leaf_of(leaf, Contents::Floats, shape.into())
    }

    /// [`Graph::leaf`] of a buffer with these contents. A leaf with other contents in the same buffer is a mistake.
    pub(crate) fn leaf_of(&self, leaf: Leaf, contents: Contents, shape: Vec<usize>) -> Tensor {
        let known = self.0.borrow_mut().contents.entry(leaf.slot.clone()).or_insert(contents.clone()).clone();
        if known != contents {
            let message = format!(
                "{:?} is the buffer of {known}, and of {contents}; choose another name for one",
                leaf.slot
            );
            self.fail("leaf", message);
        }
        let len: usize = shape.iter().product();
        if !leaf.offset.is_multiple_of(64) || leaf.offset + len > leaf.words || len == 0 {
            let Leaf { slot, offset, words, .. } = &leaf;
            let message = format!(
                "{slot}: {len} words {shape:?} at {offset} of {words}; it must fit, start at a multiple of 64 and not be empty"
            );
            self.fail("leaf", message);
        }
        self.push(Op::Leaf(leaf), &[], shape)
    }

    /// A tensor whose every element is `value`.
    pub fn constant(&self, value: f32, shape: impl Into<Vec<usize>>) -> Tensor {
        self.push(Op::Constant(value), &[], shape.into())
    }

    /// Runs `build` with `name` in front of the labels of the nodes it makes.
    pub fn scope<T>(&self, name: &str, build: impl FnOnce() -> T) -> T {
        let outer = self.0.borrow().scope.clone();
        let inner = if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") };
        self.0.borrow_mut().scope = inner;
        let result = build();
        self.0.borrow_mut().scope = outer;
        result
    }

    /// A copy of node `id`.
    pub fn node(&self, id: NodeId) -> Node {
        self.0.borrow().nodes[id].clone()
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.0.borrow().nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first mistake in shapes, if there was one.
    ///
    /// # Errors
    /// [`Error::Shape`] with the operation and what it was given.
    pub fn check(&self) -> Result<()> {
        match &self.0.borrow().error {
            None => Ok(()),
            Some((operation, message)) => Err(Error::Shape { operation, message: message.clone() }),
        }
    }

    /// The tensor of node `id`.
    pub(crate) fn tensor(&self, id: NodeId) -> Tensor {
        let shape = self.0.borrow().nodes[id].shape.clone();
        Tensor::new(self.clone(), id, shape)
    }

    /// Appends a node, or returns an equal one that exists. A tensor without elements is a mistake of the operation
    /// that makes it, because no kernel takes one.
    pub(crate) fn push(&self, op: Op, inputs: &[NodeId], shape: Vec<usize>) -> Tensor {
        if shape.contains(&0) {
            self.fail(op.name(), format!("a result of shape {shape:?} has no elements"));
        }
        let mut nodes = self.0.borrow_mut();
        let key = format!("{op:?}{inputs:?}{shape:?}");
        let next = nodes.nodes.len();
        let id = *nodes.known.entry(key).or_insert(next);
        drop(nodes);
        if id == next { self.push_anew(op, inputs, shape) } else { Tensor::new(self.clone(), id, shape) }
    }

    /// Appends a node, whether or not there is an equal one.
    fn push_anew(&self, op: Op, inputs: &[NodeId], shape: Vec<usize>) -> Tensor {
        let mut nodes = self.0.borrow_mut();
        let (id, scope) = (nodes.nodes.len(), nodes.scope.clone());
        nodes.nodes.push(Node { op, inputs: inputs.to_vec(), shape: shape.clone(), scope });
        Tensor::new(self.clone(), id, shape)
    }

    /// Keeps the first mistake.
    pub(crate) fn fail(&self, operation: &'static str, message: String) {
        self.0.borrow_mut().error.get_or_insert((operation, message));
    }

    /// The number of a stream of random numbers that nothing else in the graph has.
    fn next_stream(&self) -> u32 {
        let streams = &mut self.0.borrow_mut().streams;
        *streams += 1;
        *streams - 1
    }

    pub(crate) fn is_same(&self, other: &Graph) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
