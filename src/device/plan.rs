//! The liveness plan: transient slots whose lives do not overlap share a memory block.
//!
//! Blocks are whole buffers, not ranges of an arena: a buffer cannot be bound for reading and writing in
//! one dispatch, and barriers are per buffer.

use super::slot::{Dispatch, Slot, SlotKind};

/// The memory block of each slot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The block of each slot; `None` for external slots and for slots that nothing binds.
    pub block_of: Vec<Option<usize>>,
    /// The bytes of each block.
    pub blocks: Vec<u64>,
}

/// Assigns blocks greedily, in the order of first use: the smallest free block that is large enough, else
/// the largest free one, grown, else a new one.
pub fn plan(slots: &[Slot], dispatches: &[Dispatch]) -> Plan {
    let mut last_use = vec![None; slots.len()];
    for (step, dispatch) in dispatches.iter().enumerate() {
        for view in &dispatch.views {
            last_use[view.slot.0] = Some(step);
        }
    }
    let mut result = Plan { block_of: vec![None; slots.len()], blocks: Vec::new() };
    let mut free: Vec<usize> = Vec::new();
    for (step, dispatch) in dispatches.iter().enumerate() {
        for view in &dispatch.views {
            let slot = view.slot.0;
            if slots[slot].kind == SlotKind::Transient && result.block_of[slot].is_none() {
                let block = take(&mut free, &mut result.blocks, slots[slot].bytes);
                result.block_of[slot] = Some(block);
            }
        }
        let mut ended: Vec<usize> = dispatch
            .views
            .iter()
            .map(|view| view.slot.0)
            .filter(|&slot| slots[slot].kind == SlotKind::Transient && last_use[slot] == Some(step))
            .filter_map(|slot| result.block_of[slot])
            .collect();
        ended.sort_unstable();
        ended.dedup();
        free.extend(ended);
    }
    result
}

fn take(free: &mut Vec<usize>, blocks: &mut Vec<u64>, bytes: u64) -> usize {
    let fitting = (0..free.len()).filter(|&i| blocks[free[i]] >= bytes).min_by_key(|&i| blocks[free[i]]);
    let chosen = fitting.or_else(|| (0..free.len()).max_by_key(|&i| blocks[free[i]]));
    let block = chosen.map_or(blocks.len(), |i| free.swap_remove(i));
    if block == blocks.len() {
        blocks.push(bytes);
    }
    blocks[block] = blocks[block].max(bytes);
    block
}
