//! Softmax and log-softmax along the last axis.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::cpu::elementwise::items_per_task;
use crate::compute::cpu::row_softmax::max_and_sum;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// `y [rows, cols] = exp(x) / Σ exp(x)` along each row, or its logarithm, computed from `x - max`.
/// A row of -inf alone, or with NaN, gives NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softmax {
    /// Rows.
    pub rows: usize,
    /// Columns, normalised.
    pub cols: usize,
    /// Writes the logarithm `x - ln Σ exp(x)`.
    pub log: bool,
}

impl Softmax {
    /// Short rows (a thread each) and long ones (64 threads each), plain and logarithmic.
    pub fn permutations() -> Vec<Self> {
        let both = |log| [Self { rows: 70, cols: 10, log }, Self { rows: 5, cols: 1000, log }];
        [both(false), both(true)].concat()
    }

    /// Threads of a row, of the 64 of a workgroup.
    fn width(&self) -> usize {
        if self.cols <= 32 { 1 } else { 64 }
    }
}

impl Kernel for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn bindings(&self) -> Vec<Binding> {
        let n = self.rows * self.cols;
        vec![binding("x", 1, Access::Read, n), binding("y", 2, Access::Write, n)]
    }

    fn shader(&self) -> Shader {
        Shader::new("softmax").with_u32("WIDTH", self.width() as u32).with_switch("LOG", self.log)
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.rows as u32, self.cols as u32, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid((self.rows * self.width()).div_ceil(64))
    }

    fn flops(&self) -> u64 {
        5 * (self.rows * self.cols) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [x, y] = arguments else { unreachable!("softmax binds x and y") };
        let rows = x.f32().par_chunks_exact(self.cols).with_min_len(items_per_task(self.cols));
        rows.zip(y.f32_mut().par_chunks_exact_mut(self.cols)).for_each(|(x, y)| {
            let (max, sum) = max_and_sum(x);
            if self.log {
                let log = sum.ln() as f32;
                y.iter_mut().zip(x).for_each(|(y, x)| *y = x - max - log);
            } else {
                let scale = (1.0 / sum) as f32;
                y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - max).exp() * scale);
            }
        });
    }
}
