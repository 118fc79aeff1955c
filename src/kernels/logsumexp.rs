//! `y = ln Σ exp(x)` along the last axis: minus the energy of a classifier's logits.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::cpu::row_softmax::max_and_sum;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `y [rows] = ln Σ exp(x [rows, cols])`, computed as `max + ln Σ exp(x - max)`. A row of -inf alone gives -inf, a row
/// with +inf gives +inf, and a row with NaN gives NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogSumExp {
    /// Rows.
    pub rows: usize,
    /// Columns, summed.
    pub cols: usize,
}

impl LogSumExp {
    /// Short rows (a thread each) and long ones (64 threads each).
    pub fn permutations() -> Vec<Self> {
        vec![Self { rows: 70, cols: 10 }, Self { rows: 5, cols: 1000 }]
    }

    /// Threads of a row, of the 64 of a workgroup.
    fn width(&self) -> usize {
        if self.cols <= 32 { 1 } else { 64 }
    }
}

impl Kernel for LogSumExp {
    fn name(&self) -> &'static str {
        "logsumexp"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("x", 1, Access::Read, self.rows * self.cols), binding("y", 2, Access::Write, self.rows)]
    }

    fn shader(&self) -> Shader {
        Shader::new("logsumexp").with_u32("WIDTH", self.width() as u32)
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.rows as u32, self.cols as u32, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid((self.rows * self.width()).div_ceil(64))
    }

    fn flops(&self) -> u64 {
        4 * (self.rows * self.cols) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, y] = arguments else { unreachable!("logsumexp binds x and y") };
        let rows = x.f32().par_chunks_exact(self.cols).with_min_len(items_per_task(self.cols));
        rows.zip(y.f32_mut()).for_each(|(x, y)| {
            let (max, sum) = max_and_sum(x);
            *y = (f64::from(max) + sum.ln()) as f32;
        });
    }
}
