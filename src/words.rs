//! Numbers with their nouns, for messages.

use std::fmt::Display;

/// A number with a noun: `1 image`, `3 images`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let one = count == N::from(1);
    format!("{count} {}", if one { noun.to_owned() } else { plural(noun) })
}

/// The form of the noun for a number that the caller formats, such as `10,000`: `image` for one, else `images`.
pub fn noun(count: usize, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { plural(noun) }
}

/// The form of the verb, `is` or `are`, for a number of things.
pub fn is(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// The plural of a noun.
fn plural(noun: &str) -> String {
    let consonant = |letter: char| !"aeiou".contains(letter);
    match noun.strip_suffix('y') {
        Some(stem) if stem.ends_with(consonant) => format!("{stem}ies"),
        _ if ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "held-out image")).join(", "), {
            "0 held-out images, 1 held-out image, 2 held-out images"
        });
        assert_eq!(
            (counted(1_u64, "class"), counted(2_usize, "class")),
            ("1 class".into(), "2 classes".into())
        );
        assert_eq!(["batch", "entry", "day", "box"].map(plural), ["batches", "entries", "days", "boxes"]);
        assert_eq!((noun(1, "chain"), noun(0, "chain")), ("chain".into(), "chains".into()));
    }
}
