//! The `prepare` program, which computes nodes that depend on parameters alone, such as weights into which a batch norm
//! is folded.

use super::{Graph, NodeId, Op, Output, label, lower};
use crate::device::ProgramBuilder;
use crate::error::Result;
use crate::policy::convolution::ConvolutionPolicy;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The external slot of each prepared node that other nodes read.
pub type Prepared = BTreeMap<NodeId, String>;

/// Appends to `prepare` the nodes that depend on parameters alone and that nodes under `roots` read.
///
/// # Errors
/// The errors of [`lower`].
pub fn emit(
    graph: &Graph,
    roots: &[NodeId],
    main: &ProgramBuilder,
    prepare: &mut ProgramBuilder,
) -> Result<Prepared> {
    let mut prepared = Prepared::new();
    let mut outputs = Vec::new();
    for id in frontier(graph, roots) {
        let name = format!("prepared.{}.{}", main.name(), label(&graph.node(id), id));
        // Another expression of the same program may have a node of this name.
        let numbered = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name}.{n}") });
        let slot = { numbered }.find(|slot| !prepare.has_external(slot)).expect("numbers have no end");
        let tensor = graph.tensor(id);
        outputs.push((prepare.external_named(&slot, tensor.elements()), tensor));
        prepared.insert(id, slot);
    }
    let outputs: Vec<Output<'_>> =
        outputs.iter().map(|(view, tensor)| Output { tensor, view: *view }).collect();
    // In f32, whatever the main program computes in.
    lower(&ConvolutionPolicy::default(), prepare, None, &outputs)?;
    Ok(prepared)
}

/// The nodes that are computed from parameters alone and read by nodes that are not.
fn frontier(graph: &Graph, roots: &[NodeId]) -> BTreeSet<NodeId> {
    let of_parameters = of_parameters(graph, roots);
    let mut frontier = BTreeSet::new();
    let mut seen: HashSet<NodeId> = roots.iter().copied().collect();
    let mut stack = roots.to_vec();
    while let Some(id) = stack.pop() {
        for mut input in graph.node(id).inputs {
            if !of_parameters[input] {
                if seen.insert(input) {
                    stack.push(input);
                }
                continue;
            }
            // What a kernel reads through strides, or under another shape, stays as it is.
            while matches!(graph.node(input).op, Op::Reshape | Op::Broadcast) {
                input = graph.node(input).inputs[0];
            }
            if !matches!(graph.node(input).op, Op::Leaf(_) | Op::Constant(_)) {
                frontier.insert(input);
            }
        }
    }
    frontier
}

/// For each node up to the last root, whether it depends on nothing but parameters and constants.
fn of_parameters(graph: &Graph, roots: &[NodeId]) -> Vec<bool> {
    let mut all: Vec<bool> = Vec::new();
    // Inputs have smaller numbers.
    for id in 0..=roots.iter().copied().max().unwrap_or(0) {
        let node = graph.node(id);
        all.push(match node.op {
            Op::Leaf(leaf) => leaf.parameter,
            _ => node.inputs.iter().all(|&input| all[input]),
        });
    }
    all
}
