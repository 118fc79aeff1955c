//! One buffer under two names.

use super::{Buffer, Program, SlotKind, View};
use crate::compute::Access;
use crate::error::{Error, Result};

/// Refuses one buffer under two names of one dispatch that writes to it: two references to the same words
/// on the host, a validation error on a GPU. (`ProgramBuilder` has refused it under one name.)
pub(super) fn check_aliases(program: &Program, externals: &[(&str, &Buffer)]) -> Result<()> {
    let given = |view: &View| externals.iter().find(|(name, _)| *name == program.slots[view.slot.0].name);
    for dispatch in &program.dispatches {
        let bindings = dispatch.kernel.bindings();
        let external = |view: &View| program.slots[view.slot.0].kind == SlotKind::External;
        let bound: Vec<_> = bindings
            .iter()
            .zip(&dispatch.views)
            .filter(|(_, view)| external(view))
            .filter_map(|(binding, view)| Some((binding, view.slot, given(view)?)))
            .collect();
        for (i, (a, slot_a, (name_a, buffer_a))) in bound.iter().enumerate() {
            for (b, slot_b, (name_b, buffer_b)) in &bound[i + 1..] {
                let written = a.access != Access::Read || b.access != Access::Read;
                if slot_a != slot_b && written && buffer_a.memory.is(&buffer_b.memory) {
                    return Err(Error::Binding {
                        program: program.name.clone(),
                        buffer: (*name_a).to_owned(),
                        message: format!(
                            "is also given as {name_b}, but kernel {} ({}) writes to one of them",
                            dispatch.kernel.name(),
                            dispatch.label
                        ),
                    });
                }
            }
        }
    }
    Ok(())
}
