//! The network as a tensor expression.

use super::layers::{LAST, shares_of};
use crate::graph::{Graph, Tensor};
use crate::nn::parameters::ParameterLayout;

/// The features `[n, 2048]` and the logits `[n, 1008]` of images `[n, 299, 299, 3]` in [-1, 1].
pub(super) fn forward(images: &Tensor, layout: &ParameterLayout) -> (Tensor, Tensor) {
    let net = Network { graph: images.graph().clone(), layout };
    let x = net.convolve(images, "Conv2d_1a_3x3", 2, [0, 0]);
    let x = net.convolve(&x, "Conv2d_2a_3x3", 1, [0, 0]);
    let x = net.convolve(&x, "Conv2d_2b_3x3", 1, [1, 1]).max_pool(3, 2, 0);
    let x = net.convolve(&x, "Conv2d_3b_1x1", 1, [0, 0]);
    let mut x = net.convolve(&x, "Conv2d_4a_3x3", 1, [0, 0]).max_pool(3, 2, 0);
    for block in ["Mixed_5b", "Mixed_5c", "Mixed_5d"] {
        x = net.block_a(&x, block);
    }
    x = net.block_b(&x, "Mixed_6a");
    for block in ["Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"] {
        x = net.block_c(&x, block);
    }
    x = net.block_d(&x, "Mixed_7a");
    x = net.block_e(&x, "Mixed_7b", |x, name| net.average_and_convolve(x, name));
    // Not an average, as in the paper and in the block before: so are the public weights.
    x = net.block_e(&x, "Mixed_7c", |x, name| net.convolve(&x.max_pool(3, 1, 1), name, 1, [0, 0]));
    let features = x.global_average_pool();
    let logits = features.matmul(&layout.leaf(&net.graph, &format!("{LAST}.weight")));
    (features, logits)
}

struct Network<'a> {
    graph: Graph,
    layout: &'a ParameterLayout,
}

impl Network<'_> {
    fn parameter(&self, name: &str, part: &str) -> Tensor {
        self.layout.leaf(&self.graph, &format!("{name}.{part}"))
    }

    /// Convolution, batch norm and ReLU. `padding` is that of rows and of columns.
    fn convolve(&self, x: &Tensor, name: &str, stride: usize, [rows, columns]: [usize; 2]) -> Tensor {
        let (weight, bias) = (self.parameter(name, "weight"), self.parameter(name, "bias"));
        if rows == columns {
            return x.conv2d(&weight, Some(&bias), stride, rows).relu();
        }
        let padded = x.pad(1, rows, rows, 0.0).pad(2, columns, columns, 0.0);
        padded.conv2d(&weight, Some(&bias), stride, 0).relu()
    }

    /// The mean over 3 x 3 pixels, of those within the image, then a convolution of 1 x 1, batch norm and ReLU. The
    /// convolution comes first: it commutes with the mean, and has fewer channels.
    fn average_and_convolve(&self, x: &Tensor, name: &str) -> Tensor {
        let y = x.conv2d(&self.parameter(name, "weight"), None, 1, 0);
        let [h, w] = [y.shape()[1], y.shape()[2]];
        let sum = |y: &Tensor, axis: usize, length: usize| {
            let padded = y.pad(axis, 1, 1, 0.0);
            let [before, at, after] = [0, 1, 2].map(|first| padded.slice(axis, first..first + length));
            before.add(&at).add(&after)
        };
        let sums = sum(&sum(&y, 1, h), 2, w);
        let shares = self.layout.leaf(&self.graph, &shares_of(h)).reshape([1, h, w, 1]);
        sums.mul(&shares).add(&self.parameter(name, "bias")).relu()
    }

    /// Convolves with parts of `block` one after the other, each with its padding.
    fn chain(&self, x: &Tensor, block: &str, parts: &[(&str, [usize; 2])]) -> Tensor {
        parts
            .iter()
            .fold(x.clone(), |x, (part, padding)| self.convolve(&x, &format!("{block}.{part}"), 1, *padding))
    }

    fn join(&self, branches: &[&Tensor]) -> Tensor {
        self.graph.concat(branches, 3)
    }

    /// 35 x 35 pixels.
    fn block_a(&self, x: &Tensor, block: &str) -> Tensor {
        let one = self.chain(x, block, &[("branch1x1", [0, 0])]);
        let five = self.chain(x, block, &[("branch5x5_1", [0, 0]), ("branch5x5_2", [2, 2])]);
        let parts = [("branch3x3dbl_1", [0, 0]), ("branch3x3dbl_2", [1, 1]), ("branch3x3dbl_3", [1, 1])];
        let three = self.chain(x, block, &parts);
        let pooled = self.average_and_convolve(x, &format!("{block}.branch_pool"));
        self.join(&[&one, &five, &three, &pooled])
    }

    /// 35 x 35 to 17 x 17 pixels.
    fn block_b(&self, x: &Tensor, block: &str) -> Tensor {
        let three = self.convolve(x, &format!("{block}.branch3x3"), 2, [0, 0]);
        let double = self.chain(x, block, &[("branch3x3dbl_1", [0, 0]), ("branch3x3dbl_2", [1, 1])]);
        let double = self.convolve(&double, &format!("{block}.branch3x3dbl_3"), 2, [0, 0]);
        self.join(&[&three, &double, &x.max_pool(3, 2, 0)])
    }

    /// 17 x 17 pixels.
    fn block_c(&self, x: &Tensor, block: &str) -> Tensor {
        const ROW: [usize; 2] = [0, 3];
        const COLUMN: [usize; 2] = [3, 0];
        let one = self.chain(x, block, &[("branch1x1", [0, 0])]);
        let parts = [("branch7x7_1", [0, 0]), ("branch7x7_2", ROW), ("branch7x7_3", COLUMN)];
        let seven = self.chain(x, block, &parts);
        let parts = [
            ("branch7x7dbl_1", [0, 0]),
            ("branch7x7dbl_2", COLUMN),
            ("branch7x7dbl_3", ROW),
            ("branch7x7dbl_4", COLUMN),
            ("branch7x7dbl_5", ROW),
        ];
        let double = self.chain(x, block, &parts);
        let pooled = self.average_and_convolve(x, &format!("{block}.branch_pool"));
        self.join(&[&one, &seven, &double, &pooled])
    }

    /// 17 x 17 to 8 x 8 pixels.
    fn block_d(&self, x: &Tensor, block: &str) -> Tensor {
        let three = self.chain(x, block, &[("branch3x3_1", [0, 0])]);
        let three = self.convolve(&three, &format!("{block}.branch3x3_2"), 2, [0, 0]);
        let parts = [("branch7x7x3_1", [0, 0]), ("branch7x7x3_2", [0, 3]), ("branch7x7x3_3", [3, 0])];
        let seven = self.chain(x, block, &parts);
        let seven = self.convolve(&seven, &format!("{block}.branch7x7x3_4"), 2, [0, 0]);
        self.join(&[&three, &seven, &x.max_pool(3, 2, 0)])
    }

    /// 8 x 8 pixels, with `pool` as the last branch.
    fn block_e(&self, x: &Tensor, block: &str, pool: impl Fn(&Tensor, &str) -> Tensor) -> Tensor {
        let one = self.chain(x, block, &[("branch1x1", [0, 0])]);
        let fork = |x: &Tensor, name: &str| {
            let row = self.chain(x, block, &[(&format!("{name}a"), [0, 1])]);
            let column = self.chain(x, block, &[(&format!("{name}b"), [1, 0])]);
            self.join(&[&row, &column])
        };
        let three = fork(&self.chain(x, block, &[("branch3x3_1", [0, 0])]), "branch3x3_2");
        let double = self.chain(x, block, &[("branch3x3dbl_1", [0, 0]), ("branch3x3dbl_2", [1, 1])]);
        let double = fork(&double, "branch3x3dbl_3");
        self.join(&[&one, &three, &double, &pool(x, &format!("{block}.branch_pool"))])
    }
}
