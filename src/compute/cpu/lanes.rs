//! Sixteen f32 at a time: AVX-512, AVX2 with FMA, or arrays that the compiler vectorises (SSE2, NEON).
//!
//! A [`Job`] is written once, generic over [`Lanes`]; [`Isa::run`] enters it through a function that has
//! the instruction set switched on, into which all of it is inlined.

/// Lanes of every [`Lanes`] type.
pub const LANES: usize = 16;

/// Sixteen f32.
///
/// # Safety
/// Every function may be called only on a CPU that has the type's instruction set (inside
/// [`Job::run`], that is so); pointers must be valid for the lanes that are read or written.
pub trait Lanes: Copy {
    /// All zeros.
    unsafe fn zero() -> Self;
    /// All `value`.
    unsafe fn splat(value: f32) -> Self;
    /// Sixteen floats from `from`, of any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// The first `n` lanes from `from`, then zeros; reads nothing past them.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;
    /// Stores all lanes.
    unsafe fn store(self, to: *mut f32);
    /// Stores the first `n` lanes and nothing else.
    unsafe fn store_first(self, to: *mut f32, n: usize);
    /// `self * factor + addend`, rounded once where the instruction set can.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self * other`.
    unsafe fn mul(self, other: Self) -> Self;
    /// Bit `l` is 1 where lane `l` is greater than 0.
    unsafe fn positive(self) -> u16;
    /// Lane `l` of `ones` where bit `l` is 1, else of `zeros`.
    unsafe fn select(bits: u16, ones: Self, zeros: Self) -> Self;
}

/// `elementwise::sloped` in each lane: `slope value`, the side of a leaky ReLU below 0.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
pub unsafe fn sloped<L: Lanes>(value: L, slope: f32) -> L {
    // SAFETY: the instruction set is there by the caller's contract.
    unsafe {
        let scaled = value.mul(L::splat(slope));
        if slope != 0.0 {
            return scaled;
        }
        let not_zero = value.positive() | value.mul(L::splat(-1.0)).positive();
        L::select(not_zero, L::zero(), scaled)
    }
}

/// Work that is compiled once for each instruction set.
pub trait Job: Sized {
    /// Does the work with accumulator tiles of `ROWS` x `VECTORS` [`Lanes`]: as many as the register file
    /// holds. Must be `#[inline(always)]`, as must all that it calls in its loops.
    ///
    /// # Safety
    /// The CPU has the instruction set of `L`.
    unsafe fn run<L: Lanes, const ROWS: usize, const VECTORS: usize>(self);
}

/// An instruction set that this CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Isa {
    /// The instruction sets of this CPU, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let all = [
            #[cfg(target_arch = "x86_64")]
            (std::arch::is_x86_feature_detected!("avx512f"), Set::Avx512),
            #[cfg(target_arch = "x86_64")]
            (
                std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"),
                Set::Avx2,
            ),
            (true, Set::Portable),
        ];
        all.into_iter().filter(|(there, _)| *there).map(|(_, set)| Self(set))
    }

    /// The fastest.
    pub fn best() -> Self {
        Self::available().next().expect("the portable one is always there")
    }

    /// The widest accumulator tile, in vectors of [`LANES`].
    pub fn vectors(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => 2,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => 1,
            Set::Portable => 1,
        }
    }

    /// Runs `job` with this instruction set.
    pub fn run<J: Job>(self, job: J) {
        // SAFETY: an `Isa` is made by `available` only, after the CPU was asked.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => x86::avx512(job),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => x86::avx2(job),
                Set::Portable => portable(job),
            }
        }
    }
}

/// Rows of a tile for [`Portable`]: NEON has 32 registers of 4 floats, SSE2 has 16.
const PORTABLE_ROWS: usize = if cfg!(target_arch = "aarch64") { 4 } else { 2 };

unsafe fn portable<J: Job>(job: J) {
    // SAFETY: needs no instruction set beyond the target's own.
    unsafe { job.run::<Portable, PORTABLE_ROWS, 1>() };
}

#[derive(Clone, Copy)]
struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self;
        for l in 0..LANES {
            out.0[l] = f(self.0[l], other.0[l]);
        }
        out
    }
}

impl Lanes for Portable {
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; LANES])
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's pointer is valid for 16 floats; an array of them is as aligned as one.
        unsafe { Self(*from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        let mut out = [0.0; LANES];
        // SAFETY: the caller's pointer is valid for n floats.
        out[..n].copy_from_slice(unsafe { std::slice::from_raw_parts(from, n) });
        Self(out)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { *to.cast() = self.0 };
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: as in `load_first`.
        unsafe { std::slice::from_raw_parts_mut(to, n) }.copy_from_slice(&self.0[..n]);
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        let mut out = addend;
        for l in 0..LANES {
            // Without the instruction, f32::mul_add is a call into the C library.
            out.0[l] = if cfg!(target_arch = "aarch64") {
                self.0[l].mul_add(factor.0[l], addend.0[l])
            } else {
                self.0[l] * factor.0[l] + addend.0[l]
            };
        }
        out
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn positive(self) -> u16 {
        (0..LANES).fold(0, |bits, l| bits | u16::from(self.0[l] > 0.0) << l)
    }
    #[inline(always)]
    unsafe fn select(bits: u16, ones: Self, zeros: Self) -> Self {
        let mut out = zeros;
        for l in 0..LANES {
            out.0[l] = if bits >> l & 1 == 1 { ones.0[l] } else { zeros.0[l] };
        }
        out
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::compute::cpu::lanes::{Job, LANES, Lanes};
    use std::arch::x86_64::*;

    /// 8 x 2 accumulators of 32 registers. (More rows do not help: each has its own pointer, and there
    /// are 16 registers for those.)
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512<J: Job>(job: J) {
        // SAFETY: the caller has asked the CPU.
        unsafe { job.run::<Avx512, 8, 2>() };
    }

    /// 4 x 2 accumulators (a vector is two registers) of 16 registers.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2<J: Job>(job: J) {
        // SAFETY: the caller has asked the CPU.
        unsafe { job.run::<Avx2, 4, 1>() };
    }

    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    // Every unsafe block below: the trait's contract, passed on.
    #[allow(
        clippy::undocumented_unsafe_blocks,
        reason = "each is one instruction, and the trait says what it needs"
    )]
    impl Lanes for Avx512 {
        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { Self(_mm512_setzero_ps()) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(_mm512_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm512_loadu_ps(from)) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, n: usize) -> Self {
            unsafe { Self(_mm512_maskz_loadu_ps(first(n), from)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, n: usize) {
            unsafe { _mm512_mask_storeu_ps(to, first(n), self.0) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
            unsafe { Self(_mm512_fmadd_ps(self.0, factor.0, addend.0)) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Self(_mm512_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn positive(self) -> u16 {
            unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps()) }
        }
        #[inline(always)]
        unsafe fn select(bits: u16, ones: Self, zeros: Self) -> Self {
            unsafe { Self(_mm512_mask_blend_ps(bits, zeros.0, ones.0)) }
        }
    }

    /// The mask of the first `n` of 16 lanes.
    #[inline(always)]
    fn first(n: usize) -> u16 {
        ((1u32 << n.min(LANES)) - 1) as u16
    }

    #[derive(Clone, Copy)]
    pub struct Avx2(__m256, __m256);

    /// All ones in the lanes of 8 whose bit is 1.
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    unsafe fn spread(bits: u16) -> __m256 {
        // SAFETY: the caller's contract.
        unsafe {
            let bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let here = _mm256_and_si256(_mm256_set1_epi32(i32::from(bits)), bit);
            _mm256_castsi256_ps(_mm256_cmpeq_epi32(here, bit))
        }
    }

    // Every unsafe block below: the trait's contract, passed on.
    #[allow(
        clippy::undocumented_unsafe_blocks,
        reason = "each is one instruction, and the trait says what it needs"
    )]
    impl Lanes for Avx2 {
        #[inline(always)]
        unsafe fn zero() -> Self {
            unsafe { Self(_mm256_setzero_ps(), _mm256_setzero_ps()) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }
        #[inline(always)]
        unsafe fn load_first(from: *const f32, n: usize) -> Self {
            let bits = first(n);
            // wrapping: the upper half may lie past the end, where nothing is read.
            unsafe {
                Self(
                    _mm256_maskload_ps(from, _mm256_castps_si256(spread(bits))),
                    _mm256_maskload_ps(from.wrapping_add(8), _mm256_castps_si256(spread(bits >> 8))),
                )
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, n: usize) {
            let bits = first(n);
            unsafe {
                _mm256_maskstore_ps(to, _mm256_castps_si256(spread(bits)), self.0);
                _mm256_maskstore_ps(to.wrapping_add(8), _mm256_castps_si256(spread(bits >> 8)), self.1);
            }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
            unsafe {
                Self(_mm256_fmadd_ps(self.0, factor.0, addend.0), _mm256_fmadd_ps(self.1, factor.1, addend.1))
            }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
        }
        #[inline(always)]
        unsafe fn positive(self) -> u16 {
            unsafe {
                let zero = _mm256_setzero_ps();
                let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, zero));
                let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.1, zero));
                (low | high << 8) as u16
            }
        }
        #[inline(always)]
        unsafe fn select(bits: u16, ones: Self, zeros: Self) -> Self {
            unsafe {
                Self(
                    _mm256_blendv_ps(zeros.0, ones.0, spread(bits)),
                    _mm256_blendv_ps(zeros.1, ones.1, spread(bits >> 8)),
                )
            }
        }
    }
}
