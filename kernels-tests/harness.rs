//! Runs one kernel on every device between sentinels and compares it with float64 numbers.

use super::adapter::gpu_spec;
use jem::compute::half;
use jem::compute::storage::Storage;
use jem::compute::{Access, Kernel};
use jem::device::{Device, DeviceOptions, ProgramBuilder};
use proptest::test_runner::Config as ProptestConfig;
use std::sync::{Arc, OnceLock};

/// Words around each view that no kernel may change: 256 bytes, WebGPU's view alignment.
const GUARD: usize = 64;
/// A NaN with a payload that no arithmetic makes.
const SENTINEL: u32 = 0x7fc0_dead;

/// [`gpu_spec`], opened once for all tests.
pub fn gpu(checked: bool) -> &'static Device {
    static DEVICES: [OnceLock<Device>; 2] = [OnceLock::new(), OnceLock::new()];
    DEVICES[usize::from(checked)].get_or_init(|| {
        Device::open(&gpu_spec(), DeviceOptions { checked, uncached: true, ..DeviceOptions::default() })
            .unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Every device that a kernel is held to, with a name for messages.
pub fn devices() -> [(&'static str, &'static Device); 3] {
    static CPU: OnceLock<Device> = OnceLock::new();
    [("cpu", CPU.get_or_init(Device::cpu)), ("gpu checked", gpu(true)), ("gpu unchecked", gpu(false))]
}

/// The contents that a binding must have after the dispatch.
pub enum Expect {
    /// Floats within the relative error Σ(a-b)²/Σb² <= bound; non-finite values exactly where the
    /// reference has them.
    Close(Vec<f64>, f64),
    /// The same for floats stored in f16.
    Halves(Vec<f64>, f64),
    /// Exactly these words.
    Exactly(Vec<u32>),
    /// Exactly these bits, except where those of `uncertain` are 1.
    Bits {
        /// The bits.
        value: Vec<u32>,
        /// 1 where rounding may decide.
        uncertain: Vec<u32>,
    },
}

/// Σ(a-b)²/Σb² of numbers rounded to the nearest f16: at most 2^-11 each, 4e-8 in the mean. Truncation would make
/// 1.6e-7.
pub const F16_BOUND: f64 = 1e-7;

/// Floats as the words in which they are stored, and the values of these words.
pub fn stored(storage: Storage, values: Vec<f32>) -> (Vec<u32>, Vec<f32>) {
    match storage {
        Storage::F32 => (words(&values), values),
        Storage::F16 => {
            let packed = half::narrow(&values);
            let values = half::widen(&packed);
            (packed, values)
        }
    }
}

/// [`Expect::Close`] for values in this storage type.
pub fn close_to(storage: Storage, values: Vec<f64>, bound: f64) -> Expect {
    match storage {
        Storage::F32 => Expect::Close(values, bound),
        Storage::F16 => Expect::Halves(values, F16_BOUND),
    }
}

/// Floats as words.
pub fn words(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Runs `kernel` on every device. `initial` holds a binding's words before the dispatch (`None`:
/// sentinels, for what the kernel must write whole); `expected` what each binding that it writes must
/// hold afterwards, in order. Read-only bindings must not change.
pub fn check<K: Kernel + 'static>(kernel: K, initial: &[Option<Vec<u32>>], expected: &[Expect]) {
    check_on(&devices(), kernel, initial, expected);
}

/// [`check`] on some devices; returns the largest Σ(a-b)²/Σb².
pub fn check_on<K: Kernel + 'static>(
    devices: &[(&'static str, &'static Device)],
    kernel: K,
    initial: &[Option<Vec<u32>>],
    expected: &[Expect],
) -> f64 {
    let kernel: Arc<dyn Kernel> = Arc::new(kernel);
    let mut worst = 0.0f64;
    for (device_name, device) in devices {
        let context = format!("{kernel:?} on {device_name}");
        let results = run_on(device, &kernel, initial, &context);
        let bindings = kernel.bindings();
        let mut expected = expected.iter();
        for ((binding, result), initial) in bindings.iter().zip(&results).zip(initial) {
            let context = format!("{context}: {}", binding.name);
            if binding.access == Access::Read {
                assert_eq!(Some(result), initial.as_ref(), "{context} is read-only and changed");
                continue;
            }
            match expected.next().expect("an expectation for every written binding") {
                Expect::Exactly(words) => assert_eq!(result, words, "{context}"),
                Expect::Bits { value, uncertain } => {
                    for (i, ((&result, &value), &uncertain)) in
                        result.iter().zip(value).zip(uncertain).enumerate()
                    {
                        let (result, value) = (result & !uncertain, value & !uncertain);
                        assert_eq!(result, value, "{context}: word {i} is {result:#x}, expected {value:#x}");
                    }
                }
                Expect::Halves(reference, bound) => {
                    // A word of which both halves are NaN, as the sentinel's lower one is not, was written.
                    assert!(!result.contains(&SENTINEL), "{context}: not written whole");
                    worst = worst.max(close(&words(&half::widen(result)), reference, *bound, &context));
                }
                Expect::Close(reference, bound) => {
                    worst = worst.max(close(result, reference, *bound, &context));
                }
            }
        }
        assert!(expected.next().is_none(), "{context}: more expectations than written bindings");
    }
    worst
}

/// The contents of every binding after one dispatch on `device`.
///
/// # Panics
/// If a word outside a view changed.
pub fn run_on(
    device: &Device,
    kernel: &Arc<dyn Kernel>,
    initial: &[Option<Vec<u32>>],
    context: &str,
) -> Vec<Vec<u32>> {
    let bindings = kernel.bindings();
    assert_eq!(bindings.len(), initial.len(), "{context}: contents for every binding");
    let mut builder = ProgramBuilder::new("kernel test");
    let mut buffers = Vec::new();
    let mut views = Vec::new();
    for (binding, initial) in bindings.iter().zip(initial) {
        if let Some(words) = initial {
            assert_eq!(words.len(), binding.words, "{context}: {} has another size", binding.name);
        }
        let mut contents = vec![SENTINEL; binding.words + 2 * GUARD];
        if let Some(words) = initial {
            contents[GUARD..GUARD + binding.words].copy_from_slice(words);
        }
        buffers.push((binding.name, device.buffer_from(binding.name, &contents).expect("a buffer")));
        views.push(builder.external_named(binding.name, contents.len()).part(GUARD, binding.words));
    }
    builder.dispatch_shared("test", Arc::clone(kernel), &views);
    let externals: Vec<_> = buffers.iter().map(|(name, buffer)| (*name, buffer)).collect();
    let executable = device.load(builder.finish(), &externals).unwrap_or_else(|e| panic!("{context}: {e}"));
    device.run(&executable).unwrap_or_else(|e| panic!("{context}: {e}"));
    let read = |(name, buffer): &(&str, jem::device::Buffer)| {
        let contents: Vec<u32> = device.read_as(buffer).unwrap_or_else(|e| panic!("{context}: {e}"));
        let (before, rest) = contents.split_at(GUARD);
        let (inside, after) = rest.split_at(rest.len() - GUARD);
        let intact = |guard: &[u32]| guard.iter().all(|&word| word == SENTINEL);
        assert!(intact(before) && intact(after), "{context}: wrote outside {name}");
        inside.to_vec()
    };
    buffers.iter().map(read).collect()
}

/// Asserts that two kernels with the same bindings write the same words of the same random floats on the GPU, where
/// their shaders differ.
pub fn assert_same_words(a: &Arc<dyn Kernel>, b: &Arc<dyn Kernel>, seed: u64) {
    assert_ne!(a.shader().wgsl(), b.shader().wgsl(), "{a:?} and {b:?} are one shader");
    let mut inputs = Inputs::new(seed);
    let initial: Vec<_> = a
        .bindings()
        .iter()
        .map(|binding| match (binding.access, binding.storage) {
            (Access::Write, _) => None,
            (_, Storage::F32) => Some(words(&inputs.floats(binding.words))),
            (_, Storage::F16) => Some(half::narrow(&inputs.floats(2 * binding.words))),
        })
        .collect();
    let [a, b] = [a, b].map(|kernel| {
        let context = format!("{kernel:?}");
        (run_on(gpu(false), kernel, &initial, &context), context)
    });
    for ((i, a_words), b_words) in a.0.iter().enumerate().zip(&b.0) {
        assert!(!a_words.contains(&SENTINEL), "{}: binding {i} is not written whole", a.1);
        let differing = a_words.iter().zip(b_words).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "words of binding {i} in which {} and {} differ", a.1, b.1);
    }
}

/// Asserts Σ(a-b)²/Σb² <= bound over the finite values, and the same non-finite values elsewhere.
pub fn assert_close(result: &[u32], reference: &[f64], bound: f64, context: &str) {
    close(result, reference, bound, context);
}

/// [`assert_close`] that returns Σ(a-b)²/Σb².
fn close(result: &[u32], reference: &[f64], bound: f64, context: &str) -> f64 {
    assert_eq!(result.len(), reference.len(), "{context}: length");
    let (mut error, mut norm) = (0.0, 0.0);
    for (i, (&word, &b)) in result.iter().zip(reference).enumerate() {
        assert_ne!(word, SENTINEL, "{context}: element {i} was not written");
        let a = f64::from(f32::from_bits(word));
        if b.is_finite() {
            assert!(a.is_finite(), "{context}: element {i} is {a}, expected {b}");
            error += (a - b) * (a - b);
            norm += b * b;
        } else {
            assert!(a == b || a.is_nan() && b.is_nan(), "{context}: element {i} is {a}, expected {b}");
        }
    }
    assert!(norm > 0.0, "{context}: a comparison with zeros shows nothing");
    assert!(error / norm <= bound, "{context}: relative error {:.3e} over {bound:.1e}", error / norm);
    error / norm
}

/// Reproducible random inputs for tests: independent of the library's own generator.
pub struct Inputs(u64);

impl Inputs {
    /// A generator; the same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    /// The next 64 bits (splitmix64).
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [low, high).
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.bits() >> 40) as f32 / (1u64 << 24) as f32)
    }

    /// `n` floats, uniform in [-1, 1).
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.uniform(-1.0, 1.0)).collect()
    }

    /// `n` integers below `below`.
    pub fn below(&mut self, n: usize, below: u32) -> Vec<u32> {
        (0..n).map(|_| (self.bits() >> 33) as u32 % below).collect()
    }
}

/// The settings of a property test of `cases` cases, or of `$PROPTEST_CASES` if that is less: each makes
/// pipelines on two GPU devices.
pub fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: cases.min(default.cases), failure_persistence: None, ..default }
}
