//! The dispatches of a convolution or input gradient, by the algorithm that the program's policy chooses, and the
//! copies of weights that they read.

use super::{Lowering, label};
use crate::compute::conv_geometry::{ConvGeometry, ConvProblem};
use crate::compute::storage::{Storage, Storages};
use crate::compute::winograd::Winograd;
use crate::device::{ProgramBuilder, View};
use crate::error::Result;
use crate::graph::{NodeId, Op};
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::copy::StridedCopy;
use crate::kernels::narrow::Narrow;
use crate::kernels::winograd_input::WinogradInput;
use crate::kernels::winograd_output::{Convolution, WinogradOutput};
use crate::kernels::winograd_product::WinogradProduct;
use crate::kernels::winograd_weights::WinogradWeights;
use crate::policy::convolution::Algorithm;

/// A copy of weights `[kh, kw, c_in, c_out]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// `[kh, kw, c_out, c_in]`, which input gradients read.
    Transposed,
    /// In f16.
    Half,
    /// [`Packing::Transposed`] in f16.
    HalfTransposed,
    /// Winograd's transform.
    Winograd(Winograd),
    /// Winograd's transform for the input gradient: of the transposed weights, turned by 180 degrees.
    TransposedWinograd(Winograd),
}

impl Packing {
    /// The name of its slot, without the name of the weights.
    fn name(self) -> String {
        match self {
            Self::Transposed => "transposed".into(),
            Self::Half => "half".into(),
            Self::HalfTransposed => "half transposed".into(),
            Self::Winograd(size) => format!("winograd{}", size.outputs()),
            Self::TransposedWinograd(size) => format!("transposed winograd{}", size.outputs()),
        }
    }

    /// The packing that it is made from, if it is not made from the weights themselves.
    fn source(self) -> Option<Self> {
        matches!(self, Self::TransposedWinograd(_) | Self::HalfTransposed).then_some(Self::Transposed)
    }

    fn words(self, g: &ConvGeometry) -> usize {
        match self {
            Self::Transposed => g.weights_len(),
            Self::Half | Self::HalfTransposed => Storage::F16.words(g.weights_len()),
            Self::Winograd(size) | Self::TransposedWinograd(size) => size.points() * g.c_in * g.c_out,
        }
    }

    /// Appends the dispatch that makes it.
    fn dispatch(self, builder: &mut ProgramBuilder, g: &ConvGeometry, name: &str, views: &[View]) {
        let &ConvGeometry { kh, kw, c_in, c_out, .. } = g;
        let label = format!("{name} {}", self.name());
        match self {
            Self::Transposed => {
                let copy = StridedCopy {
                    shape: [1, kh * kw, c_out, c_in],
                    strides: [0, c_in * c_out, 1, c_out],
                    offset: 0,
                };
                builder.dispatch(label, copy, views);
            }
            Self::Half | Self::HalfTransposed => {
                builder.dispatch(label, Narrow { n: g.weights_len() }, views);
            }
            Self::Winograd(size) => {
                let kernel = WinogradWeights { rows: c_in, columns: c_out, size, flipped: false };
                builder.dispatch(label, kernel, views);
            }
            Self::TransposedWinograd(size) => {
                let kernel = WinogradWeights { rows: c_out, columns: c_in, size, flipped: true };
                builder.dispatch(label, kernel, views);
            }
        }
    }
}

/// The weights that `prepare` copies: an external slot's name, its words, and the word at which the weights begin.
#[derive(Debug, Clone)]
struct Source {
    slot: String,
    words: usize,
    offset: usize,
}

impl Lowering<'_> {
    /// The dispatches of a convolution: `views` are those of its kernel without the weights, which are node
    /// `weights`.
    pub(super) fn emit_convolution(
        &mut self,
        name: String,
        convolution: Convolution,
        weights: NodeId,
        views: &[View],
    ) -> Result<()> {
        let (source, epilogue) = views.split_first().expect("a convolution reads a tensor");
        let g = *convolution.geometry();
        let algorithm = match &convolution {
            // The update is the implicit product's: of images, whose channels are too few for Winograd's kernels.
            Convolution::InputGradient(Conv2dInputGradient { update: Some(_), .. }) => Algorithm::Implicit,
            // Winograd's kernels read and write f32.
            _ if convolution.storage() != Storages::default() => Algorithm::Implicit,
            _ => self.policy.algorithm(&ConvProblem::new(convolution.direction(), g)),
        };
        match algorithm {
            Algorithm::Implicit => {
                let half = convolution.storage().b == Storage::F16;
                let weights = match (&convolution, half) {
                    (Convolution::Forward(_), false) => self.view(weights)?,
                    (Convolution::Forward(_), true) => self.packed(weights, &g, Packing::Half)?,
                    (Convolution::InputGradient(_), false) => {
                        self.packed(weights, &g, Packing::Transposed)?
                    }
                    (Convolution::InputGradient(_), true) => {
                        self.packed(weights, &g, Packing::HalfTransposed)?
                    }
                };
                let views: Vec<View> = [*source, weights].iter().chain(epilogue).copied().collect();
                match convolution {
                    Convolution::Forward(kernel) => self.builder.dispatch(name, kernel, &views),
                    Convolution::InputGradient(kernel) => self.builder.dispatch(name, kernel, &views),
                }
            }
            Algorithm::Winograd(size) => {
                let packing = match convolution {
                    Convolution::Forward(_) => Packing::Winograd(size),
                    Convolution::InputGradient(_) => Packing::TransposedWinograd(size),
                };
                let weights = self.packed(weights, &g, packing)?;
                let tiling = convolution.tiling(size);
                let [k, n] = convolution.channels();
                let tiles = self.builder.transient(format!("{name} tiles"), tiling.transformed_len(k));
                let input = WinogradInput { tiling, channels: k };
                self.builder.dispatch(format!("{name} tiles"), input, &[*source, tiles]);
                let products = self.builder.transient(format!("{name} products"), tiling.transformed_len(n));
                let product = WinogradProduct { points: size.points(), m: tiling.tiles(), n, k };
                self.builder.dispatch(format!("{name} products"), product, &[tiles, weights, products]);
                let views: Vec<View> = std::iter::once(&products).chain(epilogue).copied().collect();
                self.builder.dispatch(name, WinogradOutput { convolution, size }, &views);
            }
        }
        Ok(())
    }

    /// A copy of the weights of node `id`; made by the `prepare` program if they are parameters or made there.
    fn packed(&mut self, id: NodeId, g: &ConvGeometry, packing: Packing) -> Result<View> {
        if let Some(&view) = self.packed.get(&(id, packing)) {
            return Ok(view);
        }
        let words = packing.words(g);
        let node = self.node(id);
        let name = label(&node, id);
        let source = match (&node.op, self.prepared.get(&id)) {
            (Op::Leaf(leaf), _) if leaf.parameter => {
                Some(Source { slot: leaf.slot.clone(), words: leaf.words, offset: leaf.offset })
            }
            (_, slot) => slot.map(|slot| Source { slot: slot.clone(), words: g.weights_len(), offset: 0 }),
        };
        let view = match (source, self.prepare.as_deref_mut()) {
            (Some(source), Some(prepare)) => {
                let slot = prepare_packed(prepare, &source, g, &name, packing);
                self.builder.external_named(&slot, words)
            }
            _ => {
                let x = match packing.source() {
                    Some(source) => self.packed(id, g, source)?,
                    None => self.view(id)?,
                };
                let y = self.builder.transient(format!("{name} {}", packing.name()), words);
                packing.dispatch(self.builder, g, &name, &[x, y]);
                y
            }
        };
        self.packed.insert((id, packing), view);
        Ok(view)
    }
}

/// The external slot of a copy, which `prepare` makes unless it does so already.
fn prepare_packed(
    prepare: &mut ProgramBuilder,
    source: &Source,
    g: &ConvGeometry,
    name: &str,
    packing: Packing,
) -> String {
    let slot = format!("{}.{}.{}", packing.name(), source.slot, source.offset);
    if !prepare.has_external(&slot) {
        let x = match packing.source() {
            Some(first) => {
                let first_slot = prepare_packed(prepare, source, g, name, first);
                prepare.external_named(&first_slot, first.words(g))
            }
            None => prepare.external_named(&source.slot, source.words).part(source.offset, g.weights_len()),
        };
        let y = prepare.external_named(&slot, packing.words(g));
        packing.dispatch(prepare, g, name, &[x, y]);
    }
    slot
}
