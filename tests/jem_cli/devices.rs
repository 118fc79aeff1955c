//! `jem devices`.

use crate::support::*;

#[test]
fn adapters_are_listed_with_what_matters() {
    let facts = facts(&["devices"]);
    let adapters = facts["adapters"].as_array().expect("a list");
    assert!(!adapters.is_empty(), "the tests have an adapter");
    for adapter in adapters {
        for key in [
            "name",
            "type",
            "backend",
            "driver",
            "driver_info",
            "max_storage_binding",
            "max_buffer",
            "workgroup_memory",
            "workgroup_invocations",
            "f16",
            "subgroups",
            "timestamps",
            "pipeline_cache",
            "cooperative_matrices",
            "tuned_shapes",
        ] {
            assert!(adapter.get(key).is_some(), "no {key} in {adapter}");
        }
    }
    assert!(facts["cpu"]["threads"].as_u64().is_some_and(|threads| threads > 0), "{facts}");
    let auto = facts["auto"].as_str().expect("a name");
    let printed = succeed(&["devices"]);
    let marked: Vec<&str> = printed.lines().filter(|line| line.contains("<- auto")).collect();
    let marked: Vec<&str> = marked.iter().map(|line| line.trim_end_matches("  <- auto")).collect();
    let of = |name: &str| auto.starts_with(name.trim_start_matches("gpu:"));
    assert!(marked.len() == 1 && of(marked[0]), "{auto}: {printed}");
    for adapter in adapters {
        assert!(printed.contains(adapter["name"].as_str().expect("a name")), "{printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 100), "{printed}");
}

#[test]
fn kernels_are_tested_where_asked() {
    let [cpu, gpu] = devices();
    let facts = facts(&["devices", "--test", &cpu, "--test", &gpu]);
    let tests = facts["tests"].as_array().expect("a list");
    assert_eq!(tests.len(), 2);
    for test in tests {
        assert_eq!(test["passed"], true, "{test}");
        let kernels = test["kernels"].as_array().expect("a list");
        assert!(kernels.len() > 20 && kernels.iter().all(|kernel| kernel["passed"] == true), "{test}");
    }
    let printed = succeed(&["devices", "--test"]);
    assert!(printed.contains("conv2d") && printed.contains("all passed"), "{printed}");
    misuse(&["devices", "--test", "cuda"], &["cuda", "gpu:NAME"]);
}
