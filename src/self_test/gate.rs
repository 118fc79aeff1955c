//! The gate: a test that a device's cooperative matrices must pass before any program may use them.
//!
//! They are an experimental feature of wgpu. Drivers have crashed on them, and naga 30.0.1's SPIR-V lacks what
//! Vulkan's memory model requires of accesses to workgroup memory, so a driver that follows the model to the letter
//! may let a subgroup read before another's write has arrived. Such a fault shows as results that differ from run to
//! run, or from those of the scalar kernel. Therefore every tile that programs may choose runs in all three
//! directions, on a hardware device at the shapes of a WRN-28-10 with a batch of 64, [`REPEATS`] times, and every bit
//! of every run is compared on the device.
//!
//! A crash of the driver ends the process, so [`super::serve`] runs [`attempt`] in a child.

mod case;
mod runner;

use crate::compute::cooperative::{Cooperative, Method};
use crate::device::{AdapterKind, Device};
use crate::error::Error;
use crate::policy::implementation::fingerprint;
use case::{hardware_cases, small_cases};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Runs of each kernel, which must agree in every bit: on hardware, and on a driver that computes on the CPU.
pub const REPEATS: usize = 200;
const REPEATS_OF_SOFTWARE: usize = 3;

/// The version of the gate's test. Increase it with every change of the test, so that older answers do not count.
const VERSION: u32 = 1;

/// The gate's answer about matrices on a device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Kernels that passed.
    pub kernels: usize,
    /// Runs of each.
    pub repeats: usize,
    /// The largest Σ(a-b)²/Σb² beside the scalar kernel on operands rounded to f16.
    pub error: f64,
    /// Why these matrices may not be used; `None` if they may.
    pub refused: Option<String>,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Answer {
    /// A refusal for a reason outside the kernels.
    pub fn refusal(reason: String) -> Self {
        Self { refused: Some(reason), ..Self::default() }
    }
}

/// Why matrices did not pass.
#[derive(Debug, Clone, PartialEq)]
enum Failure {
    /// The driver fails on their kernels, and will again.
    Refused(String),
    /// The test could not be run, which says nothing about the driver.
    Untested(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = if error.is_out_of_memory() { Self::Untested } else { Self::Refused };
        kind(error.to_string())
    }
}

/// Runs every kernel of `matrices` on `device`, in this process. Calls `trying` with what it is about to compile or
/// run.
///
/// # Errors
/// A reason that says nothing about the matrices: too little memory, or a failure of the scalar kernel.
pub fn attempt(
    device: &Device,
    matrices: Cooperative,
    mut trying: impl FnMut(&str),
) -> Result<Answer, String> {
    let started = Instant::now();
    let hardware = device.adapter().is_some_and(|adapter| adapter.kind != AdapterKind::Software);
    let (cases, repeats) =
        if hardware { (hardware_cases(), REPEATS) } else { (small_cases(), REPEATS_OF_SOFTWARE) };
    let mut answer = Answer { repeats, ..Answer::default() };
    let mut place = String::new();
    let mut enter = |name: String| {
        trying(&name);
        place = name;
    };
    let run = || -> Result<(), Failure> {
        for case in cases {
            enter(case.name("in f32"));
            let expected = case.expected(device).map_err(|error| Failure::Untested(error.to_string()))?;
            enter(case.name("compiling every tile"));
            case.compile(device, matrices)?;
            for tile in case.tiles(matrices) {
                enter(case.name(&tile.to_string()));
                let error = case.compare(device, matrices, tile, &expected, repeats)?;
                answer.kernels += 1;
                answer.error = answer.error.max(error);
            }
        }
        Ok(())
    };
    let failure = run().err();
    answer.seconds = started.elapsed().as_secs_f64();
    match failure {
        None => Ok(answer),
        Some(Failure::Refused(reason)) => {
            Ok(Answer { refused: Some(format!("{place}: {reason}")), ..answer })
        }
        Some(Failure::Untested(reason)) => Err(format!("{place}: {reason}")),
    }
}

/// A digest of everything besides the driver on which an answer about `matrices` depends: the shaders' texts, the
/// SPIR-V that naga makes of them, and the version of the test.
pub fn digest(matrices: Cooperative, spirv: Option<(u8, u8)>) -> String {
    let mut digest = Md5::new();
    digest.update(format!("{VERSION} {matrices:?} {}", fingerprint()));
    let method = Method::Cooperative(matrices);
    for case in small_cases().iter().take(3) {
        let tile = case.tiles(matrices).first().map(|&tile| tile.into());
        let kernel = case.kernel(method, tile);
        let shader = kernel.shader();
        digest.update(shader.wgsl());
        if let Some(version) = spirv {
            let bindings: Vec<u32> =
                [0].into_iter().chain(kernel.bindings().iter().map(|b| b.index)).collect();
            digest.update(format!("{:?}", crate::device::spirv(&shader, &bindings, version)));
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::conv_tile::MatrixTile;

    const MATRICES: Cooperative = Cooperative::new(16, 32);

    /// The twins round to f16 as the kernels do, so the comparison runs on the host too, with any matrices.
    #[test]
    fn the_twins_pass() {
        let mut tried = Vec::new();
        let answer = attempt(&Device::cpu(), MATRICES, |what| tried.push(what.to_owned())).unwrap();
        assert_eq!(answer.refused, None);
        let tiles = MatrixTile::ALL.into_iter().filter(|tile| tile.fits(MATRICES)).count();
        assert_eq!((answer.kernels, answer.repeats), (3 * tiles + 3, REPEATS_OF_SOFTWARE));
        assert_eq!(answer.error, 0.0);
        assert_eq!(tried.len(), answer.kernels + 2 * small_cases().len());
        assert_eq!(
            tried[..3],
            ["in f32", "compiling every tile", "matrices 2x2"].map(|what| small_cases()[0].name(what))
        );
        assert_eq!(tried[2], "forward 4x16x16x48 -> 80, matrices 2x2");
    }

    #[test]
    fn too_little_memory_says_nothing_about_the_driver() {
        let failure = |message: &str| {
            let (device, what) = ("a GPU".to_owned(), "buffer a".to_owned());
            Failure::from(Error::Device { device, what, message: message.into() })
        };
        let full = failure(crate::error::OUT_OF_MEMORY);
        assert_eq!(full, Failure::Untested("a GPU: buffer a: the device is out of memory".into()));
        assert_eq!(failure("refused"), Failure::Refused("a GPU: buffer a: refused".into()));
    }

    #[test]
    fn digests_tell_variants_and_limits_apart() {
        use crate::compute::cooperative::Variant;
        let of = |matrices| digest(matrices, Some((1, 6)));
        assert_eq!(of(MATRICES), of(MATRICES));
        let digests: std::collections::HashSet<String> =
            Variant::ALL.map(|variant| of(Cooperative { variant, ..MATRICES })).into();
        assert_eq!(digests.len(), 4);
        assert_ne!(of(MATRICES), of(Cooperative { memory: 48 << 10, ..MATRICES }));
        assert_ne!(of(MATRICES), digest(MATRICES, Some((1, 5))));
    }
}
