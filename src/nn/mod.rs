//! Networks: parameters in one flat buffer, initialisations, the WideResNet of JEM, the ResNets of CIFAR, and
//! optimizers.

pub mod architecture;
pub mod batch_norm;
pub mod cifar_resnet;
pub mod init;
pub mod optimizer;
pub mod parameters;
pub mod wide_resnet;
