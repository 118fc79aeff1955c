// Operands of the next step in registers (AHEAD): their loads are under way while the workgroup multiplies the step
// that is staged, so that a thread waits for memory only after that. Workgroup memory holds one step all the same.
//
// The includer declares Step, LOADS_A and LOADS_B (at most 4 a thread each), and for one load of a step
// `fetch_a(step, load) -> StoredA`, `put_a(load, v)` and the same for B; loads past the last are theirs to skip. What
// is held is what memory holds: to widen f16 here would be to wait for it, and take twice the registers.

// In named variables, because a dynamically indexed array would leave the registers; those past a tile's loads are
// never set.
struct Ahead {
    a0: StoredA,
    a1: StoredA,
    a2: StoredA,
    a3: StoredA,
    b0: StoredB,
    b1: StoredB,
    b2: StoredB,
    b3: StoredB,
}

fn fetch(step: Step, local: u32) -> Ahead {
    var ahead = Ahead();
    ahead.a0 = fetch_a(step, local);
    if LOADS_A > THREADS { ahead.a1 = fetch_a(step, THREADS + local); }
    if LOADS_A > 2u * THREADS { ahead.a2 = fetch_a(step, 2u * THREADS + local); }
    if LOADS_A > 3u * THREADS { ahead.a3 = fetch_a(step, 3u * THREADS + local); }
    ahead.b0 = fetch_b(step, local);
    if LOADS_B > THREADS { ahead.b1 = fetch_b(step, THREADS + local); }
    if LOADS_B > 2u * THREADS { ahead.b2 = fetch_b(step, 2u * THREADS + local); }
    if LOADS_B > 3u * THREADS { ahead.b3 = fetch_b(step, 3u * THREADS + local); }
    return ahead;
}

// Stages what was fetched.
fn put(ahead: Ahead, local: u32) {
    put_a(local, ahead.a0);
    if LOADS_A > THREADS { put_a(THREADS + local, ahead.a1); }
    if LOADS_A > 2u * THREADS { put_a(2u * THREADS + local, ahead.a2); }
    if LOADS_A > 3u * THREADS { put_a(3u * THREADS + local, ahead.a3); }
    put_b(local, ahead.b0);
    if LOADS_B > THREADS { put_b(THREADS + local, ahead.b1); }
    if LOADS_B > 2u * THREADS { put_b(2u * THREADS + local, ahead.b2); }
    if LOADS_B > 3u * THREADS { put_b(3u * THREADS + local, ahead.b3); }
}
