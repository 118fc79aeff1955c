// The entry point of kernels with one thread for each of parameters.n elements. The includer declares `element`, which
// writes element i.
@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (group.x + group.y * groups.x) * 256u + local;
    if i < parameters.n {
        element(i);
    }
}
