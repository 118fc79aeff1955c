//! Every device refuses buffers and programs of another, of the same kind or not.

#[path = "common/devices.rs"]
mod devices;

use devices::devices;
use jem::Error;
use jem::device::{Device, ProgramBuilder};
use jem::kernels::fill::Fill;

fn program() -> jem::device::Program {
    let mut builder = ProgramBuilder::new("seven");
    let x = builder.external_named("x", 64);
    builder.dispatch("fill", Fill { n: 64, value: 7.0 }, &[x]);
    builder.finish()
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: jem::Result<T>, what: &str) {
    let message = match result.expect_err("another device's") {
        error @ (Error::Binding { .. } | Error::Device { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(message.contains(what) && message.contains("another device"), "{message}");
}

#[test]
fn buffers_and_programs_of_another_device_are_refused() {
    let [(_, cpu), (_, gpu)] = devices();
    let [(_, other_cpu), (_, other_gpu)] = devices();
    let all: [&Device; 4] = [&cpu, &gpu, &other_cpu, &other_gpu];
    let made = all.map(|device| device.buffer("made elsewhere", 256).expect("a buffer"));
    let loaded: Vec<_> = all
        .iter()
        .zip(&made)
        .map(|(device, buffer)| device.load(program(), &[("x", buffer)]).expect("a program"))
        .collect();
    for (i, device) in all.iter().enumerate() {
        for (j, (buffer, executable)) in made.iter().zip(&loaded).enumerate() {
            if i == j {
                device.run(executable).expect("its own program");
                assert_eq!(device.read_as::<f32>(buffer).expect("its own buffer"), [7.0; 64]);
                continue;
            }
            assert_refused(device.write(buffer, 0, &[0; 256]), "made elsewhere");
            assert_refused(device.read(buffer), "made elsewhere");
            assert_refused(device.load(program(), &[("x", buffer)]), "made elsewhere");
            assert_refused(device.run(executable), "program seven");
            assert_refused(device.profile(executable), "program seven");
        }
    }
}

#[test]
fn a_clone_is_the_same_device() {
    for (name, device) in devices() {
        let buffer = device.clone().buffer("x", 256).expect("a buffer");
        let executable = device.load(program(), &[("x", &buffer)]).expect(name);
        device.clone().run(&executable).expect(name);
        assert_eq!(device.read_as::<f32>(&buffer).expect(name), [7.0; 64]);
    }
}
