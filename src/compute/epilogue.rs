//! The residual gradient that a convolution's input gradient adds to its sums.

/// Whether and where a residual gradient is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Residual {
    /// No residual gradient.
    #[default]
    None,
    /// To the masked sums, for a network that activates before its convolutions.
    AfterMask,
    /// To the sums, before the mask, for a network that activates after its additions.
    BeforeMask,
}
