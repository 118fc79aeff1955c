//! Networks: parameters in one flat buffer, initialisations, layers, normalisations, the WideResNet of JEM, the ResNets
//! of CIFAR, optimizers, and training steps.

pub mod architecture;
pub mod batch_norm;
pub mod cifar_resnet;
pub mod group_norm;
pub mod init;
pub mod layers;
pub mod network;
pub mod optimizer;
pub mod parameters;
pub mod spectral_norm;
pub mod training;
pub mod wide_resnet;
