//! Host code that several twins share.

pub(crate) mod conv2d;
pub(crate) mod elementwise;
mod lanes;
pub(crate) mod logits;
pub(crate) mod row_softmax;
