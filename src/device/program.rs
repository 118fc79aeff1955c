//! Programs as data: a list of kernel dispatches over numbered buffer slots.
//!
//! A program is built once and replayed. It can be printed, counted ([`Program::summary`]), and run by
//! either device.

use super::buffers::{Element, Key};
use super::plan::{Plan, plan};
use super::slot::{Dispatch, Slot, SlotId, SlotKind, View};
use crate::compute::{Access, Kernel, VIEW_ALIGNMENT};
use crate::error::{Error, Result};
use std::sync::Arc;

/// A list of dispatches over slots, with the memory plan of its transient slots.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program's name in errors and profiles.
    pub name: String,
    /// All slots, by [`SlotId`].
    pub slots: Vec<Slot>,
    /// The dispatches, in order.
    pub dispatches: Vec<Dispatch>,
    /// The memory block of each transient slot.
    pub plan: Plan,
}

/// Builds a [`Program`] dispatch by dispatch.
#[derive(Debug, Clone)]
pub struct ProgramBuilder {
    name: String,
    slots: Vec<Slot>,
    dispatches: Vec<Dispatch>,
}

impl ProgramBuilder {
    /// An empty program.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), slots: Vec::new(), dispatches: Vec::new() }
    }

    /// The external slot of `key`, of `words` 32-bit words; the same key gives the same slot, which grows to the
    /// largest size that is requested.
    pub fn external<T: Element>(&mut self, key: Key<T>, words: usize) -> View {
        self.external_named(key.name(), words)
    }

    /// [`ProgramBuilder::external`] for a name that is made at run time.
    pub fn external_named(&mut self, name: &str, words: usize) -> View {
        let bytes = words as u64 * 4;
        let found = self.slots.iter().position(|s| s.kind == SlotKind::External && s.name == name);
        let slot = found.unwrap_or_else(|| {
            self.slots.push(Slot { name: name.to_owned(), bytes, kind: SlotKind::External });
            self.slots.len() - 1
        });
        self.slots[slot].bytes = self.slots[slot].bytes.max(bytes);
        View { slot: SlotId(slot), offset: 0, bytes }
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the program has the external slot `name`.
    pub fn has_external(&self, name: &str) -> bool {
        self.slots.iter().any(|slot| slot.kind == SlotKind::External && slot.name == name)
    }

    /// A fresh transient slot of `words` 32-bit words.
    pub fn transient(&mut self, name: impl Into<String>, words: usize) -> View {
        let bytes = words as u64 * 4;
        self.slots.push(Slot { name: name.into(), bytes, kind: SlotKind::Transient });
        View { slot: SlotId(self.slots.len() - 1), offset: 0, bytes }
    }

    /// Appends a dispatch.
    ///
    /// # Panics
    /// If the views do not fit the kernel's bindings, or bind one slot both for reading and for
    /// writing: bugs in the caller.
    pub fn dispatch<K: Kernel + 'static>(&mut self, label: impl Into<String>, kernel: K, views: &[View]) {
        self.dispatch_shared(label, Arc::new(kernel), views);
    }

    /// [`ProgramBuilder::dispatch`] for a kernel that is already shared.
    pub fn dispatch_shared(&mut self, label: impl Into<String>, kernel: Arc<dyn Kernel>, views: &[View]) {
        let label = label.into();
        let bindings = kernel.bindings();
        let name = kernel.name();
        assert_eq!(bindings.len(), views.len(), "{name} ({label}): {} bindings", bindings.len());
        for (binding, view) in bindings.iter().zip(views) {
            let slot = &self.slots[view.slot.0];
            assert_eq!(view.offset % VIEW_ALIGNMENT, 0, "{name} ({label}): {} is unaligned", binding.name);
            assert!(
                view.offset + view.bytes <= slot.bytes && binding.words as u64 * 4 <= view.bytes,
                "{name} ({label}): {} needs {} words of {} ({} bytes)",
                binding.name,
                binding.words,
                slot.name,
                slot.bytes
            );
        }
        let written = |access: Access| access != Access::Read;
        for (i, (a, view_a)) in bindings.iter().zip(views).enumerate() {
            for (b, view_b) in bindings.iter().zip(views).skip(i + 1) {
                assert!(
                    view_a.slot != view_b.slot || !(written(a.access) || written(b.access)),
                    "{name} ({label}): {} and {} share {}",
                    a.name,
                    b.name,
                    self.slots[view_a.slot.0].name
                );
            }
        }
        self.dispatches.push(Dispatch { kernel, views: views.to_vec(), label });
    }

    /// Plans the memory and closes the program.
    pub fn finish(self) -> Program {
        let plan = plan(&self.slots, &self.dispatches);
        Program { name: self.name, slots: self.slots, dispatches: self.dispatches, plan }
    }
}

impl View {
    /// The part from word `first`, `words` long.
    ///
    /// # Panics
    /// If the part is not inside the view.
    pub fn part(self, first: usize, words: usize) -> Self {
        let (offset, bytes) = (first as u64 * 4, words as u64 * 4);
        assert!(offset + bytes <= self.bytes, "a part outside its view");
        Self { slot: self.slot, offset: self.offset + offset, bytes }
    }
}

/// The cost of a program, counted from its dispatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Kernel dispatches.
    pub dispatches: usize,
    /// Floating-point operations (a multiply-add counts 2).
    pub flops: u64,
    /// Bytes read and written, each binding counted once a dispatch.
    pub bytes_moved: u64,
    /// Bytes of the transient blocks.
    pub transient_bytes: u64,
    /// Bytes of the external buffers.
    pub external_bytes: u64,
    /// Bytes of all buffers while the program runs.
    pub peak_bytes: u64,
}

impl Program {
    /// Operations of the convolutions, counted directly: each as one product of matrices, whatever is fused to it.
    /// Convolutions by Winograd's kernels do not count.
    pub fn convolution_flops(&self) -> u64 {
        let convolutions = self.dispatches.iter().filter_map(|dispatch| dispatch.kernel.convolution());
        convolutions.map(|shape| shape.geometry.flops()).sum()
    }

    /// Whether slot `id` gets its buffer when the program is loaded.
    pub(super) fn is_external(&self, id: SlotId) -> bool {
        self.slots[id.0].kind == SlotKind::External
    }

    /// The first dispatch that binds slot `id`, and what it does to it.
    pub(super) fn first_use(&self, id: SlotId) -> Option<(&Dispatch, Access)> {
        self.dispatches.iter().find_map(|dispatch| {
            let bindings = dispatch.kernel.bindings();
            let bound = bindings.iter().zip(&dispatch.views).find(|(_, view)| view.slot == id);
            bound.map(|(binding, _)| (dispatch, binding.access))
        })
    }

    /// The index of the first dispatch that writes one of the external slots `names`; the number of dispatches if none
    /// does.
    pub fn first_write(&self, names: &[&str]) -> usize {
        let is_one = |id: SlotId| self.is_external(id) && names.contains(&self.slots[id.0].name.as_str());
        let writes = |dispatch: &Dispatch| {
            let bindings = dispatch.kernel.bindings();
            let mut bound = bindings.iter().zip(&dispatch.views);
            bound.any(|(binding, view)| binding.access != Access::Read && is_one(view.slot))
        };
        self.dispatches.iter().position(writes).unwrap_or(self.dispatches.len())
    }

    /// The slots that get their buffers when the program is loaded.
    pub fn externals(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.kind == SlotKind::External)
    }

    /// Counts dispatches, FLOPs, bytes moved and peak bytes.
    pub fn summary(&self) -> Summary {
        let moved = |d: &Dispatch| d.kernel.bindings().iter().map(|b| 4 * b.moved as u64).sum::<u64>();
        let transient_bytes = self.plan.blocks.iter().sum();
        let external_bytes = self.externals().map(|slot| slot.bytes).sum();
        Summary {
            dispatches: self.dispatches.len(),
            flops: self.dispatches.iter().map(|d| d.kernel.flops()).sum(),
            bytes_moved: self.dispatches.iter().map(moved).sum(),
            transient_bytes,
            external_bytes,
            peak_bytes: transient_bytes + external_bytes,
        }
    }

    /// The error for slot `index` exceeding a limit of a device.
    pub(crate) fn limit_error(&self, index: usize, device: &str, limit: &'static str, allows: u64) -> Error {
        let slot = &self.slots[index];
        Error::Limit {
            tensor: slot.name.clone(),
            program: self.name.clone(),
            needs: slot.bytes,
            allows,
            device: device.to_owned(),
            limit,
        }
    }

    /// The external slots' buffers from `externals`, by slot; `None` for transient slots.
    pub(crate) fn bind<'a, B>(
        &self,
        externals: &[(&str, &'a B)],
        bytes_of: impl Fn(&B) -> u64,
    ) -> Result<Vec<Option<&'a B>>> {
        let find = |slot: &Slot| -> Result<Option<&'a B>> {
            if slot.kind == SlotKind::Transient {
                return Ok(None);
            }
            let error = |message: String| Error::Binding {
                program: self.name.clone(),
                buffer: slot.name.clone(),
                message,
            };
            let (_, buffer) = externals
                .iter()
                .find(|(name, _)| *name == slot.name)
                .ok_or_else(|| error("was not given".into()))?;
            if bytes_of(buffer) < slot.bytes {
                return Err(error(format!("has {} bytes, needs {}", bytes_of(buffer), slot.bytes)));
            }
            Ok(Some(buffer))
        };
        self.slots.iter().map(find).collect()
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        write!(
            f,
            "{} dispatches, {:.3} GFLOP, {:.1} MiB moved, peak {:.1} MiB ({:.1} transient + {:.1} external)",
            self.dispatches,
            self.flops as f64 / 1e9,
            mib(self.bytes_moved),
            mib(self.peak_bytes),
            mib(self.transient_bytes),
            mib(self.external_bytes)
        )
    }
}

impl std::fmt::Display for Program {
    /// One line a dispatch: label, kernel, and the slots it binds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}", self.name, self.summary())?;
        for dispatch in &self.dispatches {
            write!(f, "  {:<32} {:<24}", dispatch.label, dispatch.kernel.name())?;
            for (binding, view) in dispatch.kernel.bindings().iter().zip(&dispatch.views) {
                let arrow = if binding.access == Access::Read { "" } else { "->" };
                write!(f, " {arrow}{}", self.slots[view.slot.0].name)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::replay_gather::ReplayGather;
    use crate::kernels::replay_scatter::ReplayScatter;
    use crate::kernels::unary::{Unary, UnaryOp};

    #[test]
    fn a_summary_counts_what_a_gather_moves_and_not_what_it_could() {
        let (batch, size, image) = (2, 1000, 64);
        let mut builder = ProgramBuilder::new("chains");
        let buffer = builder.external_named("buffer", size * image);
        let indices = builder.external_named("indices", batch);
        let counters = builder.external_named("counters", 4);
        let x = builder.transient("x", batch * image);
        let y = builder.transient("y", batch * image);
        let gather = ReplayGather { batch, size, image, reinitialise: 0.0, fresh: false };
        builder.dispatch("gather", gather, &[buffer, indices, counters, x]);
        let twice = Unary { op: UnaryOp::Affine(2.0, 0.0), n: batch * image };
        builder.dispatch("twice", twice, &[x, y]);
        builder.dispatch("scatter", ReplayScatter { batch, size, image }, &[y, indices, buffer]);
        let summary = builder.finish().summary();
        assert_eq!(summary.dispatches, 3);
        assert_eq!(summary.flops, twice.flops());
        // Each of the three reads a batch and writes one; two read indices, one reads counters.
        assert_eq!(summary.bytes_moved, 4 * (6 * batch * image + 2 * batch + 4) as u64);
        assert_eq!(summary.external_bytes, 4 * (size * image + batch + 4) as u64);
        assert!(summary.transient_bytes >= 8 * (batch * image) as u64);
    }
}
