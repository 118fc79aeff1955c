//! A kernel of the gate with its tensors, run once and again.

use crate::compute::half::round_to_f16;
use crate::compute::{Access, Binding, Kernel};
use crate::device::{Buffer, Device, ProgramBuilder, View};
use crate::error::Result;
use crate::kernels::fill::Fill;
use crate::kernels::mismatches::Mismatches;
use crate::self_test::{Contents, contents, random};
use std::sync::Arc;

/// Before each run every word of the results is set to this: a NaN in f32 and in f16.
pub const POISON: u32 = u32::MAX;

/// A kernel with its tensors.
pub struct CaseRunner<'a> {
    device: &'a Device,
    kernel: Arc<dyn Kernel>,
    /// A buffer for each binding.
    buffers: Vec<Buffer>,
}

impl<'a> CaseRunner<'a> {
    /// Fills the tensors that the kernel reads with random numbers, the two operands `rounded` to f16 if asked.
    pub fn new(device: &'a Device, kernel: Arc<dyn Kernel>, rounded: bool) -> Result<Self> {
        let bindings = kernel.bindings();
        let make = |(i, binding): (usize, &Binding)| {
            if binding.access != Access::Read {
                return device.buffer(binding.name, 4 * binding.words as u64);
            }
            let round = |x: f32| if rounded && i < 2 { round_to_f16(x) } else { x };
            let words = contents(binding, |i| round(random(binding.name, i)).to_bits());
            device.buffer_from(binding.name, &words)
        };
        let buffers = bindings.iter().enumerate().map(make).collect::<Result<_>>()?;
        Ok(Self { device, kernel, buffers })
    }

    /// The bindings that the kernel writes, with their buffers.
    fn written(&self) -> impl Iterator<Item = (Binding, &Buffer)> {
        let all = self.kernel.bindings().into_iter().zip(&self.buffers);
        all.filter(|(binding, _)| binding.access != Access::Read)
    }

    /// A program that poisons the results and runs the kernel, then `more`.
    fn program(&self, more: impl FnOnce(&mut ProgramBuilder, &[View])) -> ProgramBuilder {
        let mut builder = ProgramBuilder::new("gate");
        let bindings = self.kernel.bindings();
        let views: Vec<_> = bindings.iter().map(|b| builder.external_named(b.name, b.words)).collect();
        for (binding, view) in bindings.iter().zip(&views).filter(|(b, _)| b.access != Access::Read) {
            let fill = Fill { n: binding.words, value: f32::from_bits(POISON) };
            builder.dispatch("poison", fill, &[*view]);
        }
        builder.dispatch_shared(self.kernel.name(), Arc::clone(&self.kernel), &views);
        more(&mut builder, &views);
        builder
    }

    fn externals(&self) -> Vec<(&'static str, &Buffer)> {
        self.kernel.bindings().iter().map(|binding| binding.name).zip(&self.buffers).collect()
    }

    /// The results of a run.
    pub fn run_first(&self) -> Result<Vec<Contents>> {
        let program = self.program(|_, _| {}).finish();
        self.device.run(&self.device.load(program, &self.externals())?)?;
        self.written().map(|(binding, buffer)| Ok((binding.storage, self.device.read_as(buffer)?))).collect()
    }

    /// The number of words in `repeats` more runs that differ from those of `first`.
    pub fn repeat(&self, first: &[Contents], repeats: usize) -> Result<u64> {
        let count = |(binding, _): &(Binding, &Buffer)| Mismatches::new(binding.words);
        let kernels: Vec<Mismatches> = self.written().map(|written| count(&written)).collect();
        let names: Vec<[String; 2]> =
            (0..first.len()).map(|i| [format!("first {i}"), format!("counts {i}")]).collect();
        let mut extra = Vec::new();
        for ((names, (_, words)), kernel) in names.iter().zip(first).zip(&kernels) {
            extra.push((&*names[0], self.device.buffer_from(&names[0], words)?));
            extra.push((&*names[1], self.device.buffer(&names[1], 4 * kernel.counters as u64)?));
        }
        let program = self.program(|builder, views| {
            let written = self.kernel.bindings().into_iter().zip(views);
            let written = written.filter(|(binding, _)| binding.access != Access::Read);
            for (((_, view), kernel), names) in written.zip(&kernels).zip(&names) {
                let first = builder.external_named(&names[0], kernel.n);
                let counts = builder.external_named(&names[1], kernel.counters);
                builder.dispatch("compare", *kernel, &[*view, first, counts]);
            }
        });
        let mut externals = self.externals();
        externals.extend(extra.iter().map(|(name, buffer)| (*name, buffer)));
        let executable = self.device.load(program.finish(), &externals)?;
        for _ in 0..repeats {
            self.device.run(&executable)?;
        }
        let mut differing = 0;
        for (_, counts) in extra.iter().skip(1).step_by(2) {
            let counts: Vec<u32> = self.device.read_as(counts)?;
            differing += counts.iter().map(|&count| u64::from(count)).sum::<u64>();
        }
        Ok(differing)
    }
}
