//! The twin of `chains` for sixteen threads at a time: a lane a thread, in the widest registers of this CPU.

/// Computes sixteen `y` from the first lane on: the arguments are steps, factor, addend and `y`.
pub type Run = fn(usize, f32, f32, &mut [f32]);

/// The fastest for chains in `vectors` vec4s.
pub fn widest(vectors: usize) -> Run {
    match vectors {
        2 => widest_of::<8>(),
        3 => widest_of::<12>(),
        4 => widest_of::<16>(),
        8 => widest_of::<32>(),
        other => unreachable!("no chains in {other} vectors"),
    }
}

fn widest_of<const CHAINS: usize>() -> Run {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has AVX-512.
            return |steps, factor, addend, y| unsafe { x86::avx512::<CHAINS>(steps, factor, addend, y) };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has AVX2 and FMA.
            return |steps, factor, addend, y| unsafe { x86::avx2::<CHAINS>(steps, factor, addend, y) };
        }
    }
    portable::<CHAINS>
}

/// Four lanes at a time, as SSE2 and NEON have them.
fn portable<const CHAINS: usize>(steps: usize, factor: f32, addend: f32, y: &mut [f32]) {
    for (part, y) in y.chunks_exact_mut(4).enumerate() {
        let mut x = [[0.0f32; 4]; CHAINS];
        for (chain, x) in x.iter_mut().enumerate() {
            *x = std::array::from_fn(|lane| (4 * part + lane + chain) as f32);
        }
        for _ in 0..steps {
            for x in x.iter_mut().flatten() {
                *x = *x * factor + addend;
            }
        }
        for (lane, y) in y.iter_mut().enumerate() {
            *y = x.iter().map(|x| x[lane]).sum();
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    const LANES: [f32; 16] = [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.];

    /// Chains over registers of `$lanes` floats. (The intrinsics want functions with their instruction set, so that
    /// this cannot be one generic function.)
    macro_rules! chains {
        ($name:ident, $features:literal, $lanes:literal,
         $load:ident, $store:ident, $splat:ident, $add:ident, $fma:ident) => {
            #[target_feature(enable = $features)]
            pub fn $name<const CHAINS: usize>(steps: usize, factor: f32, addend: f32, y: &mut [f32]) {
                let (factor, addend) = ($splat(factor), $splat(addend));
                for (lanes, y) in LANES.chunks_exact($lanes).zip(y.chunks_exact_mut($lanes)) {
                    // SAFETY: a chunk has the lanes of a register.
                    let first = unsafe { $load(lanes.as_ptr()) };
                    let mut x = [first; CHAINS];
                    for (chain, x) in x.iter_mut().enumerate() {
                        *x = $add(*x, $splat(chain as f32));
                    }
                    for _ in 0..steps {
                        for x in &mut x {
                            *x = $fma(*x, factor, addend);
                        }
                    }
                    let mut total = x[0];
                    for x in &x[1..] {
                        total = $add(total, *x);
                    }
                    // SAFETY: as above.
                    unsafe { $store(y.as_mut_ptr(), total) };
                }
            }
        };
    }

    chains!(
        avx512,
        "avx512f",
        16,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_add_ps,
        _mm512_fmadd_ps
    );
    chains!(
        avx2,
        "avx2,fma",
        8,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_add_ps,
        _mm256_fmadd_ps
    );
}
