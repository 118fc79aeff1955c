//! Idx files, plain or gzipped.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = jem::data::idx::read(data, data.len() as u64);
});
