//! The residual gradient that a convolution's input gradient adds to its sums.

/// Whether and where a residual gradient is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Residual {
    /// Nowhere.
    #[default]
    None,
    /// To the masked sums: a network that activates before its convolutions.
    AfterMask,
    /// To the sums, before the mask: one that activates behind its additions.
    BeforeMask,
}
