//! The counters of random numbers on the device, and the kernel that increments them.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::{Access, Binding, Kernel, binding};

/// Words of the counters buffer: seed, iteration, SGLD step, reserved.
pub const COUNTERS: usize = 4;
/// The counter word of the run's seed.
pub const SEED: usize = 0;
/// The counter word of the training iteration.
pub const ITERATION: usize = 1;
/// The counter word of the SGLD steps taken since the run began.
pub const SGLD_STEP: usize = 2;

/// `counters[word] += 1`, wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// [`ITERATION`] or [`SGLD_STEP`].
    pub word: usize,
}

impl Tick {
    /// One instance.
    pub fn permutations() -> Vec<Self> {
        vec![Self { word: SGLD_STEP }]
    }
}

impl Kernel for Tick {
    fn name(&self) -> &'static str {
        "tick"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("counters", 1, Access::Update, COUNTERS)]
    }

    fn shader(&self) -> Shader {
        Shader::new("tick")
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.word as u32, 0, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [counters] = arguments else { unreachable!("tick binds counters") };
        let counter = &mut counters.u32_mut()[self.word];
        *counter = counter.wrapping_add(1);
    }
}
