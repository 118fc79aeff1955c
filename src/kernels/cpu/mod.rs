//! Host code that several twins share.

pub(super) mod conv2d;
mod lanes;
pub(super) mod logits;
pub(super) mod elementwise;
pub(super) mod row_softmax;
