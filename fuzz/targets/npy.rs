//! `.npy` arrays, and images from them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(array) = jem::io::npy::parse(data) {
        let _ = jem::data::array::images(array, false, None, "fuzz");
    }
});
