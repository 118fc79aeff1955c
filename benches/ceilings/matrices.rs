//! The probe of cooperative matrices (tensor cores): products of f16 with sums in f32, next to no memory.

use super::Probe;
use jem::compute::Argument;
use jem::compute::Shader;
use jem::compute::cooperative::Cooperative;
use jem::compute::{Access, Binding, Kernel, binding, grid};

/// Products that every sum adds. Sums stay below 2^24, where f32 is exact, and pass 2048, where f16 is not: sums in
/// f16 would show.
const STEPS: usize = 1024;
/// Subgroups of a workgroup, as the convolutions have.
const SUBGROUPS: usize = 4;
/// The kernel is given it when it runs.
const FACTOR: f32 = 1.0;

/// `y[i]`: a part of the elements of the sums of thread i's workgroup.
#[derive(Debug, Clone, Copy)]
pub struct Matrices {
    /// Threads, a multiple of [`Matrices::threads`].
    pub n: usize,
    /// The matrices that are multiplied.
    pub matrices: Cooperative,
    /// Matrices A and B of a subgroup: one of [`Matrices::BLOCKS`].
    pub block: (usize, usize),
}

impl Matrices {
    /// The numbers of A and B that there are.
    pub const BLOCKS: [(usize, usize); 3] = [(2, 2), (4, 2), (4, 4)];

    /// Threads of a workgroup.
    pub fn threads(matrices: Cooperative) -> usize {
        SUBGROUPS * matrices.subgroup
    }

    /// Matrices that a subgroup sums.
    pub fn sums(&self) -> usize {
        self.block.0 * self.block.1
    }

    /// An element of all sums of a subgroup together.
    fn element(&self, m: usize, n: usize) -> usize {
        let a = |matrix: usize, k: usize| (matrix + m + 2 * k) % 3;
        let b = |matrix: usize, k: usize| (matrix + k * n) % 2;
        let product =
            |r: usize, c: usize| (0..self.matrices.size).map(|k| a(r, k) * b(c, k)).sum::<usize>() * STEPS;
        (0..self.block.0).map(|r| (0..self.block.1).map(|c| product(r, c)).sum::<usize>()).sum()
    }
}

impl Probe for Matrices {
    fn n(&self) -> usize {
        self.n
    }

    fn with_n(self, n: usize) -> Self {
        Self { n, ..self }
    }

    fn expected(&self) -> Vec<f32> {
        let (size, threads) = (self.matrices.size, Self::threads(self.matrices));
        let elements: Vec<usize> = (0..size * size).map(|i| self.element(i / size, i % size)).collect();
        let total = |thread: usize| {
            let own = (thread..SUBGROUPS * size * size).step_by(threads);
            own.map(|i| elements[i % elements.len()]).sum::<usize>() as f32
        };
        let workgroup: Vec<f32> = (0..threads).map(total).collect();
        workgroup.iter().copied().cycle().take(self.n).collect()
    }
}

impl Kernel for Matrices {
    fn name(&self) -> &'static str {
        "matrices"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("y", 1, Access::Write, self.n)]
    }

    fn shader(&self) -> Shader {
        let shader = Shader::with_text("matrices", include_str!("matrices.wgsl"));
        self.matrices
            .specialize(shader)
            .with_u32("THREADS", Self::threads(self.matrices) as u32)
            .with_u32("SUBGROUPS", SUBGROUPS as u32)
            .with_switch("A4", self.block.0 == 4)
            .with_switch("B4", self.block.1 == 4)
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.n as u32, STEPS as u32, FACTOR.to_bits(), 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        grid(self.n / Self::threads(self.matrices))
    }

    fn flops(&self) -> u64 {
        let products = self.n / self.matrices.subgroup * STEPS * self.sums();
        (2 * products * self.matrices.size.pow(3)) as u64
    }

    /// The results that a device must produce. The host has no such matrices and never runs this.
    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [y] = arguments else { unreachable!("matrices binds y") };
        y.f32_mut().copy_from_slice(&self.expected());
    }
}
