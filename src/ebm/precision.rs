//! The precision that a run computes in.

use crate::compute::cooperative::Method;
use crate::device::Device;
use crate::named::named;
use crate::policy::convolution::ConvolutionPolicy;
use crate::self_test::usable_cooperative;

/// The storage of tensors between convolutions, and the arithmetic of convolutions. Parameters, their gradients, the
/// optimizer's state, images and all sums are always f32, and so are evaluation, scoring and sampling from a trained
/// model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32 everywhere.
    #[default]
    F32,
    /// f16 tensors and f16 copies of the weights, with gradients scaled by a power of two (Micikevicius et al. 2018,
    /// "Mixed precision training"). Cooperative matrices multiply them if the device's pass the test
    /// ([`crate::self_test::gate`]), else f32 arithmetic does.
    F16,
    /// f16 if cooperative matrices multiply it, else f32.
    Auto,
}

named!(Precision, "precision": F32 = "f32", F16 = "f16", Auto = "auto");

impl Precision {
    /// The choice of kernels on `device`, and a description of it.
    pub fn policy(self, device: &Device) -> (ConvolutionPolicy, String) {
        let policy = device.policy().clone();
        if self == Self::F32 {
            return (policy, "f32".into());
        }
        match (usable_cooperative(device), self) {
            (Ok(matrices), _) => {
                let method = Method::Cooperative(matrices);
                (policy.in_f16(method), format!("f16, multiplied by matrices {matrices}"))
            }
            (Err(reason), Self::F16) => {
                (policy.in_f16(Method::Scalar), format!("f16, multiplied in f32: {reason}"))
            }
            (Err(reason), _) => (policy, format!("f32, not f16: {reason}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::storage::Storage;

    #[test]
    fn a_device_without_matrices_says_why() {
        let cpu = Device::cpu();
        let (policy, words) = Precision::Auto.policy(&cpu);
        assert_eq!((policy.storage(), policy.method()), (Storage::F32, Method::Scalar));
        assert!(words.starts_with("f32, not f16: ") && words.contains("offers no matrices"), "{words}");
        let (policy, words) = Precision::F16.policy(&cpu);
        assert_eq!((policy.storage(), policy.method()), (Storage::F16, Method::Scalar));
        assert!(words.starts_with("f16, multiplied in f32: "), "{words}");
        assert_eq!(Precision::F32.policy(&cpu).1, "f32");
    }
}
