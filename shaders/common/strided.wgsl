// The index that element i of a contiguous tensor has in one that is read through strides. The tensor has
// RANK axes, the last ones of shape and strides.
fn strided(i: u32, shape: vec4<u32>, strides: vec4<u32>) -> u32 {
    var rest = i;
    var index = 0u;
    for (var axis = 3u; axis > 4u - RANK; axis--) {
        let outer = rest / shape[axis];
        index += (rest - outer * shape[axis]) * strides[axis];
        rest = outer;
    }
    return index + rest * strides[4u - RANK];
}
