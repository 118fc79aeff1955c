// Threefry2x32, 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011):
// a counter-based generator of add, rotate and xor. Key: (seed, stream); counter: (step, element).
// Twin: src/kernels/random.rs.

fn rotate_left(v: u32, by: u32) -> u32 {
    return (v << by) | (v >> (32u - by));
}
