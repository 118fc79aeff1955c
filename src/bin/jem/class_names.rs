//! The names of a model's classes: from a file or a data set, found in what users write, and matched with those of images.

use jem::data::named::Collection;
use jem::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The names of the classes of a data set, or of the lines of a text file; `flag` is for messages.
pub fn read(flag: &str, text: &str) -> Result<Vec<String>> {
    if let Some(collection) = Collection::named(text) {
        return Ok(collection.class_names());
    }
    let lines = std::fs::read_to_string(text).map_err(|error| {
        let known = Collection::known();
        let message =
            format!("expected a text file with a name a line, or one of {known}, got {text:?}: {error}");
        Error::setting(flag, message)
    })?;
    Ok(lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The class that `text` names: its number, or its name.
pub fn find(flag: &str, text: &str, classes: usize, names: Option<&[String]>) -> Result<u32> {
    let by_name = names.and_then(|names| names.iter().position(|name| same(name, text)));
    let by_number = || text.parse::<usize>().ok().filter(|&class| class < classes);
    // Names may be numbers, as those of digits are; they come first.
    match by_name.or_else(by_number) {
        Some(class) => Ok(class as u32),
        None => {
            let names = names.map(|names| format!(", {}", names.join(", "))).unwrap_or_default();
            Err(Error::setting(flag, format!("expected 0 to {}{names} or all, got {text:?}", classes - 1)))
        }
    }
}

/// Whether two names are the same but for letter case, spaces, hyphens and underscores.
fn same(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], " ").trim().to_owned();
    plain(a) == plain(b)
}

/// Names of images' classes with the model's names for them.
#[derive(Debug, Clone, Default)]
pub struct Map(BTreeMap<String, String>);

impl Map {
    /// Reads `FROM=TO,FROM=TO`, or a file with such pairs, one a line.
    pub fn read(text: &str) -> Result<Self> {
        let wrong = |message: String| Error::setting("--classes-map", message);
        let pairs = match (text.contains('='), Path::new(text).is_file()) {
            (_, true) => {
                let lines =
                    std::fs::read_to_string(text).map_err(|error| wrong(format!("{text}: {error}")))?;
                lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
            }
            (true, false) => text.split(',').map(str::to_owned).collect::<Vec<_>>(),
            (false, false) => {
                let message =
                    format!("expected NAME=NAME,NAME=NAME or a file with one pair a line, got {text:?}");
                return Err(wrong(message));
            }
        };
        let pair = |pair: String| {
            let (from, to) = pair
                .split_once(['=', ','])
                .ok_or_else(|| wrong(format!("expected NAME=NAME, got {pair:?}")))?;
            Ok((from.trim().to_owned(), to.trim().to_owned()))
        };
        Ok(Self(pairs.into_iter().map(pair).collect::<Result<_>>()?))
    }

    /// The model's name for `name`.
    fn of<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }

    /// Refuses a pair whose second name is no class of the model, or whose first is none of the images.
    fn check(&self, images: &[String], model: &[String]) -> Result<()> {
        for (from, to) in &self.0 {
            let (what, name, among) = if !model.iter().any(|name| same(name, to)) {
                ("the model", to, model)
            } else if !images.contains(from) {
                ("the images", from, images)
            } else {
                continue;
            };
            let message = format!("{name:?} is no class of {what}, which have {}", among.join(", "));
            return Err(Error::setting("--classes-map", message));
        }
        Ok(())
    }
}

/// Images' classes among a model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The model's class for each of the images' classes.
    pub classes: Vec<Option<u32>>,
    /// The images' classes that the model does not have.
    pub unmatched: Vec<String>,
}

/// Finds images' classes among the model's by their names, after `map`.
pub fn matched(images: &[String], model: &[String], map: &Map) -> Result<Matched> {
    map.check(images, model)?;
    let position = |name: &String| model.iter().position(|other| same(other, map.of(name)));
    let classes: Vec<_> = images.iter().map(|name| position(name).map(|class| class as u32)).collect();
    let unmatched = images
        .iter()
        .zip(&classes)
        .filter(|(_, class)| class.is_none())
        .map(|(name, _)| name.clone())
        .collect();
    Ok(Matched { classes, unmatched })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn names_are_matched_and_not_positions() {
        let model = names("airplane automobile pickup_truck cat");
        let map = Map::read("plane=airplane, car=automobile").unwrap();
        let found = matched(&names("car Cat plane"), &model, &map).unwrap();
        assert_eq!(found, Matched { classes: vec![Some(1), Some(3), Some(0)], unmatched: vec![] });
        let found = matched(&names("car cat pickup-truck"), &model, &Map::default()).unwrap();
        assert_eq!(found, Matched { classes: vec![None, Some(3), Some(2)], unmatched: names("car") });
        let wrong = |text: &str| {
            let map = Map::read(text)?;
            matched(&names("car cat"), &model, &map).map(drop)
        };
        for (text, part) in [
            ("car=lorry", "\"lorry\" is no class of the model"),
            ("bus=automobile", "\"bus\" is no class of the images"),
            ("cat", "expected NAME=NAME"),
        ] {
            let message = wrong(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_class_has_a_number_and_perhaps_a_name() {
        let model = names("cat dog 0");
        for (text, class) in [("cat", 0), ("Dog", 1), ("0", 2), ("1", 1)] {
            assert_eq!(find("--class", text, 3, Some(&model)).unwrap(), class);
        }
        assert_eq!(find("--class", "0", 3, None).unwrap(), 0);
        let message = find("--class", "bird", 3, Some(&model)).unwrap_err().to_string();
        assert!(message.contains("expected 0 to 2, cat, dog, 0 or all, got \"bird\""), "{message}");
        assert!(find("--class", "3", 3, Some(&model)).is_err());
    }
}
