//! `C = op(A) op(B) + bias`, row-major.

use crate::compute::Argument;
use crate::compute::Shader;
use crate::compute::{Access, Binding, Kernel, binding, grid};
use rayon::prelude::*;

/// A matrix product: `C [m, n] = op(A) op(B)`, plus `bias [n]` in every row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matmul {
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// The summed length.
    pub k: usize,
    /// A is stored `[k, m]` instead of `[m, k]`.
    pub transpose_a: bool,
    /// B is stored `[n, k]` instead of `[k, n]`.
    pub transpose_b: bool,
    /// Adds `bias [n]`.
    pub bias: bool,
}

/// Rows and columns of C that one workgroup of the shader computes.
const TILE: usize = 64;

impl Matmul {
    /// Both layouts of both matrices, with and without bias.
    pub fn permutations() -> Vec<Self> {
        let switches = |i: usize| (i & 1 != 0, i & 2 != 0, i & 4 != 0);
        let with =
            |(transpose_a, transpose_b, bias)| Self { m: 70, n: 33, k: 50, transpose_a, transpose_b, bias };
        (0..8).map(switches).map(with).collect()
    }

    /// The twin: B packed in panels of [`NR`] columns, a register tile of [`MR`] x [`NR`] sums.
    pub(super) fn multiply(&self, a: &[f32], b: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let (n, k) = (self.n, self.k);
        let panels = self.packed_b(b);
        y.par_chunks_mut(MR * n).enumerate().for_each_init(
            || vec![0.0; MR * k],
            |rows, (block, y)| {
                self.pack_rows(a, block * MR, rows);
                for (panel, weights) in panels.chunks_exact(NR * k).enumerate() {
                    let sums = tile(rows, weights);
                    let columns = panel * NR..n.min(panel * NR + NR);
                    for (y, sums) in y.chunks_exact_mut(n).zip(&sums) {
                        let y = &mut y[columns.clone()];
                        match bias {
                            None => y.copy_from_slice(&sums[..y.len()]),
                            Some(bias) => {
                                let bias = &bias[columns.clone()];
                                y.iter_mut().zip(sums).zip(bias).for_each(|((y, s), b)| *y = s + b);
                            }
                        }
                    }
                }
            },
        );
    }

    /// op(B) as `[ceil(n / NR), k, NR]`, with zeros after the last column.
    fn packed_b(&self, b: &[f32]) -> Vec<f32> {
        let (n, k) = (self.n, self.k);
        let mut panels = vec![0.0; n.div_ceil(NR) * NR * k];
        panels.par_chunks_mut(NR * k).enumerate().for_each(|(panel, to)| {
            let columns = panel * NR..n.min(panel * NR + NR);
            if self.transpose_b {
                for (lane, column) in columns.enumerate() {
                    let to = to[lane..].iter_mut().step_by(NR);
                    to.zip(&b[column * k..][..k]).for_each(|(to, &b)| *to = b);
                }
            } else {
                for (to, b) in to.chunks_exact_mut(NR).zip(b.chunks_exact(n)) {
                    to[..columns.len()].copy_from_slice(&b[columns.clone()]);
                }
            }
        });
        panels
    }

    /// The rows `first ..` of op(A) as `[k, MR]`, with zeros after the last row.
    fn pack_rows(&self, a: &[f32], first: usize, to: &mut [f32]) {
        let (m, k) = (self.m, self.k);
        let rows = first..m.min(first + MR);
        to.fill(0.0);
        if self.transpose_a {
            for (to, a) in to.chunks_exact_mut(MR).zip(a.chunks_exact(m)) {
                to[..rows.len()].copy_from_slice(&a[rows.clone()]);
            }
        } else {
            for (lane, row) in rows.enumerate() {
                let to = to[lane..].iter_mut().step_by(MR);
                to.zip(&a[row * k..][..k]).for_each(|(to, &a)| *to = a);
            }
        }
    }
}

impl Kernel for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn bindings(&self) -> Vec<Binding> {
        let mut bindings = vec![
            binding("a", 1, Access::Read, self.m * self.k),
            binding("b", 2, Access::Read, self.k * self.n),
        ];
        bindings.extend(self.bias.then(|| binding("bias", 3, Access::Read, self.n)));
        bindings.push(binding("y", 4, Access::Write, self.m * self.n));
        bindings
    }

    fn shader(&self) -> Shader {
        Shader::new("matmul")
            .with_switch("TRANSPOSE_A", self.transpose_a)
            .with_switch("TRANSPOSE_B", self.transpose_b)
            .with_switch("BIAS", self.bias)
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.m as u32, self.n as u32, self.k as u32, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.m.div_ceil(TILE) * self.n.div_ceil(TILE))
    }

    fn flops(&self) -> u64 {
        (2 * self.m * self.n * self.k + if self.bias { self.m * self.n } else { 0 }) as u64
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let (inputs, y) = arguments.split_at_mut(2 + usize::from(self.bias));
        let (a, b) = (inputs[0].f32(), inputs[1].f32());
        let bias = self.bias.then(|| inputs[2].f32());
        self.multiply(a, b, bias, y[0].f32_mut());
    }
}

/// Rows of the twin's register tile.
const MR: usize = 4;
/// Columns of the twin's register tile: with [`MR`] it fills the sixteen vector registers of any x86.
const NR: usize = 8;

/// `Σ_k rows[k, i] panel[k, j]`.
fn tile(rows: &[f32], panel: &[f32]) -> [[f32; NR]; MR] {
    let (rows, _) = rows.as_chunks::<MR>();
    let (panel, _) = panel.as_chunks::<NR>();
    let mut sums = [[0.0; NR]; MR];
    for (a, b) in rows.iter().zip(panel) {
        for i in 0..MR {
            for j in 0..NR {
                sums[i][j] += a[i] * b[j];
            }
        }
    }
    sums
}
