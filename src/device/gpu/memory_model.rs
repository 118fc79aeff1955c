//! SPIR-V whose accesses to workgroup memory follow Vulkan's memory model to the letter.
//!
//! Modules with cooperative matrices declare the Vulkan memory model. Under it an access that other invocations may see
//! must be `NonPrivatePointer`, and a barrier orders such accesses only if it makes them available and visible (SPIR-V
//! specification, "Memory Operands" and "Memory Semantics"; Vulkan specification, appendix "Memory Model"). naga 30
//! writes neither. [`patch`] adds both.
//!
//! It also drops the explicit layout (`ArrayStride`, `Offset` and the like) of types that no buffer contains: naga
//! gives every type one, and Vulkan allows none in workgroup memory or in a function (VUID-StandaloneSpirv-None-10684).

use std::collections::{HashMap, HashSet};

const MAGIC: u32 = 0x0723_0203;
const HEADER: usize = 5;

/// Opcodes of the SPIR-V specification.
mod op {
    pub const TYPE_ARRAY: u32 = 28;
    pub const TYPE_RUNTIME_ARRAY: u32 = 29;
    pub const TYPE_STRUCT: u32 = 30;
    pub const TYPE_POINTER: u32 = 32;
    pub const CONSTANT: u32 = 43;
    pub const VARIABLE: u32 = 59;
    pub const FUNCTION_PARAMETER: u32 = 55;
    pub const LOAD: u32 = 61;
    pub const STORE: u32 = 62;
    pub const COPY_MEMORY: u32 = 63;
    pub const ACCESS_CHAIN: u32 = 65;
    pub const IN_BOUNDS_ACCESS_CHAIN: u32 = 66;
    pub const DECORATE: u32 = 71;
    pub const MEMBER_DECORATE: u32 = 72;
    pub const CONTROL_BARRIER: u32 = 224;
    pub const COOPERATIVE_LOAD: u32 = 4457;
    pub const COOPERATIVE_STORE: u32 = 4458;
}

const STORAGE_WORKGROUP: u32 = 4;
/// `Uniform`, `PushConstant` and `StorageBuffer`: the storage classes whose types have an explicit layout.
const STORAGE_OF_BUFFERS: [u32; 3] = [2, 9, 12];
/// `RowMajor`, `ColMajor`, `ArrayStride`, `MatrixStride` and `Offset`.
const DECORATIONS_OF_LAYOUT: [u32; 5] = [4, 5, 6, 7, 35];
const NON_PRIVATE_POINTER: u32 = 0x20;
/// `WorkgroupMemory` of a barrier's semantics.
const SEMANTICS_WORKGROUP: u32 = 0x100;
const MAKE_AVAILABLE_AND_VISIBLE: u32 = 0x2000 | 0x4000;

/// The module with every access to workgroup memory `NonPrivatePointer`, and every barrier for workgroup memory one
/// that makes available and visible.
///
/// # Errors
/// If the words are not a SPIR-V module, or copy workgroup memory in one instruction, which naga does not write.
pub fn patch(words: &[u32]) -> Result<Vec<u32>, String> {
    let instructions = instructions(words)?;
    let facts = Facts::of(&instructions);
    let mut bound = words[3];
    let mut semantics: HashMap<u32, u32> = HashMap::new();
    for instruction in &instructions {
        if let [head, _, _, id] = **instruction
            && opcode(head) == op::CONTROL_BARRIER
            && facts.constants.get(&id).is_some_and(|(_, value)| value & SEMANTICS_WORKGROUP != 0)
        {
            semantics.entry(id).or_insert_with(|| {
                bound += 1;
                bound - 1
            });
        }
    }
    let mut patched = words[..HEADER].to_vec();
    patched[3] = bound;
    for instruction in &instructions {
        let mut words = instruction.to_vec();
        match (opcode(words[0]), &words[1..]) {
            (op::DECORATE, &[ty, decoration, ..]) if facts.needs_no_layout(ty, decoration) => continue,
            (op::MEMBER_DECORATE, &[ty, _, decoration, ..]) if facts.needs_no_layout(ty, decoration) => {
                continue;
            }
            (op::LOAD, &[_, _, pointer, ..]) if facts.is_workgroup(pointer) => non_private(&mut words, 4),
            (op::STORE, &[pointer, ..]) if facts.is_workgroup(pointer) => non_private(&mut words, 3),
            // Type, result, pointer, layout and stride come first; pointer, object, layout and stride.
            (op::COOPERATIVE_LOAD, &[_, _, pointer, _, _, ..]) if facts.is_workgroup(pointer) => {
                non_private(&mut words, 6);
            }
            (op::COOPERATIVE_STORE, &[pointer, _, _, _, ..]) if facts.is_workgroup(pointer) => {
                non_private(&mut words, 5);
            }
            (op::COPY_MEMORY, &[to, from, ..]) if facts.is_workgroup(to) || facts.is_workgroup(from) => {
                return Err("the module has OpCopyMemory of workgroup memory, which cannot be patched".into());
            }
            (op::CONTROL_BARRIER, &[_, _, id]) => words[3] = *semantics.get(&id).unwrap_or(&id),
            _ => {}
        }
        words[0] = (words.len() as u32) << 16 | opcode(words[0]);
        patched.extend_from_slice(&words);
        if let (op::CONSTANT, &[ty, id, value]) = (opcode(words[0]), &words[1..])
            && let Some(&new) = semantics.get(&id)
        {
            patched.extend([4 << 16 | op::CONSTANT, ty, new, value | MAKE_AVAILABLE_AND_VISIBLE]);
        }
    }
    Ok(patched)
}

/// Adds the memory operand `NonPrivatePointer` to the mask in word `at`, which may be missing.
fn non_private(words: &mut Vec<u32>, at: usize) {
    match words.get_mut(at) {
        Some(mask) => *mask |= NON_PRIVATE_POINTER,
        None => words.push(NON_PRIVATE_POINTER),
    }
}

fn opcode(head: u32) -> u32 {
    head & 0xffff
}

/// The instructions of a module, each with its head word.
fn instructions(words: &[u32]) -> Result<Vec<&[u32]>, String> {
    if words.len() < HEADER || words[0] != MAGIC {
        return Err("not a SPIR-V module".into());
    }
    let mut rest = &words[HEADER..];
    let mut all = Vec::new();
    while let Some(&head) = rest.first() {
        let length = (head >> 16) as usize;
        if length == 0 || length > rest.len() {
            return Err(format!(
                "the module has an instruction of {length} words where {} are left",
                rest.len()
            ));
        }
        let (instruction, after) = rest.split_at(length);
        all.push(instruction);
        rest = after;
    }
    Ok(all)
}

/// The types and constants that decide which instructions change.
#[derive(Default)]
struct Facts {
    /// The storage class of each pointer type.
    storage: HashMap<u32, u32>,
    /// The type of each result that may be a pointer.
    types: HashMap<u32, u32>,
    /// Type and value of each 32-bit constant.
    constants: HashMap<u32, (u32, u32)>,
    /// The element or member types of each array or structure.
    parts: HashMap<u32, Vec<u32>>,
    /// Types in buffers, with all their parts.
    in_buffers: HashSet<u32>,
}

impl Facts {
    fn of(instructions: &[&[u32]]) -> Self {
        let mut facts = Self::default();
        let mut in_buffers = Vec::new();
        for instruction in instructions {
            match (opcode(instruction[0]), &instruction[1..]) {
                (op::TYPE_POINTER, &[id, class, target]) => {
                    facts.storage.insert(id, class);
                    if STORAGE_OF_BUFFERS.contains(&class) {
                        in_buffers.push(target);
                    }
                }
                (op::TYPE_STRUCT, [id, members @ ..]) => drop(facts.parts.insert(*id, members.to_vec())),
                (op::TYPE_ARRAY | op::TYPE_RUNTIME_ARRAY, &[id, element, ..]) => {
                    facts.parts.insert(id, vec![element]);
                }
                (op::CONSTANT, &[ty, id, value]) => drop(facts.constants.insert(id, (ty, value))),
                (
                    op::VARIABLE | op::FUNCTION_PARAMETER | op::ACCESS_CHAIN | op::IN_BOUNDS_ACCESS_CHAIN,
                    &[ty, id, ..],
                ) => drop(facts.types.insert(id, ty)),
                _ => {}
            }
        }
        while let Some(ty) = in_buffers.pop() {
            if facts.in_buffers.insert(ty) {
                in_buffers.extend(facts.parts.get(&ty).into_iter().flatten());
            }
        }
        facts
    }

    fn is_workgroup(&self, pointer: u32) -> bool {
        let class = self.types.get(&pointer).and_then(|ty| self.storage.get(ty));
        class == Some(&STORAGE_WORKGROUP)
    }

    /// Whether `decoration` gives `ty` a layout although no buffer contains `ty`.
    fn needs_no_layout(&self, ty: u32, decoration: u32) -> bool {
        let has_layout = self.parts.contains_key(&ty) && DECORATIONS_OF_LAYOUT.contains(&decoration);
        has_layout && !self.in_buffers.contains(&ty)
    }
}

#[cfg(test)]
mod tests {
    use super::super::spirv::translate;
    use super::*;
    use crate::compute::Kernel;
    use crate::compute::conv_geometry::ConvGeometry;
    use crate::compute::cooperative::{Cooperative, Method, Variant};
    use crate::kernels::conv2d::Conv2d;
    use crate::kernels::cooperative_catalogue;

    fn module(variant: Variant) -> Vec<u32> {
        let method = Method::Cooperative(Cooperative { variant, ..Cooperative::new(16, 32) });
        let geometry =
            ConvGeometry { n: 2, h: 8, w: 8, c_in: 32, c_out: 32, kh: 3, kw: 3, stride: 1, padding: 1 };
        let kernel = Conv2d { method, ..Conv2d::new(geometry) };
        let bindings: Vec<u32> = [0].into_iter().chain(kernel.bindings().iter().map(|b| b.index)).collect();
        translate(&kernel.shader().wgsl(), &bindings, (1, 6)).unwrap()
    }

    /// Accesses to workgroup memory, and how many of them are `NonPrivatePointer`; barriers for workgroup memory, and
    /// how many of them make available and visible; decorations of layout, and how many of them buffers need.
    fn count(words: &[u32]) -> [(usize, usize); 3] {
        let instructions = instructions(words).unwrap();
        let facts = Facts::of(&instructions);
        let mut counts = [(0, 0); 3];
        let mut add = |i: usize, good: bool| {
            counts[i].0 += 1;
            counts[i].1 += usize::from(good);
        };
        for instruction in &instructions {
            let word = |at: usize| instruction.get(at).copied().unwrap_or(0);
            let (pointer, mask) = match opcode(instruction[0]) {
                op::LOAD => (word(3), word(4)),
                op::STORE => (word(1), word(3)),
                op::COOPERATIVE_LOAD => (word(3), word(6)),
                op::COOPERATIVE_STORE => (word(1), word(5)),
                op::CONTROL_BARRIER => {
                    add(1, facts.constants[&word(3)].1 == 0x6108);
                    continue;
                }
                op::DECORATE if DECORATIONS_OF_LAYOUT.contains(&word(2)) => {
                    add(2, !facts.needs_no_layout(word(1), word(2)));
                    continue;
                }
                op::MEMBER_DECORATE if DECORATIONS_OF_LAYOUT.contains(&word(3)) => {
                    add(2, !facts.needs_no_layout(word(1), word(3)));
                    continue;
                }
                _ => continue,
            };
            if facts.is_workgroup(pointer) {
                add(0, mask & NON_PRIVATE_POINTER != 0);
            }
        }
        counts
    }

    #[test]
    fn every_access_and_barrier_follows_the_model() {
        let before = module(Variant::Patched);
        let [accesses, barriers, layouts] = count(&before);
        assert!(accesses.0 >= 8 && accesses.1 == 0, "{accesses:?}");
        assert!(barriers.0 >= 3 && barriers.1 == 0, "{barriers:?}");
        // The strides of two operands, the sums, and the positions of the pixels; members of structures in functions.
        assert!(layouts.0 - layouts.1 > 4 && layouts.1 > 0, "{layouts:?}");
        let after = patch(&before).unwrap();
        let of_buffers = (layouts.1, layouts.1);
        assert_eq!(count(&after), [(accesses.0, accesses.0), (barriers.0, barriers.0), of_buffers]);
        assert_eq!(
            patch(&after).unwrap().len(),
            after.len() + 4,
            "a second patch only adds another constant"
        );
    }

    #[test]
    fn ids_stay_within_the_bound_and_are_defined_once() {
        let after = patch(&module(Variant::FlatPatched)).unwrap();
        let constants: Vec<u32> = instructions(&after)
            .unwrap()
            .iter()
            .filter(|instruction| opcode(instruction[0]) == op::CONSTANT)
            .map(|instruction| instruction[2])
            .collect();
        let distinct: HashSet<u32> = constants.iter().copied().collect();
        assert_eq!(distinct.len(), constants.len());
        assert!(constants.iter().all(|&id| id < after[3]));
    }

    #[test]
    fn flat_modules_declare_no_operations_of_subgroups() {
        const CAPABILITY: u32 = 17;
        const GROUP_NON_UNIFORM: std::ops::RangeInclusive<u32> = 61..=68;
        let declares = |words: &[u32]| {
            let capability = |i: &&[u32]| opcode(i[0]) == CAPABILITY && GROUP_NON_UNIFORM.contains(&i[1]);
            instructions(words).unwrap().iter().any(capability)
        };
        for variant in Variant::ALL {
            assert_eq!(declares(&module(variant)), !variant.is_flat(), "{variant}");
        }
    }

    #[test]
    fn every_shader_with_matrices_can_be_patched() {
        for kernel in cooperative_catalogue(Cooperative::new(16, 32)) {
            let bindings: Vec<u32> =
                [0].into_iter().chain(kernel.bindings().iter().map(|b| b.index)).collect();
            let words = translate(&kernel.shader().wgsl(), &bindings, (1, 6)).unwrap();
            let [(all, good), (barriers, visible), _] = count(&patch(&words).unwrap());
            assert!(all == good && all > 0 && barriers == visible && barriers > 0, "{kernel:?}");
        }
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(patch(&[]).is_err());
        assert!(patch(&[MAGIC, 0, 0, 1, 0, 0]).is_err());
        assert!(patch(&[MAGIC, 0, 0, 1, 0, 9 << 16 | op::LOAD]).is_err());
    }
}
