//! The CPU twins of the three convolution kernels.

use crate::device::cpu::Argument;
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::Conv2dInputGradient;
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;

pub fn forward(_kernel: &Conv2d, _arguments: &mut [Argument<'_>]) {
    unimplemented!()
}

pub fn input_gradient(_kernel: &Conv2dInputGradient, _arguments: &mut [Argument<'_>]) {
    unimplemented!()
}

pub fn weight_gradient(_kernel: &Conv2dWeightGradient, _arguments: &mut [Argument<'_>]) {
    unimplemented!()
}
