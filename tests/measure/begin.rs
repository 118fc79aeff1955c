//! The beginning of a run: its errors, and the files that remain after them.

use crate::whole::bench;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/measure-gpu-run");

/// The exit status and the output.
fn end(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    (output.status.code(), text.concat())
}

/// Runs `jem-bench` in `folder`.
fn in_folder(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(bench());
    command.args(arguments).current_dir(folder).env_remove("JEM_SHADERS").env("TMPDIR", folder);
    command
}

const MEASURE: [&str; 5] = ["measure", "--out", "out", "--jem", env!("CARGO_BIN_EXE_jem")];

#[test]
fn a_run_that_would_measure_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("nothing"), "").unwrap();
    let with = |more: &[&str]| in_folder(folder.path(), &[&MEASURE, more].concat());
    let refused = |command: &mut Command, part: &str| {
        let (status, text) = end(&command.output().unwrap());
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains(part), "{part:?} is not in {text}");
    };
    refused(&mut with(&["--seconds", "9"]), "--seconds 9: a run takes at least 10");
    refused(&mut with(&["--device", "cpu"]), "--device cpu: the run measures a GPU");
    for (shaders, part) in [("none", "none: cannot be read"), ("empty", "empty: has neither NAME.wgsl")] {
        refused(with(&[]).env("JEM_SHADERS", shaders), part);
    }
    let jem = |path| in_folder(folder.path(), &["measure", "--out", "out", "--jem", path]);
    for path in ["nothing", "no-such-jem"] {
        refused(&mut jem(path), &format!("{path} is missing or empty"));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
}

#[test]
fn results_of_an_earlier_run_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("notes"), "").unwrap();
    let check = || end(&in_folder(folder.path(), &MEASURE).arg("--check").output().unwrap());
    assert_eq!(check(), (Some(0), String::new()), "other files are no reason");
    for file in ["results.jsonl", "tuned.toml", "gate.json", "summary.md"] {
        fs::write(out.join(file), "mine").unwrap();
        let (status, text) = end(&in_folder(folder.path(), &MEASURE).output().unwrap());
        assert_eq!(status, Some(1), "{text}");
        let message =
            format!("out has the results of an earlier run ({file}): name another folder, or remove it");
        assert!(text.contains(&message), "{text}");
        assert_eq!(fs::read_to_string(out.join(file)).unwrap(), "mine");
        fs::remove_file(out.join(file)).unwrap();
    }
}

/// A kit in `folder`, made of links.
#[cfg(unix)]
fn kit(folder: &Path) -> PathBuf {
    let kit = folder.join("kit");
    fs::create_dir(&kit).unwrap();
    for (path, name) in [(bench(), "jem-bench"), (Path::new(env!("CARGO_BIN_EXE_jem")), "jem")] {
        std::os::unix::fs::symlink(path, kit.join(name)).unwrap();
    }
    fs::copy(RUN, kit.join("run")).unwrap();
    kit
}

/// Calls `run` by `path` with an argument that the bench refuses; returns the output.
#[cfg(unix)]
#[track_caller]
fn refused(path: &Path, variables: &[(&str, &Path)]) -> String {
    let mut command = Command::new("/bin/sh");
    command.arg(path).args(["--out", "out", "--device=cpu"]).current_dir(path.parent().unwrap());
    let (status, text) = end(&command.envs(variables.iter().copied()).output().unwrap());
    assert_eq!(status, Some(1), "{text}");
    text
}

#[cfg(unix)]
#[test]
fn the_kit_is_found_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (kit, temporary) = (kit(folder.path()), folder.path().join("tmp"));
    fs::create_dir(&temporary).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(kit.join("run"), &link).unwrap();
    let mine = [("TMPDIR", temporary.as_path()), ("CDPATH", folder.path())];
    for path in [kit.join("run"), link, "run".into()] {
        let text = if path.parent() == Some(Path::new("")) {
            let mut command = Command::new("/bin/sh");
            command.args(["run", "--device", "cpu", "--out", "out"]).current_dir(&kit).envs(mine);
            end(&command.output().unwrap()).1
        } else {
            refused(&path, &mine)
        };
        assert_eq!(
            text,
            "error: --device cpu: the run measures a GPU; --device llvmpipe is Mesa's on the CPU\n"
        );
        assert_eq!(temporary.read_dir().unwrap().count(), 0, "{path:?}");
    }
    // Without dirname, readlink and mktemp.
    let tools = folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    for tool in ["mkdir", "rm", "ln", "sed"] {
        let all = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
        std::os::unix::fs::symlink(all.iter().find(|path| path.exists()).unwrap(), tools.join(tool)).unwrap();
    }
    let text = refused(&kit.join("run"), &[("PATH", &tools), ("TMPDIR", &temporary)]);
    assert!(text.contains("--device cpu: the run"), "{text}");
    let text = refused(&kit.join("run"), &[("TMPDIR", Path::new("/no/such/folder"))]);
    assert!(text.contains("--device cpu: the run"), "{text}");
    assert!(!kit.join("out").exists());
}

#[cfg(unix)]
#[test]
fn a_damaged_kit_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let kit = kit(folder.path());
    fs::remove_file(kit.join("jem")).unwrap();
    fs::write(kit.join("jem"), "").unwrap();
    assert!(refused(&kit.join("run"), &[]).contains("/jem is missing or empty: copy the whole folder again"));
    // Without the permission to execute, copies are run.
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    fs::copy(env!("CARGO_BIN_EXE_jem"), kit.join("jem")).unwrap();
    fs::set_permissions(kit.join("jem"), mode(0o644)).unwrap();
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let text = refused(&kit.join("run"), &[("TMPDIR", &temporary)]);
    assert!(text.contains("--device cpu: the run"), "{text}");
    assert_eq!(temporary.read_dir().unwrap().count(), 0);
}

/// Steps have their own `HOME`, in which the Vulkan loader finds nothing of the user's.
#[cfg(unix)]
#[test]
fn a_driver_that_is_installed_at_home_is_named_to_the_steps() {
    let system = ["/etc", "/usr/share", "/usr/local/share", "/usr/local/etc"];
    let files = system.iter().filter_map(|folder| Path::new(folder).join("vulkan/icd.d").read_dir().ok());
    let mut names = files.flatten().map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    if names.any(|name| name.contains("nvidia")) {
        // The loader finds that driver.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (kit, manifests) = (kit(folder.path()), folder.path().join(".local/share/vulkan/icd.d"));
    fs::create_dir_all(&manifests).unwrap();
    fs::remove_file(kit.join("jem-bench")).unwrap();
    fs::write(
        kit.join("jem-bench"),
        "#!/bin/sh\ncase $* in *--check) ;; *) echo \"$VK_DRIVER_FILES|$VK_ICD_FILENAMES\" ;; esac\n",
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    fs::set_permissions(kit.join("jem-bench"), mode(0o755)).unwrap();
    let manifest = manifests.join("nvidia_icd.json");
    fs::write(&manifest, "{}").unwrap();
    let mut command = Command::new("/bin/sh");
    command.arg(kit.join("run")).env("HOME", folder.path()).env("TMPDIR", folder.path());
    let output = command.env_remove("VK_DRIVER_FILES").env_remove("VK_ICD_FILENAMES").output().unwrap();
    let path = manifest.display();
    assert_eq!(end(&output), (Some(0), format!("{path}|{path}\n")));
}

/// The bench's other commands.
#[cfg(unix)]
#[test]
fn the_bench_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (status, text) = end(&in_folder(folder.path(), &["steps", "--batch", "0"]).output().unwrap());
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("--batch"), "{text}");
    let launch = ["launch", "--device", "cpu", "--quick", "--out"];
    let (status, text) = end(&in_folder(folder.path(), &launch).arg(&file).output().unwrap());
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(&format!("{}: File exists", file.display())), "{text}");
    if Path::new("/dev/full").exists() {
        let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = in_folder(folder.path(), &launch);
        let status = command.arg("there").stdout(full()).stderr(full()).status().unwrap();
        assert!(status.code().is_some_and(|status| status < 2), "{status}");
        assert!(folder.path().join("there/bench.json").exists());
    }
}
