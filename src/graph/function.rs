//! An expression as a function on a device: set inputs, run, get outputs.

use super::{Graph, Indices, Leaf, NodeId, Op, Output, Tensor, lower};
use crate::device::{Buffers, Device, Element, Executable, Program, ProgramBuilder, View};
use crate::error::{Error, Result};
use crate::policy::convolution::ConvolutionPolicy;
use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Tensors lowered to one program, loaded on a device with buffers of its own. Inputs are the leaves of the graph;
/// outputs are the tensors that it was made for.
#[derive(Debug)]
pub struct Function {
    device: Device,
    graph: Option<Graph>,
    executable: Executable,
    buffers: Buffers,
    /// The name of each output's buffer.
    outputs: BTreeMap<NodeId, String>,
    /// The leaves that the program reads and nobody has set: slot, first word, words.
    unset: RefCell<BTreeSet<(String, usize, usize)>>,
}

/// A node whose values the host sets: a [`Tensor`] of f32, or [`Indices`] or [`super::Counters`] of u32. Only their own
/// methods reach the words of indices, so that none is taken for a float:
///
/// ```compile_fail,E0061
/// use jem::graph::{Tensor, Value};
///
/// fn words_as_floats<V: Value>(value: &V) -> Tensor {
///     value.node().exp()
/// }
/// ```
pub trait Value: sealed::Node {
    /// The type of its elements.
    type Element: Element;
}

pub(crate) mod sealed {
    use crate::graph::Tensor;

    /// A token that only this crate can make.
    #[derive(Debug)]
    pub struct Token(pub(crate) ());

    /// A value with a node.
    pub trait Node {
        /// The node, whatever the type of its words. The token keeps other crates from calling this.
        fn node(&self, token: Token) -> &Tensor;
    }
}

impl Value for Tensor {
    type Element = f32;
}

impl sealed::Node for Tensor {
    fn node(&self, _: sealed::Token) -> &Tensor {
        self
    }
}

impl Value for Indices {
    type Element = u32;
}

impl sealed::Node for Indices {
    fn node(&self, _: sealed::Token) -> &Tensor {
        &self.0
    }
}

impl Function {
    /// Lowers `outputs` and loads them.
    ///
    /// # Errors
    /// [`Error::Shape`] for the graph's first mistake; what [`Device::load`] returns.
    pub fn new(device: &Device, outputs: &[&Tensor]) -> Result<Self> {
        Self::with_policy(device, device.policy(), outputs)
    }

    /// [`Function::new`] with other kernels for its convolutions than the device's own policy chooses.
    ///
    /// # Errors
    /// The errors of [`Function::new`].
    pub fn with_policy(device: &Device, policy: &ConvolutionPolicy, outputs: &[&Tensor]) -> Result<Self> {
        Self::assemble(policy, ProgramBuilder::new("function"), Buffers::new(device), outputs, &[], |_| {})
    }

    /// A function in the program of `builder`, which also writes `assigned` to their places and then runs what `finish`
    /// appends. Its inputs in `buffers` count as set.
    ///
    /// # Errors
    /// The errors of [`Function::new`]; [`Error::Binding`] for a buffer that `finish` reads and `buffers` lacks.
    pub(crate) fn assemble(
        policy: &ConvolutionPolicy,
        mut builder: ProgramBuilder,
        mut buffers: Buffers,
        outputs: &[&Tensor],
        assigned: &[Output<'_>],
        finish: impl FnOnce(&mut ProgramBuilder),
    ) -> Result<Self> {
        let mut names = BTreeMap::new();
        let mut targets: Vec<Output<'_>> = Vec::new();
        let graph = outputs.first().map(|tensor| tensor.graph().clone());
        for &tensor in outputs {
            if graph.as_ref().is_some_and(|graph| !graph.is_same(tensor.graph())) {
                let message = format!("output {:?} is of another graph than the first", tensor.shape());
                return Err(Error::Shape { operation: "function", message });
            }
            if let Entry::Vacant(entry) = names.entry(tensor.id()) {
                let name = entry.insert(format!("output {}", targets.len()));
                targets.push(Output { tensor, view: builder.external_named(name, tensor.elements()) });
            }
        }
        targets.extend(assigned);
        graph.iter().try_for_each(Graph::check)?;
        let leaves: Vec<(Leaf, usize)> = graph.iter().flat_map(leaves).collect();
        for (leaf, _) in &leaves {
            check_slot(leaf, &builder, &buffers)?;
        }
        lower(policy, &mut builder, None, &targets)?;
        finish(&mut builder);
        // An input that no kernel reads can still be set.
        let place = |(leaf, words): &(Leaf, usize)| {
            builder.external_named(&leaf.slot, leaf.words).part(leaf.offset, *words)
        };
        let views: Vec<View> = leaves.iter().map(place).collect();
        let program = builder.finish();
        let is_bound = |view: &View| {
            let bound = program.dispatches.iter().flat_map(|dispatch| &dispatch.views);
            bound.into_iter().any(|other| other.overlaps(view))
        };
        let mut unset = BTreeSet::new();
        for ((leaf, words), view) in leaves.iter().zip(&views) {
            if buffers.named(&leaf.slot).is_none() && is_bound(view) {
                unset.insert((leaf.slot.clone(), leaf.offset, *words));
            }
        }
        // Leaves of different lengths may share a slot, which is as long as the longest.
        for slot in program.externals().filter(|slot| leaves.iter().any(|(leaf, _)| leaf.slot == slot.name)) {
            buffers.zeros_named(&slot.name, (slot.bytes / 4) as usize)?;
        }
        let executable = buffers.load(program)?;
        let (device, unset) = (buffers.device().clone(), RefCell::new(unset));
        Ok(Self { device, graph, executable, buffers, outputs: names, unset })
    }

    fn error(&self, buffer: &str, message: impl Into<String>) -> Error {
        let program = self.program().name.clone();
        Error::Binding { program, buffer: buffer.to_owned(), message: message.into() }
    }

    /// Whether `tensor` is of the graph that was lowered.
    fn knows(&self, tensor: &Tensor) -> bool {
        self.graph.as_ref().is_some_and(|graph| graph.is_same(tensor.graph()))
    }

    /// Sets `input`, a leaf of the graph, to `values`.
    ///
    /// # Errors
    /// [`Error::Binding`] for a tensor that is not a leaf or is of another graph, or for another number of values.
    pub fn set<V: Value>(&self, input: &V, values: &[V::Element]) -> Result<()> {
        let input = input.node(sealed::Token(()));
        let leaf = match self.knows(input).then(|| input.graph().node(input.id()).op) {
            Some(Op::Leaf(leaf)) => leaf,
            Some(op) => return Err(self.error(op.name(), "is computed, and cannot be set")),
            None => return Err(self.error("input", "is a tensor of another graph")),
        };
        let Some(buffer) = self.buffers.named(&leaf.slot) else {
            return Err(self.error(&leaf.slot, "was made after the function"));
        };
        let bytes: &[u8] = bytemuck::cast_slice(values);
        if bytes.len() != 4 * input.elements() {
            let message =
                format!("expected {} values {:?}, got {}", input.elements(), input.shape(), values.len());
            return Err(self.error(&leaf.slot, message));
        }
        self.device.write(buffer, 4 * leaf.offset as u64, bytes)?;
        let written = leaf.offset..leaf.offset + input.elements();
        self.unset.borrow_mut().retain(|(slot, first, words)| {
            *slot != leaf.slot || *first < written.start || first + words > written.end
        });
        Ok(())
    }

    /// Sets a whole external buffer, with all leaves in it, such as the flat buffer of a network's parameters.
    ///
    /// # Errors
    /// [`Error::Binding`] for an unknown name or another length.
    pub fn set_slot<T: Element>(&self, slot: &str, values: &[T]) -> Result<()> {
        let Some(buffer) = self.buffers.named(slot) else {
            let names: Vec<&str> = self.program().externals().map(|slot| slot.name.as_str()).collect();
            return Err(self.error(slot, format!("is none of {names:?}")));
        };
        let bytes: &[u8] = bytemuck::cast_slice(values);
        if bytes.len() as u64 != buffer.bytes() {
            let message = format!("expected {} words, got {}", buffer.bytes() / 4, bytes.len() / 4);
            return Err(self.error(slot, message));
        }
        self.device.write(buffer, 0, bytes)?;
        self.unset.borrow_mut().retain(|(name, ..)| name != slot);
        Ok(())
    }

    /// Computes all outputs.
    ///
    /// # Errors
    /// [`Error::Binding`] if an input was never set; what [`Device::run`] returns.
    pub fn run(&self) -> Result<()> {
        if let Some((slot, ..)) = self.unset.borrow().first() {
            return Err(self.error(slot, "was never set"));
        }
        self.device.run(&self.executable)
    }

    /// The value of an output after the last run; waits for the device.
    ///
    /// # Errors
    /// [`Error::Binding`] for a tensor that is not an output; what [`Device::read`] returns.
    pub fn get(&self, output: &Tensor) -> Result<Vec<f32>> {
        let name = self.knows(output).then(|| self.outputs.get(&output.id())).flatten();
        let name = name.ok_or_else(|| self.error("output", "is none of the function's outputs"))?;
        self.device.read_as(self.buffers.named(name).expect("an output has a buffer"))
    }

    /// The program that was lowered.
    pub fn program(&self) -> &Program {
        self.executable.program()
    }
}

/// Refuses an input under the name of one of the program's own buffers, and parameters of another layout than those in
/// `buffers`.
fn check_slot(leaf: &Leaf, builder: &ProgramBuilder, buffers: &Buffers) -> Result<()> {
    let shared = buffers.named(&leaf.slot);
    // A network's buffer that is not in `buffers` is an input, which the host sets whole.
    let is_own = leaf.parameter && (shared.is_some() || !builder.has_external(&leaf.slot));
    if !is_own && (shared.is_some() || builder.has_external(&leaf.slot)) {
        let message = format!("{:?} is the name of a buffer of the program; choose another", leaf.slot);
        return Err(Error::Shape { operation: "input", message });
    }
    if let Some(buffer) = shared
        && buffer.bytes() != 4 * leaf.words as u64
    {
        let (found, words) = (buffer.bytes() / 4, leaf.words);
        let message =
            format!("the graph has parameters of a layout of {words} words, the weights have {found}");
        return Err(Error::Shape { operation: "parameters", message });
    }
    Ok(())
}

/// The leaves of `graph`, with their elements.
fn leaves(graph: &Graph) -> Vec<(Leaf, usize)> {
    let leaf = |id| match graph.node(id).op {
        Op::Leaf(leaf) => Some((leaf, graph.tensor(id).elements())),
        _ => None,
    };
    (0..graph.len()).filter_map(leaf).collect()
}
