//! Safetensors.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = jem::io::safetensors::read(&mut std::io::Cursor::new(data), data.len() as u64);
    // Also with a correct header length, which mutations rarely find: the first two bytes set the length of the data.
    let [low, high, rest @ ..] = data else { return };
    let behind = usize::from(u16::from_le_bytes([*low, *high])) % (rest.len() + 1);
    let header = rest.len() - behind;
    let file = [&(header as u64).to_le_bytes(), rest].concat();
    let _ = jem::io::safetensors::read(&mut std::io::Cursor::new(&file), file.len() as u64);
});
