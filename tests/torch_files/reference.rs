//! The checkpoints of the published implementation, if the environment names them.

use jem::io::elements::Elements;
use jem::io::state_file::read;
use std::io::Write as _;

#[test]
fn reference_checkpoints_are_their_safetensors() {
    let Some(root) = std::env::var_os("JEM_REFERENCE") else {
        // Bypass libtest's capture, so that it is shown when the test passes.
        let line = "torch_files: JEM_REFERENCE is not set: ran without the reference checkpoints";
        writeln!(std::io::stderr(), "{line}").expect("standard error");
        return;
    };
    let mut compared = 0;
    for entry in std::fs::read_dir(root).expect("JEM_REFERENCE is a folder") {
        let folder = entry.expect("an entry").path();
        let [checkpoint, weights] = ["checkpoint.pt", "weights.safetensors"].map(|name| folder.join(name));
        if !checkpoint.is_file() || !weights.is_file() {
            continue;
        }
        let (checkpoint, weights) = (read(&checkpoint).unwrap(), read(&weights).unwrap());
        assert_eq!(checkpoint.facts.key.as_deref(), Some("model_state_dict"));
        assert_eq!(checkpoint.replay_buffer.expect("chains").shape, [100, 3, 32, 32]);
        assert_eq!(checkpoint.tensors.len(), weights.tensors.len());
        for (name, array) in &checkpoint.tensors {
            let (_, other) = weights.tensors.iter().find(|(other, _)| other == name).expect(name);
            assert_eq!(array.shape, other.shape, "{name}");
            let (Elements::F32(a), Elements::F32(b)) = (&array.elements, &other.elements) else {
                panic!("{name} is not of floats");
            };
            assert!(a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}");
        }
        compared += 1;
    }
    assert!(compared > 0, "JEM_REFERENCE has no folder with checkpoint.pt and weights.safetensors");
}
