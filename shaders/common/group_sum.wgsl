// Sums over groups of SIZE channels in a workgroup of 64: a thread for each channel, or, where a group has more,
// one group for all threads. The includer declares `parameters` with `all_groups`.

const GROUPS: u32 = max(1u, 64u / SIZE);
const SHARERS: u32 = min(SIZE, 64u);
var<workgroup> terms: array<f32, 64>;

fn group_of(workgroup: u32, local: u32) -> u32 {
    return workgroup * GROUPS + local / SHARERS;
}

// Threads that are left over have none.
fn has_group(group: u32, local: u32) -> bool {
    return local < GROUPS * SHARERS && group < parameters.all_groups;
}

// The first channel of its group that a thread takes.
fn first_of_thread(local: u32) -> u32 {
    return local % SHARERS;
}

// The sum of the terms of a group's threads, in the order of the channels.
fn group_sum(term: f32, local: u32) -> f32 {
    workgroupBarrier();
    terms[local] = term;
    workgroupBarrier();
    let first = min(local / SHARERS * SHARERS, 64u - SHARERS);
    var sum = 0.0;
    for (var i = 0u; i < SHARERS; i++) {
        sum += terms[first + i];
    }
    return sum;
}
