// The place of an invocation among SUBGROUPS subgroups or more that are a workgroup of THREADS.

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
