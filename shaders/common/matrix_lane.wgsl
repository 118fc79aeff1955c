// The place of an invocation in a workgroup of THREADS invocations, which has SUBGROUPS subgroups or more.

struct Lane {
    @builtin(local_invocation_index) index: u32,
//#if FLAT
}

fn subgroup_of(lane: Lane) -> u32 {
    return lane.index / (THREADS / SUBGROUPS);
}
//#else
    @builtin(subgroup_id) subgroup: u32,
}

fn subgroup_of(lane: Lane) -> u32 {
    return lane.subgroup;
}
//#endif
