//! The convolutions of the network, by the names of pytorch-fid's file.

use super::{FEATURES, LOGITS};
use crate::nn::init::Fans;
use crate::nn::parameters::{ParameterKind, ParameterLayout};

/// The sides of the images that the averages over 3 x 3 pixels take.
pub(super) const AVERAGED: [usize; 3] = [35, 17, 8];
/// The last layer.
pub(super) const LAST: &str = "fc";

/// A convolution without bias, followed by batch norm and ReLU.
pub(super) struct Convolution {
    /// The name of the block of both, such as `Mixed_5b.branch1x1`.
    pub(super) name: String,
    pub(super) c_in: usize,
    pub(super) c_out: usize,
    /// Height and width.
    pub(super) kernel: [usize; 2],
}

/// All convolutions.
pub(super) fn convolutions() -> Vec<Convolution> {
    let mut all = Vec::new();
    let mut add = |block: &str, rows: &[(&str, usize, usize, [usize; 2])]| {
        all.extend(rows.iter().map(|&(name, c_in, c_out, kernel)| Convolution {
            name: [block, name].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("."),
            c_in,
            c_out,
            kernel,
        }));
    };
    add(
        "",
        &[
            ("Conv2d_1a_3x3", 3, 32, [3, 3]),
            ("Conv2d_2a_3x3", 32, 32, [3, 3]),
            ("Conv2d_2b_3x3", 32, 64, [3, 3]),
            ("Conv2d_3b_1x1", 64, 80, [1, 1]),
            ("Conv2d_4a_3x3", 80, 192, [3, 3]),
        ],
    );
    for (block, c_in, pooled) in [("Mixed_5b", 192, 32), ("Mixed_5c", 256, 64), ("Mixed_5d", 288, 64)] {
        add(
            block,
            &[
                ("branch1x1", c_in, 64, [1, 1]),
                ("branch5x5_1", c_in, 48, [1, 1]),
                ("branch5x5_2", 48, 64, [5, 5]),
                ("branch3x3dbl_1", c_in, 64, [1, 1]),
                ("branch3x3dbl_2", 64, 96, [3, 3]),
                ("branch3x3dbl_3", 96, 96, [3, 3]),
                ("branch_pool", c_in, pooled, [1, 1]),
            ],
        );
    }
    add(
        "Mixed_6a",
        &[
            ("branch3x3", 288, 384, [3, 3]),
            ("branch3x3dbl_1", 288, 64, [1, 1]),
            ("branch3x3dbl_2", 64, 96, [3, 3]),
            ("branch3x3dbl_3", 96, 96, [3, 3]),
        ],
    );
    for (block, c) in [("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)] {
        add(
            block,
            &[
                ("branch1x1", 768, 192, [1, 1]),
                ("branch7x7_1", 768, c, [1, 1]),
                ("branch7x7_2", c, c, [1, 7]),
                ("branch7x7_3", c, 192, [7, 1]),
                ("branch7x7dbl_1", 768, c, [1, 1]),
                ("branch7x7dbl_2", c, c, [7, 1]),
                ("branch7x7dbl_3", c, c, [1, 7]),
                ("branch7x7dbl_4", c, c, [7, 1]),
                ("branch7x7dbl_5", c, 192, [1, 7]),
                ("branch_pool", 768, 192, [1, 1]),
            ],
        );
    }
    add(
        "Mixed_7a",
        &[
            ("branch3x3_1", 768, 192, [1, 1]),
            ("branch3x3_2", 192, 320, [3, 3]),
            ("branch7x7x3_1", 768, 192, [1, 1]),
            ("branch7x7x3_2", 192, 192, [1, 7]),
            ("branch7x7x3_3", 192, 192, [7, 1]),
            ("branch7x7x3_4", 192, 192, [3, 3]),
        ],
    );
    for (block, c_in) in [("Mixed_7b", 1280), ("Mixed_7c", 2048)] {
        add(
            block,
            &[
                ("branch1x1", c_in, 320, [1, 1]),
                ("branch3x3_1", c_in, 384, [1, 1]),
                ("branch3x3_2a", 384, 384, [1, 3]),
                ("branch3x3_2b", 384, 384, [3, 1]),
                ("branch3x3dbl_1", c_in, 448, [1, 1]),
                ("branch3x3dbl_2", 448, 384, [3, 3]),
                ("branch3x3dbl_3a", 384, 384, [1, 3]),
                ("branch3x3dbl_3b", 384, 384, [3, 1]),
                ("branch_pool", c_in, 192, [1, 1]),
            ],
        );
    }
    all
}

/// The parameters on the device: the weights and the bias of each convolution with its batch norm folded in, the last
/// layer, and the reciprocals of the numbers of pixels that averages have.
pub(super) fn layout() -> ParameterLayout {
    let mut layout = ParameterLayout::default();
    for Convolution { name, c_in, c_out, kernel: [kh, kw] } in convolutions() {
        let fans = Fans { fan_in: c_in * kh * kw, fan_out: c_out * kh * kw, bias: false };
        layout.push(format!("{name}.weight"), vec![kh, kw, c_in, c_out], fans);
        layout.push(format!("{name}.bias"), vec![c_out], Fans { bias: true, ..fans });
    }
    let fans = Fans { fan_in: FEATURES, fan_out: LOGITS, bias: false };
    layout.push(format!("{LAST}.weight"), vec![FEATURES, LOGITS], fans);
    for side in AVERAGED {
        let within = |at: usize| if at == 0 || at == side - 1 { 2.0 } else { 3.0 };
        let shares = (0..side * side).map(|i| 1.0 / (within(i / side) * within(i % side))).collect();
        layout.push(shares_of(side), vec![side * side], ParameterKind::Fixed(shares));
    }
    layout
}

/// The name of the reciprocals for images of a side.
pub(super) fn shares_of(side: usize) -> String {
    format!("shares of {side}x{side}")
}
