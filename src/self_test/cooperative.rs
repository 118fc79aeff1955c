//! Whether a device's cooperative matrices multiply right: the gate before any program may use them.
//!
//! They are an experimental feature of wgpu. naga 30.0.1 declares Vulkan's memory model for these shaders, but marks
//! no access to workgroup memory as `NonPrivate` and no barrier as one that makes writes available and visible, so a
//! driver that goes by the letter may let a subgroup read what another's write has not reached. Such a fault would
//! show as sums that differ from run to run, or from those in f32. The conversion to f16 may round another way too.

use super::{input, largest_difference, outputs};
use crate::device::Device;
use crate::error::Result;
use crate::kernels::Kernel;
use crate::kernels::conv_geometry::ConvGeometry;
use crate::kernels::conv2d::Conv2d;
use crate::kernels::conv2d_input_gradient::{Conv2dInputGradient, Residual};
use crate::kernels::conv2d_weight_gradient::Conv2dWeightGradient;
use crate::kernels::cooperative::{Cooperative, Method};
use crate::kernels::half::{Storage, Storages, round_to_f16};
use std::sync::Arc;

/// Σ(a-b)²/Σb² beside f32: sums of some hundred products, exact in f32, in another order. Operands cut to f16
/// instead of rounded make 5e-7, sums in f16 no less.
const BOUND: f64 = 1e-10;

/// Runs of each convolution, which must agree in every bit.
const REPEATS: usize = 3;

/// What came of the convolutions by one shape of matrices.
#[derive(Debug, Clone, PartialEq)]
pub struct CooperativeResult {
    /// The matrices.
    pub matrices: Cooperative,
    /// Convolutions that were run.
    pub variants: usize,
    /// The largest Σ(a-b)²/Σb² beside the kernel in f32 on operands rounded to f16.
    pub error: f64,
    /// Why these matrices may not be used.
    pub refused: Option<String>,
}

impl CooperativeResult {
    /// Whether programs may multiply by these matrices.
    pub fn passed(&self) -> bool {
        self.refused.is_none()
    }

    /// The result in words.
    pub fn outcome(&self) -> String {
        match &self.refused {
            Some(message) => format!("not to be used: {message}"),
            None => format!("error {:.1e}", self.error),
        }
    }
}

/// Tries all convolutions by every shape of matrices that `device` offers.
pub fn cooperative(device: &Device) -> Vec<CooperativeResult> {
    device.cooperative().iter().map(|&matrices| attempt(device, matrices)).collect()
}

/// The matrices by which programs may multiply on `device`, or why none; they are tried once for each device that
/// was opened.
///
/// # Errors
/// The reason, in words.
pub fn usable_cooperative(device: &Device) -> std::result::Result<Cooperative, String> {
    match device.gate() {
        Some(gate) => gate.get_or_init(|| first_usable(device)).clone(),
        None => first_usable(device),
    }
}

fn first_usable(device: &Device) -> std::result::Result<Cooperative, String> {
    let mut reason = "the device offers no matrices of f16 with sums in f32".to_owned();
    for result in cooperative(device) {
        match result.refused {
            None => return Ok(result.matrices),
            Some(message) => reason = format!("{}: {message}", result.matrices),
        }
    }
    Err(reason)
}

fn attempt(device: &Device, matrices: Cooperative) -> CooperativeResult {
    let mut result = CooperativeResult { matrices, variants: 0, error: 0.0, refused: None };
    let by_matrices = convolutions(Method::Cooperative(matrices));
    for (kernel, scalar) in by_matrices.iter().zip(&convolutions(Method::Scalar)) {
        result.variants += 1;
        let failed = match compare(device, kernel, scalar) {
            Err(error) => Some(error.to_string()),
            Ok(None) => Some("runs differ".to_owned()),
            Ok(Some(error)) => {
                result.error = result.error.max(error);
                (error > BOUND).then(|| format!("error {error:.1e} over {BOUND:.0e}"))
            }
        };
        if let Some(message) = failed {
            result.refused = Some(format!("{}: {message}", kernel.name()));
            break;
        }
    }
    result
}

/// Each direction on two shapes: in f16 as programs have it, and in f32 with a stride and channels that fill no matrix;
/// with many workgroups, as a fault of ordering wants company. (A sign mask may rightly differ where a sum is near 0.)
fn convolutions(method: Method) -> Vec<Arc<dyn Kernel>> {
    let shape = |c_in, c_out, stride| ConvGeometry {
        n: 4,
        h: 16,
        w: 16,
        c_in,
        c_out,
        kh: 3,
        kw: 3,
        stride,
        padding: 1,
    };
    let mut all: Vec<Arc<dyn Kernel>> = Vec::new();
    for (geometry, storage) in [(shape(48, 80, 1), Storages::F16), (shape(36, 20, 2), Storages::default())] {
        let activated = Some(0.2);
        let mask = false;
        all.push(Arc::new(Conv2d {
            bias: true,
            residual: true,
            activated,
            mask,
            method,
            storage,
            ..Conv2d::new(geometry)
        }));
        all.push(Arc::new(Conv2dInputGradient {
            mask: activated,
            residual: Residual::AfterMask,
            method,
            storage,
            ..Conv2dInputGradient::new(geometry)
        }));
        all.push(Arc::new(Conv2dWeightGradient {
            splits: 4,
            method,
            storage: Storages { c: Storage::F32, ..storage },
            ..Conv2dWeightGradient::new(geometry)
        }));
    }
    all
}

/// The largest difference of an output from that of `scalar` on operands rounded to f16; `None` if runs differ.
fn compare(device: &Device, kernel: &Arc<dyn Kernel>, scalar: &Arc<dyn Kernel>) -> Result<Option<f64>> {
    let found = outputs(device, kernel, input)?;
    for _ in 1..REPEATS {
        if outputs(device, kernel, input)? != found {
            return Ok(None);
        }
    }
    let operands: Vec<_> = kernel.bindings().iter().take(2).map(|binding| binding.name).collect();
    let rounded = |name: &str, i: usize| match operands.contains(&name) {
        true => round_to_f16(f32::from_bits(input(name, i))).to_bits(),
        false => input(name, i),
    };
    let expected = outputs(device, scalar, rounded)?;
    Ok(Some(largest_difference(&found, &expected)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The twins round to f16 as the kernels do: the same comparison on the host, where any matrices will do.
    #[test]
    fn the_twins_pass() {
        let matrices = Cooperative { size: 16, subgroup: 32, quads: true };
        let result = attempt(&Device::cpu(), matrices);
        assert!(result.passed(), "{}", result.outcome());
        assert_eq!(result.variants, 6);
        assert_eq!(result.error, 0.0);
        assert!(usable_cooperative(&Device::cpu()).unwrap_err().contains("offers no matrices"));
    }

    #[test]
    fn sums_of_unrounded_operands_do_not_pass() {
        // Operands that lie in f16 are rounded already.
        let in_f32 = |kernel: &Arc<dyn Kernel>| kernel.bindings()[0].storage == Storage::F32;
        let scalar: Vec<_> = convolutions(Method::Scalar).into_iter().filter(in_f32).collect();
        assert_eq!(scalar.len(), 3);
        for kernel in &scalar {
            let error = compare(&Device::cpu(), kernel, kernel).unwrap().unwrap();
            assert!(error > 100.0 * BOUND, "{}: {error:e}", kernel.name());
        }
    }
}
