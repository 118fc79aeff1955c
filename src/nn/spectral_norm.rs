//! Spectral normalisation (Miyato et al., ICLR 2018), as in PyTorch's `torch.nn.utils.spectral_norm`.
//!
//! Weights `W` are divided by `sigma = u^T W v`, with `W` as a matrix `[out, in kh kw]` and `u` and `v` its
//! first singular vectors, which one step of power iteration improves before each training step: `sigma` then
//! is near the largest singular value. The gradient takes `u` and `v` as constants and flows through `sigma`.

use super::parameters::{ParameterKind, ParameterLayout};
use crate::graph::{Graph, Tensor};

/// The least norm that a vector is divided by.
pub const EPSILON: f32 = 1e-12;

/// Declares `NAME_u [out]` and `NAME_v`, shaped as what reaches one output, of the weights `name [.., out]`.
pub fn declare(layout: &mut ParameterLayout, name: &str, shape: &[usize]) {
    if let [inputs @ .., out] = shape {
        layout.push(format!("{name}_u"), vec![*out], ParameterKind::Unit);
        layout.push(format!("{name}_v"), inputs.to_vec(), ParameterKind::Unit);
    }
}

/// `sigma = u^T W v` of the weights `[out, in]`, in 64-bit floats.
pub fn sigma(weights: &[f32], u: &[f32], v: &[f32]) -> f64 {
    let row = |row: &[f32]| row.iter().zip(v).map(|(&w, &v)| f64::from(w) * f64::from(v)).sum::<f64>();
    weights.chunks_exact(v.len()).zip(u).map(|(w, &u)| f64::from(u) * row(w)).sum()
}

/// Weights as the matrix `[in, out]`, transposed beside the paper's, and their `u [out, 1]` and `v [1, in]`.
fn matrices(weights: &Tensor, layout: &ParameterLayout, name: &str) -> [Tensor; 3] {
    let leaf = |part: &str| layout.leaf(weights.graph(), &format!("{name}_{part}"));
    let (u, v) = (leaf("u"), leaf("v"));
    let (inputs, out) = (v.elements(), u.elements());
    [weights.reshape([inputs, out]), u.reshape([out, 1]), v.reshape([1, inputs])]
}

/// `weights / sigma`, for the weights `name`.
pub fn divide(weights: &Tensor, layout: &ParameterLayout, name: &str) -> Tensor {
    let [matrix, u, v] = matrices(weights, layout, name);
    let sigma = v.matmul(&matrix).matmul(&u);
    weights.div(&sigma.reshape([]))
}

/// One step of power iteration: the next `NAME_u` and `NAME_v` of every weights of `layout` that have them,
/// `v = W^T u / |W^T u|` and `u = W v / |W v|`. To be lowered on its own, without a `prepare` program, into
/// [`ParameterLayout::outputs`], and run before what depends on parameters alone is prepared.
pub fn power_iteration(layout: &ParameterLayout, graph: &Graph) -> Vec<(String, Tensor)> {
    let names = layout.parameters().iter().filter_map(|parameter| parameter.name.strip_suffix("_u"));
    names
        .flat_map(|name| {
            let weights = layout.leaf(graph, name);
            let [matrix, u, old_v] = matrices(&weights, layout, name);
            let v = normalise(&matrix.matmul(&u)).reshape(old_v.shape());
            let u = normalise(&v.matmul(&matrix));
            [(format!("{name}_v"), v), (format!("{name}_u"), u)]
        })
        .collect()
}

/// `x / max(|x|, 1e-12)`.
fn normalise(x: &Tensor) -> Tensor {
    let norm = x.mul(x).sum_all().sqrt();
    x.div(&norm.clamp(EPSILON, f32::MAX))
}
