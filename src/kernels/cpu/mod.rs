//! Host code that several twins share.

pub(super) mod conv2d;
pub(super) mod logits;
