//! PyTorch's files and safetensors, distinguished by their contents: every dictionary of a file.
#![no_main]

use std::io::Cursor;

use jem::io::parametrization;
use jem::io::state_file::{self, Opened};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let open = || Opened::from_reader(Cursor::new(data), data.len() as u64);
    let Ok(opened) = open() else { return };
    for (index, dictionary) in opened.dictionaries().iter().enumerate().take(8) {
        let listed = dictionary.tensors.clone();
        let Ok(file) = open().and_then(|opened| opened.load_dictionary(index)) else { continue };
        let shapes = file.tensors.iter().map(|(name, array)| (name.clone(), array.shape.clone()));
        assert_eq!(shapes.collect::<Vec<_>>(), listed);
        let _ = parametrization::arrays(file.tensors);
    }
    let _ = state_file::parse(&mut Cursor::new(data), data.len() as u64);
});
