//! Host code that several twins share.

pub(super) mod conv2d;
pub(super) mod elementwise;
mod lanes;
pub(super) mod logits;
pub(super) mod row_softmax;
