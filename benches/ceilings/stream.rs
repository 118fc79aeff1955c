//! The probe of memory: a copy, a fill, and sums of what is read.

use jem::compute::Argument;
use jem::compute::Shader;
use jem::compute::{Access, Binding, Kernel, binding, elementwise_grid};
use rayon::prelude::*;

/// Words that one sum adds, in 8 steps of a vec4.
const SUMMED: usize = 32;
/// Words of a workgroup's sums.
const GROUP: usize = 256 * SUMMED;
/// The value that a fill writes, and that is added to every sum.
const VALUE: u32 = 0x1234_5678;

/// The traffic of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Reads and writes.
    Copy,
    /// Writes alone.
    Fill,
    /// Reads, and a 32nd of writes.
    Sums,
}

/// Moves words from `x` to `y`, to `y`, or out of `x`.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// The traffic.
    pub traffic: Traffic,
    /// Words of a big tensor, a multiple of 8192.
    pub words: usize,
}

impl Stream {
    /// Word `i` of `x`.
    pub fn word(i: usize) -> u32 {
        (i as u32).wrapping_mul(2_654_435_761)
    }

    /// Words of `y`.
    fn written(&self) -> usize {
        if self.traffic == Traffic::Sums { self.words / SUMMED } else { self.words }
    }

    /// The value that word `i` of `y` must have.
    fn expected(&self, i: usize) -> u32 {
        match self.traffic {
            Traffic::Copy => Self::word(i),
            Traffic::Fill => VALUE,
            Traffic::Sums => {
                let first = i / 256 * GROUP + i % 256 * 4;
                let summed = (0..SUMMED).map(|k| Self::word(first + k / 4 * 1024 + k % 4));
                summed.fold(VALUE, u32::wrapping_add)
            }
        }
    }

    /// Whether `part` may be the words of `y` from `first` on.
    pub fn is_right(&self, first: usize, part: &[u32]) -> bool {
        part.par_iter().enumerate().all(|(i, &word)| word == self.expected(first + i))
    }
}

impl Kernel for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn bindings(&self) -> Vec<Binding> {
        let y = binding("y", 2, Access::Write, self.written());
        match self.traffic {
            Traffic::Fill => vec![y],
            _ => vec![binding("x", 1, Access::Read, self.words), y],
        }
    }

    fn shader(&self) -> Shader {
        Shader::with_text("stream", include_str!("stream.wgsl"))
            .with_switch("COPY", self.traffic == Traffic::Copy)
            .with_switch("FILL", self.traffic == Traffic::Fill)
            .with_switch("SUMS", self.traffic == Traffic::Sums)
            .with_switch("VECTORS", self.traffic != Traffic::Sums)
    }

    fn uniforms(&self) -> Vec<u32> {
        let n = if self.traffic == Traffic::Sums { self.written() } else { self.words / 4 };
        vec![n as u32, VALUE, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        elementwise_grid(self.uniforms()[0] as usize)
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        // A part a thread, but no less than is worth waking one.
        let chunk = self.words.div_ceil(rayon::current_num_threads()).next_multiple_of(GROUP).max(2 * GROUP);
        match arguments {
            [y] => y.u32_mut().par_chunks_mut(chunk).for_each(|y| y.fill(VALUE)),
            [x, y] if self.traffic == Traffic::Copy => {
                let chunks = y.u32_mut().par_chunks_mut(chunk).zip(x.u32().par_chunks(chunk));
                chunks.for_each(|(y, x)| copy(x, y));
            }
            [x, y] => {
                let chunks = y.u32_mut().par_chunks_mut(chunk / SUMMED).zip(x.u32().par_chunks(chunk));
                chunks.for_each(|(y, x)| {
                    y.chunks_mut(256).zip(x.chunks(GROUP)).for_each(|(y, x)| sums(x, y));
                });
            }
            _ => unreachable!("stream binds y, or x and y"),
        }
    }
}

/// Tensors that stay in caches are copied by the page, through registers; the C library would pass longer copies around
/// the caches, which is best for tensors that do not fit.
fn copy(x: &[u32], y: &mut [u32]) {
    const CACHED: usize = 1 << 19;
    let part = if x.len() <= CACHED { 1024 } else { x.len() };
    y.chunks_mut(part).zip(x.chunks(part)).for_each(|(y, x)| y.copy_from_slice(x));
}

/// The 256 sums of a workgroup, eight at a time in registers.
fn sums(x: &[u32], y: &mut [u32]) {
    for (part, y) in y.chunks_exact_mut(8).enumerate() {
        let mut totals = [0u32; 32];
        for row in x.chunks_exact(GROUP / 8) {
            for (total, &word) in totals.iter_mut().zip(&row[32 * part..][..32]) {
                *total = total.wrapping_add(word);
            }
        }
        for (y, four) in y.iter_mut().zip(totals.chunks_exact(4)) {
            *y = four.iter().fold(VALUE, |sum, &word| sum.wrapping_add(word));
        }
    }
}
