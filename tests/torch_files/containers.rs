//! Zip containers that other tools packed, and files that cannot be read, would run code or are damaged.

use crate::{fixture, load, refusal, state};
use jem::io::state_file;

#[test]
fn the_length_of_a_name_does_not_matter() {
    assert_eq!(load("twenty_one_characters.pt").tensors, state());
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    assert!(refusal("complex.pt").contains("tensor a: torch.ComplexFloatStorage"));
    assert!(refusal("quantized.pt").contains("tensor a: torch._utils._rebuild_qtensor"));
    assert!(refusal("sparse.pt").contains("tensor b: torch._utils._rebuild_sparse_tensor is not supported"));
    assert!(refusal("dtensor.pt").contains("tensor a: torch.distributed.tensor.DTensor is not supported"));
    assert!(refusal("skipped.pt").contains("storage 0 was saved without its data"));
    assert!(
        refusal("frozen.pt").contains("is a TorchScript archive whose tensors are constants of its code")
    );
    assert!(refusal("system_legacy.pt").contains("found an object of posix.system"));
    assert!(refusal("arrays.npz").contains("without data.pkl"));
    assert!(refusal("make.py").contains("expected a checkpoint"));
}

/// A call of a system function is told, and never made.
#[test]
fn what_would_run_code_is_left_out() {
    let file = load("system.pt");
    assert_eq!(file.tensors, state());
    assert_eq!(file.facts.ignored, ["extra: posix.system"]);
}

#[test]
fn archives_that_a_zip_tool_packed_again() {
    for name in ["compressed.pt", "streamed.pt", "no_folder.pt"] {
        assert_eq!(load(name).tensors, state(), "{name}");
    }
}

/// Every truncation of a file is an error, and every changed byte is an error or a readable file.
#[test]
fn damaged_files_never_panic() {
    for name in ["training_2.pt", "training_legacy.pt", "views.pt", "jem.safetensors", "keys.pt", "module.pt"]
    {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let parse = |bytes: &[u8]| state_file::parse(&mut std::io::Cursor::new(bytes), bytes.len() as u64);
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).is_err(), "{name} cut to {cut} bytes");
        }
        let mut changed = bytes.clone();
        for at in 0..bytes.len() {
            for byte in [0, 0xff, bytes[at] ^ 1, b'R', b'h'] {
                changed[at] = byte;
                let _ = parse(&changed);
            }
            changed[at] = bytes[at];
        }
        // No single dictionary of keys.pt is the usual one.
        assert!(parse(&changed).is_ok() || name == "keys.pt");
    }
}
