//! The kernels: one file each, with parameters, bindings, dispatch and CPU twin; the shader of the
//! same stem is in `shaders/`.
//!
//! A kernel is a value: shapes and switches that are fixed when a program is built. It says which
//! buffers it binds, which shader text it needs, how many workgroups it takes, and it can run itself
//! on the host. All storage is 32-bit words (f32, u32, two f16, packed bytes or bits). Tensors are NHWC and
//! contiguous; convolution weights are `[kh, kw, c_in, c_out]`.

pub mod adam;
mod argument;
pub mod ascent;
pub mod average_pool;
pub mod average_pool_gradient;
pub mod batch_gather;
pub mod binary;
pub mod candidate;
pub mod choice;
pub mod conv2d;
pub mod conv2d_input_gradient;
pub mod conv2d_weight_gradient;
pub mod conv_geometry;
mod conv_tile;
pub mod cooperative;
pub mod copy;
mod cpu;
pub mod fill;
pub mod functional;
pub mod gather_labels;
pub mod half;
pub mod head;
pub mod leaky_relu_gradient;
pub mod logit_loss;
pub mod logit_loss_gradient;
pub mod logsumexp;
pub mod mask;
pub mod matmul;
pub mod mismatches;
pub mod moments;
pub mod moments_combine;
pub mod momentum;
pub mod moving_average;
pub mod narrow;
pub mod norm_geometry;
pub mod normalise;
pub mod normalise_gradient;
pub mod normalise_sums;
pub mod normalise_sums_combine;
mod parts;
pub mod random;
pub mod random_bits;
pub mod reduce;
pub mod replay_gather;
pub mod replay_scatter;
pub mod scatter_labels;
pub mod sgld;
pub mod shader;
pub mod sign_mask;
pub mod softmax;
pub mod strides;
pub mod tick;
pub mod unary;
pub mod uniform_fill;
pub mod winograd;
pub mod winograd_input;
pub mod winograd_output;
pub mod winograd_product;
pub mod winograd_weights;

pub use argument::Argument;
use conv_geometry::Shape;
pub use conv_tile::{ConvTile, MatrixTile, ScalarTile};
use half::Storage;
use shader::Shader;

/// WebGPU's default `min_storage_buffer_offset_alignment`, in bytes: views of buffers start at multiples of it.
pub const VIEW_ALIGNMENT: u64 = 256;

/// How a kernel touches a binding.
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
    /// The words that one dispatch reads and those that it writes, together.
    pub moved: usize,
    /// How its elements lie in those words.
    pub storage: Storage,
}

impl Binding {
    /// With only `words` moved: of a gather's or scatter's big buffer.
    pub const fn moving(self, words: usize) -> Self {
        Self { moved: words, ..self }
    }

    /// With the elements that it was made for stored so.
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

    /// Floating-point operations of one dispatch (a multiply-add counts 2).
    fn flops(&self) -> u64;

    /// The convolution that it computes by itself, of which [`choice::Choices`] have a say.
    fn convolution(&self) -> Option<Shape> {
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

/// One or more small instances of every kernel and permutation, for the tests that hold all of them to
/// something (naga's validation and back ends, twin/test/bench completeness).
pub fn catalogue() -> Vec<Box<dyn Kernel>> {
    let mut all: Vec<Box<dyn Kernel>> = Vec::new();
    all.extend(adam::Adam::permutations().into_iter().map(boxed));
    all.extend(ascent::Ascent::permutations().into_iter().map(boxed));
    all.extend(average_pool::AveragePool::permutations().into_iter().map(boxed));
    all.extend(average_pool_gradient::AveragePoolGradient::permutations().into_iter().map(boxed));
    all.extend(batch_gather::BatchGather::permutations().into_iter().map(boxed));
    all.extend(binary::Binary::permutations().into_iter().map(boxed));
    all.extend(conv2d::Conv2d::permutations().into_iter().map(boxed));
    all.extend(conv2d_input_gradient::Conv2dInputGradient::permutations().into_iter().map(boxed));
    all.extend(conv2d_weight_gradient::Conv2dWeightGradient::permutations().into_iter().map(boxed));
    all.extend(copy::StridedCopy::permutations().into_iter().map(boxed));
    all.extend(fill::Fill::permutations().into_iter().map(boxed));
    all.extend(gather_labels::GatherLabels::permutations().into_iter().map(boxed));
    all.extend(head::Head::permutations().into_iter().map(boxed));
    all.extend(leaky_relu_gradient::LeakyReluGradient::permutations().into_iter().map(boxed));
    all.extend(logit_loss::LogitLoss::permutations().into_iter().map(boxed));
    all.extend(logit_loss_gradient::LogitLossGradient::permutations().into_iter().map(boxed));
    all.extend(logsumexp::LogSumExp::permutations().into_iter().map(boxed));
    all.extend(matmul::Matmul::permutations().into_iter().map(boxed));
    all.extend(mismatches::Mismatches::permutations().into_iter().map(boxed));
    all.extend(moments::Moments::permutations().into_iter().map(boxed));
    all.extend(moments_combine::MomentsCombine::permutations().into_iter().map(boxed));
    all.extend(momentum::Momentum::permutations().into_iter().map(boxed));
    all.extend(moving_average::MovingAverage::permutations().into_iter().map(boxed));
    all.extend(narrow::Narrow::permutations().into_iter().map(boxed));
    all.extend(normalise::Normalise::permutations().into_iter().map(boxed));
    all.extend(normalise_gradient::NormaliseGradient::permutations().into_iter().map(boxed));
    all.extend(normalise_sums::NormaliseSums::permutations().into_iter().map(boxed));
    all.extend(normalise_sums_combine::NormaliseSumsCombine::permutations().into_iter().map(boxed));
    all.extend(random_bits::RandomBits::permutations().into_iter().map(boxed));
    all.extend(reduce::Reduce::permutations().into_iter().map(boxed));
    all.extend(replay_gather::ReplayGather::permutations().into_iter().map(boxed));
    all.extend(replay_scatter::ReplayScatter::permutations().into_iter().map(boxed));
    all.extend(scatter_labels::ScatterLabels::permutations().into_iter().map(boxed));
    all.extend(sgld::Sgld::permutations().into_iter().map(boxed));
    all.extend(sign_mask::SignMask::permutations().into_iter().map(boxed));
    all.extend(softmax::Softmax::permutations().into_iter().map(boxed));
    all.extend(tick::Tick::permutations().into_iter().map(boxed));
    all.extend(unary::Unary::permutations().into_iter().map(boxed));
    all.extend(uniform_fill::UniformFill::permutations().into_iter().map(boxed));
    all.extend(winograd_input::WinogradInput::permutations().into_iter().map(boxed));
    all.extend(winograd_output::WinogradOutput::permutations().into_iter().map(boxed));
    all.extend(winograd_product::WinogradProduct::permutations().into_iter().map(boxed));
    all.extend(winograd_weights::WinogradWeights::permutations().into_iter().map(boxed));
    all
}

fn boxed<K: Kernel + 'static>(kernel: K) -> Box<dyn Kernel> {
    Box::new(kernel)
}
