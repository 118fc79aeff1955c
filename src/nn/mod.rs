//! Networks: parameters in one flat buffer, initialisations, layers, normalisations, the WideResNets of JEM,
//! ResNets, VGGs, optimizers, and training steps.

pub mod architecture;
pub mod batch_norm;
pub mod frozen;
pub mod group_norm;
pub mod ingredients;
pub mod init;
mod layered;
pub mod layers;
pub mod network;
pub mod normalised;
pub mod optimizer;
pub mod parameters;
pub mod resnet;
pub mod spectral_norm;
pub mod training;
pub mod vgg;
pub mod wide_resnet;
