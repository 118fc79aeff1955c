//! PNG and JPEG pictures.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = jem::data::decode::decode(data);
});
