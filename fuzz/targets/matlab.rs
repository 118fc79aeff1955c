//! SVHN's MAT-files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = jem::data::svhn::read(data, data.len() as u64);
});
