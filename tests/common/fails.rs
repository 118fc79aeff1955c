//! Mistakes that must be errors.

/// Asserts that the error of `result` has all `parts`.
pub fn fails<T: std::fmt::Debug>(result: jem::Result<T>, parts: &[&str]) {
    let message = result.expect_err("a mistake").to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}
