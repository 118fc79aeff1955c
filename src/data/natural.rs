//! The order of names in which numbers count as numbers: 2 comes before 10, and `class_2` before `class_10`.

use std::cmp::Ordering;

/// Compares names; runs of digits compare by value. Names that differ only in leading zeros compare as text.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    loop {
        let ((text_a, after_a), (text_b, after_b)) = (split(rest_a, false), split(rest_b, false));
        let ((number_a, after_a), (number_b, after_b)) = (split(after_a, true), split(after_b, true));
        let order = text_a.cmp(text_b).then_with(|| value(number_a).cmp(&value(number_b)));
        if order != Ordering::Equal {
            return order;
        }
        if after_a.is_empty() && after_b.is_empty() {
            return a.cmp(b);
        }
        (rest_a, rest_b) = (after_a, after_b);
    }
}

/// The beginning of `text` that is all digits (or has none), and the rest.
fn split(text: &str, digits: bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

/// A key that orders digits by value, at any length.
fn value(digits: &str) -> (usize, &str) {
    let digits_only = digits.trim_start_matches('0');
    // No number comes before 0.
    (if digits.is_empty() { 0 } else { digits_only.len() + 1 }, digits_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        let ordered = [
            "",
            "0",
            "1",
            "2",
            "9",
            "10",
            "10a",
            "010b",
            "100000000000000000000000",
            "a",
            "a0",
            "a1b",
            "a1b2",
            "a1b10",
            "a2",
            "class_2",
            "class_10",
            "class_a",
            "é1",
            "é11",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a:?} and {b:?}");
            }
        }
        assert_eq!(compare("01", "1"), Ordering::Less);
        assert_eq!(compare("1", "01"), Ordering::Greater);
    }
}
