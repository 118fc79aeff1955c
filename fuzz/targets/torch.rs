//! PyTorch's files and safetensors, distinguished by their contents.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = jem::io::state_file::parse(&mut std::io::Cursor::new(data), data.len() as u64);
});
