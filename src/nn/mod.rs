//! Networks: parameters in one flat buffer, initialisations, the WideResNet of JEM, and optimizers.

pub mod init;
pub mod optimizer;
pub mod parameters;
pub mod wide_resnet;
