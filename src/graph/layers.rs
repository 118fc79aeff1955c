//! The operations of networks that users write: convolutions, softmax, and losses of logits.

use super::{Indices, Op, Tensor};
use crate::compute::conv_geometry::ConvGeometry;
use crate::compute::loss_term::{LossTerm, MAX_PARTS, STATS};

impl Tensor {
    /// Cross-correlates images `[n, h, w, c_in]` with `weights [kh, kw, c_in, c_out]`, plus `bias [c_out]`.
    pub fn conv2d(&self, weights: &Tensor, bias: Option<&Tensor>, stride: usize, padding: usize) -> Tensor {
        let (Ok([n, h, w, c_in]), Ok([kh, kw, w_in, c_out])) =
            (<[usize; 4]>::try_from(&self.shape[..]), <[usize; 4]>::try_from(&weights.shape[..]))
        else {
            let message = format!(
                "expected [N, H, W, C] and [KH, KW, C, O], got {:?} and {:?}",
                self.shape, weights.shape
            );
            return self.fail("conv2d", message, vec![1, 1, 1, 1]);
        };
        let fits = h + 2 * padding >= kh && w + 2 * padding >= kw && stride > 0;
        if c_in != w_in || !fits || bias.is_some_and(|bias| bias.shape != [c_out]) {
            let message = format!(
                "images [N, H, W, C] {:?} with weights [KH, KW, C, O] {:?}, bias {:?}, stride {stride}, padding {padding}",
                self.shape,
                weights.shape,
                bias.map(|bias| &bias.shape)
            );
            return self.fail("conv2d", message, vec![n, h, w, c_out]);
        }
        let geometry = ConvGeometry { n, h, w, c_in, c_out, kh, kw, stride, padding };
        let others: Vec<&Tensor> = std::iter::once(weights).chain(bias).collect();
        self.push(Op::Conv2d(geometry), &others, vec![n, geometry.out_h(), geometry.out_w(), c_out])
    }

    /// The gradient of a convolution at its images, for `self` the gradient at its result.
    pub fn conv2d_input_gradient(&self, weights: &Tensor, geometry: ConvGeometry) -> Tensor {
        let ConvGeometry { n, h, w, c_in, c_out, kh, kw, .. } = geometry;
        let fits = self.shape == [n, geometry.out_h(), geometry.out_w(), c_out];
        if !fits || weights.shape != [kh, kw, c_in, c_out] {
            let message = format!("gradient {:?}, weights {:?} for {geometry:?}", self.shape, weights.shape);
            return self.fail("conv2d_input_gradient", message, vec![n, h, w, c_in]);
        }
        self.push(Op::Conv2dInputGradient(geometry), &[weights], vec![n, h, w, c_in])
    }

    /// The gradient of a convolution at its weights, for `self` its images.
    pub fn conv2d_weight_gradient(&self, gradient: &Tensor, geometry: ConvGeometry) -> Tensor {
        let ConvGeometry { n, h, w, c_in, c_out, kh, kw, .. } = geometry;
        let fits = gradient.shape == [n, geometry.out_h(), geometry.out_w(), c_out];
        if !fits || self.shape != [n, h, w, c_in] {
            let message = format!("images {:?}, gradient {:?} for {geometry:?}", self.shape, gradient.shape);
            return self.fail("conv2d_weight_gradient", message, vec![kh, kw, c_in, c_out]);
        }
        self.push(Op::Conv2dWeightGradient(geometry), &[gradient], vec![kh, kw, c_in, c_out])
    }

    /// The lengths of exactly `N` axes, named in the mistake that is kept if there are others. An operation
    /// that gets `None` stands zeros in for its result.
    pub(super) fn axes<const N: usize>(&self, operation: &'static str, names: &str) -> Option<[usize; N]> {
        let axes = self.shape[..].try_into().ok();
        if axes.is_none() {
            self.graph.fail(operation, format!("expected {names}, got {:?}", self.shape));
        }
        axes
    }

    pub(super) fn zeros<const N: usize>(&self) -> Tensor {
        self.graph.constant(0.0, [1; N])
    }

    pub(super) fn images(&self, operation: &'static str) -> Option<[usize; 4]> {
        self.axes(operation, "images [N, H, W, C]")
    }

    /// Rows and columns of a matrix.
    pub(super) fn matrix(&self, operation: &'static str) -> Option<[usize; 2]> {
        self.axes(operation, "[rows, cols]")
    }

    /// `ln Σ e^x` along each row of `[rows, cols]`, as `[rows]`.
    pub fn logsumexp(&self) -> Tensor {
        let Some([rows, _]) = self.matrix("logsumexp") else { return self.zeros::<1>() };
        self.push(Op::LogSumExp, &[], vec![rows])
    }

    /// Softmax along each row of `[rows, cols]`.
    pub fn softmax(&self) -> Tensor {
        let Some([rows, cols]) = self.matrix("softmax") else { return self.zeros::<2>() };
        self.push(Op::Softmax { log: false }, &[], vec![rows, cols])
    }

    /// The logarithm of the softmax along each row of `[rows, cols]`.
    pub fn log_softmax(&self) -> Tensor {
        let Some([rows, cols]) = self.matrix("log_softmax") else { return self.zeros::<2>() };
        self.push(Op::Softmax { log: true }, &[], vec![rows, cols])
    }

    /// Checks logits, labels and parts; returns the rows, or `None` for a mistake.
    fn parts(&self, operation: &'static str, labels: &Indices, parts: &[LossTerm]) -> Option<usize> {
        let [rows, _] = self.matrix(operation)?;
        let counted: usize = parts.iter().map(|part| part.count).sum();
        let fits = labels.shape() == [rows] && counted == rows && parts.len() <= MAX_PARTS;
        if !fits {
            let message = format!(
                "logits {:?}, labels {:?}, {counted} images in {} parts (at most {MAX_PARTS})",
                self.shape,
                labels.shape(),
                parts.len()
            );
            self.graph.fail(operation, message);
        }
        fits.then_some(rows)
    }

    /// Each image's JEM loss `[n]` of logits `[n, classes]`: see [`crate::kernels::logit_loss`]. With a functional of
    /// the energies it can be differentiated once.
    pub fn logit_loss(&self, labels: &Indices, parts: &[LossTerm]) -> Tensor {
        let Some(rows) = self.parts("logit_loss", labels, parts) else { return self.zeros::<1>() };
        self.push(Op::LogitLoss(parts.to_vec()), &[&labels.0], vec![rows])
    }

    /// Each image's LogSumExp, cross-entropy, correctness (0 or 1), sum of squared logits and functional, `[n, 5]`.
    pub fn logit_stats(&self, labels: &Indices, parts: &[LossTerm]) -> Tensor {
        let Some(rows) = self.parts("logit_stats", labels, parts) else { return self.zeros::<2>() };
        self.push(Op::LogitStats(parts.to_vec()), &[&labels.0], vec![rows, STATS])
    }

    /// The gradient of [`Tensor::logit_loss`] at the logits `self`, for `upstream [n]` at each loss.
    pub fn logit_loss_gradient(&self, labels: &Indices, upstream: &Tensor, parts: &[LossTerm]) -> Tensor {
        let name = "logit_loss_gradient";
        let Some(rows) = self.parts(name, labels, parts) else { return self.zeros::<2>() };
        if upstream.shape != [rows] {
            let message = format!("upstream {:?} for {rows} rows", upstream.shape);
            return self.fail(name, message, self.shape.clone());
        }
        self.push(Op::LogitLossGradient(parts.to_vec()), &[&labels.0, upstream], self.shape.clone())
    }
}
