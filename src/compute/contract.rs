//! The contract of a kernel: its bindings, its shader, its workgroups and its CPU twin.

use crate::compute::argument::Argument;
use crate::compute::conv_geometry::ConvProblem;
use crate::compute::shader::Shader;
use crate::compute::storage::Storage;

/// WebGPU's default `min_storage_buffer_offset_alignment`, in bytes: views of buffers start at multiples of it.
pub const VIEW_ALIGNMENT: u64 = 256;

/// The access of a kernel to a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>` whose old contents are not read; every word of it is written.
    Write,
    /// `var<storage, read_write>` that is updated in place.
    Update,
}

/// One storage binding of a kernel. Binding 0 is always the uniform block of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The variable's name in the shader.
    pub name: &'static str,
    /// The `@binding` number in group 0; from 1 on, ascending, gaps allowed.
    pub index: u32,
    /// Read, write or update.
    pub access: Access,
    /// The 32-bit words that the kernel may touch, from the start of the view.
    pub words: usize,
    /// The words that one dispatch reads plus those that it writes.
    pub moved: usize,
    /// The storage type of its elements.
    pub storage: Storage,
}

impl Binding {
    /// Sets the words that one dispatch moves, for the large buffer of a gather or scatter.
    pub const fn moving(self, words: usize) -> Self {
        Self { moved: words, ..self }
    }

    /// Sets the storage type of the elements, and converts the numbers of words from those of f32.
    pub fn stored(self, storage: Storage) -> Self {
        let of = |words| storage.words(words);
        Self { words: of(self.words), moved: of(self.moved), storage, ..self }
    }
}

/// A shorthand constructor for [`Binding`].
pub const fn binding(name: &'static str, index: u32, access: Access, words: usize) -> Binding {
    let moved = if matches!(access, Access::Update) { 2 * words } else { words };
    Binding { name, index, access, words, moved, storage: Storage::F32 }
}

/// A kernel with its parameters: what a [`crate::device::Program`] is a list of.
pub trait Kernel: std::fmt::Debug + Send + Sync {
    /// The stem shared by the Rust file, the shader, the test and the bench, such as `conv2d`.
    fn name(&self) -> &'static str;

    /// The storage bindings, in the order in which a dispatch lists its views.
    fn bindings(&self) -> Vec<Binding>;

    /// The shader text with the constants of this permutation.
    fn shader(&self) -> Shader;

    /// The words of the uniform block at binding 0, in the order of the shader's struct; f32 as bits.
    /// Empty if the shader has no uniform block.
    fn uniforms(&self) -> Vec<u32>;

    /// Workgroups in x, y and z; at most 65,535 each.
    fn workgroups(&self) -> [u32; 3];

    /// Floating-point operations that the result of one dispatch takes: a multiply-add counts 2, a comparison or a
    /// function of one number 1. The count is the same on every device; work that a shader repeats does not count.
    fn flops(&self) -> u64;

    /// Operations that the shader executes in one dispatch, repeated work and comparisons of indices included. They
    /// estimate its time on a GPU.
    fn shader_operations(&self) -> u64 {
        self.flops()
    }

    /// The convolution that it computes by itself, which a policy may compute by another kernel.
    fn convolution(&self) -> Option<ConvProblem> {
        None
    }

    /// The CPU twin: the same result on host memory, in parallel over rayon's pool.
    /// `arguments` are in the order of [`Kernel::bindings`] and hold exactly the bound views.
    fn run(&self, arguments: &mut [Argument<'_>]);
}

/// Spreads `count` workgroups over x and y, within WebGPU's limit of 65,535 for each. The shader takes
/// its index as `workgroup_id.x + workgroup_id.y * num_workgroups.x` and drops those past the end.
pub fn grid(count: usize) -> [u32; 3] {
    const LIMIT: usize = 65_535;
    let rows = count.div_ceil(LIMIT).max(1);
    [count.div_ceil(rows) as u32, rows as u32, 1]
}

/// The workgroups of a shader with 256 threads a workgroup and one element a thread, as [`grid`] spreads
/// them.
pub fn elementwise_grid(n: usize) -> [u32; 3] {
    grid(n.div_ceil(256))
}
