//! Licences and sources of all dependencies, on every platform.

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// SPDX names of the licences that allow distribution with a program under MIT or Apache-2.0.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // Mozilla's list of root certificates: data.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether allowed licences satisfy the expression: `AND` needs both sides, `OR` (in old files `/`) one.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let one = |part: &str| ALLOWED.contains(&part.trim().trim_matches(['(', ')']));
    expression.split(" AND ").all(|part| part.split(" OR ").any(one))
}

/// The packages that `cargo metadata` lists; it uses the registry only if they are not all on disk.
fn packages() -> Vec<Value> {
    let metadata = |offline: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["metadata", "--format-version", "1", "--locked", "--all-features"]).args(offline);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo starts")
    };
    let mut output = metadata(&["--offline"]);
    if !output.status.success() {
        output = metadata(&[]);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let Value::Array(packages) = metadata["packages"].take() else { panic!("no packages") };
    packages
}

#[test]
fn expressions() {
    for allowed in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND LGPL-2.1-or-later", ""] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn every_dependency_has_a_permissive_licence_and_comes_from_one_registry() {
    let packages = packages();
    assert!(packages.len() > 100, "{} packages", packages.len());
    let mut sources = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence), "{name}: {licence:?}");
        if let Some(source) = package["source"].as_str() {
            assert!(source.starts_with("registry+"), "{name} comes from {source}");
            sources.insert(source.to_owned());
        }
    }
    assert_eq!(sources.len(), 1, "{sources:?}");
}
