//! The distinct compute pipelines of a recipe's programs.

use crate::steps::ours::CLASSES;
use jem::compute::shader;
use jem::device::{Device, Dispatch, Program};
use jem::ebm::Recipe;
use jem::ebm::programs::{BatchLayout, Programs};
use jem::nn::network::Network as _;
use std::collections::HashMap;

/// A pipeline, and the dispatches of an SGLD step and an update that use it.
pub struct Shader {
    /// The kernel with its tile and its switches.
    pub label: String,
    /// The permutation, and its text.
    pub shader: shader::Shader,
    wgsl: String,
    /// Whether binding 0 is a uniform block.
    pub uniform: bool,
    /// The other bindings, in ascending order.
    pub storage: Vec<u32>,
    /// The first dispatch's label.
    pub first: String,
    /// Dispatches of one SGLD step and one update.
    pub dispatches: usize,
}

/// The pipelines that `recipe` uses for 32x32 images in three channels, in the order of their first dispatches, and a
/// summary of the choice of kernels.
///
/// # Errors
/// If the recipe's network is invalid.
pub fn of(device: &Device, recipe: &Recipe) -> jem::Result<(Vec<Shader>, String)> {
    let (policy, words) = recipe.precision.policy(device);
    let network = recipe.network(CLASSES, 3);
    network.check()?;
    let batch = BatchLayout::new(recipe, 32, 32, 3);
    let programs = Programs::build(recipe, &network, batch, recipe.batch, &policy)?;
    let mut all: Vec<Shader> = Vec::new();
    let mut known: HashMap<(String, Vec<u32>), usize> = HashMap::new();
    let dispatches = [programs.sgld, programs.perturb, Some(programs.update)].into_iter().flatten();
    for dispatch in dispatches.flat_map(|program: Program| program.dispatches) {
        let shader = Shader::of(&dispatch);
        let at = *known.entry((shader.wgsl.clone(), shader.storage.clone())).or_insert(all.len());
        match all.get_mut(at) {
            Some(shader) => shader.dispatches += 1,
            None => all.push(shader),
        }
    }
    Ok((all, words))
}

impl Shader {
    fn of(dispatch: &Dispatch) -> Self {
        let (kernel, shader) = (&dispatch.kernel, dispatch.kernel.shader());
        Self {
            label: label(kernel.name(), &shader.variant()),
            wgsl: shader.wgsl(),
            shader,
            uniform: !kernel.uniforms().is_empty(),
            storage: kernel.bindings().iter().map(|binding| binding.index).collect(),
            first: dispatch.label.clone(),
            dispatches: 1,
        }
    }

    /// All bindings, in ascending order.
    pub fn bindings(&self) -> Vec<u32> {
        self.uniform.then_some(0).into_iter().chain(self.storage.iter().copied()).collect()
    }

    /// Threads of a workgroup and bytes of workgroup memory, each variable rounded up to 16.
    pub fn workgroup(&self) -> Option<(u32, u32)> {
        let module = naga::front::wgsl::parse_str(&self.wgsl).ok()?;
        let threads = module.entry_points.first()?.workgroup_size.iter().product();
        let variables = module.global_variables.iter().map(|(_, variable)| variable);
        let shared = variables.filter(|variable| variable.space == naga::AddressSpace::WorkGroup);
        let bytes = shared.map(|v| module.types[v.ty].inner.size(module.to_ctx()).next_multiple_of(16)).sum();
        Some((threads, bytes))
    }
}

/// The kernel, its tile, and its other constants and switches; threads have a column of their own.
fn label(kernel: &str, variant: &str) -> String {
    let mut label = kernel.to_owned();
    for word in variant.split_whitespace() {
        match word.split_once('=') {
            Some(("TILE_M", rows)) => label += &format!(" {rows}"),
            Some(("TILE_N", columns)) => label += &format!("x{columns}"),
            Some(("THREADS", _)) => {}
            _ => label += &format!(" {}", word.to_lowercase()),
        }
    }
    label
}
