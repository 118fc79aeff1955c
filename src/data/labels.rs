//! A CSV file with the class of each picture of a folder, as Kaggle's competitions have.
//!
//! A row has a picture's path, file name or file name without extension, and its class. The first row may name the
//! columns: such as `image`, `file` or `id`, and `label` or `class`. Without such names the first two columns are taken.

use crate::words::counted;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord};

use super::natural;
use super::reading::ClassOrder;
use crate::error::{Error, Result};

/// The names of the column of pictures, in any case.
const FILE: [&str; 14] = [
    "id",
    "image",
    "file",
    "filename",
    "file_name",
    "image_id",
    "image_name",
    "image_path",
    "path",
    "filepath",
    "img",
    "image_file",
    "name",
    "picture",
];
/// The names of the column of classes, in any case.
const LABEL: [&str; 10] =
    ["label", "class", "labels", "target", "category", "class_name", "label_name", "breed", "species", "y"];

/// The class of each of some files.
#[derive(Debug, PartialEq, Eq)]
pub struct Labels {
    /// The number of the class of each file.
    pub labels: Vec<u32>,
    /// The names of the classes.
    pub class_names: Vec<String>,
    /// Rows without a picture, in one line.
    pub note: Option<String>,
}

/// A row: its line in the file, the picture and the class.
struct Row {
    line: u64,
    file: String,
    label: String,
}

/// Reads the classes of `files`, which are in `folder`, from the CSV file `path`.
///
/// # Errors
/// [`Error::Io`]; [`Error::File`] with the line when the file is not CSV with such columns, a row names several
/// pictures, a picture has rows of two classes, or one has none.
pub fn read(path: &Path, folder: &Path, files: &[PathBuf], order: ClassOrder) -> Result<Labels> {
    let wrong = |message: String| Error::file(path, message);
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let index = Index::of(folder, files);
    let rows = rows(&bytes, &index).map_err(wrong)?;
    let mut found: Vec<Option<&Row>> = vec![None; files.len()];
    let mut missing = Vec::new();
    for row in &rows {
        let file = match index.find(&row.file) {
            Found::One(file) => file,
            Found::None => {
                missing.push(row);
                continue;
            }
            Found::Several => {
                let message =
                    format!("line {}: several images are called {:?}: give their paths", row.line, row.file);
                return Err(wrong(message));
            }
        };
        match found[file] {
            Some(first) if first.label != row.label => {
                return Err(wrong(format!(
                    "line {}: {} is of class {}, but of class {} in line {}",
                    row.line, row.file, row.label, first.label, first.line
                )));
            }
            _ => found[file] = Some(row),
        }
    }
    if let Some(without) = found.iter().position(Option::is_none) {
        let hint = match missing.first() {
            Some(row) => {
                format!("; line {} names {:?}, which is not in {}", row.line, row.file, folder.display())
            }
            None => String::new(),
        };
        return Err(wrong(format!("has no row for the image {}{hint}", files[without].display())));
    }
    let mut class_names: Vec<String> = found.iter().flatten().map(|row| row.label.clone()).collect();
    class_names.sort_by(|a, b| match order {
        ClassOrder::Natural => natural::compare(a, b),
        ClassOrder::Text => a.cmp(b),
    });
    class_names.dedup();
    let numbers: HashMap<&str, u32> = class_names.iter().map(String::as_str).zip(0..).collect();
    let labels = found.iter().flatten().map(|row| numbers[row.label.as_str()]).collect();
    let note = missing.first().map(|row| {
        format!(
            "{} of {} of {} {} no image in {}, the first in line {}: {}",
            missing.len(),
            counted(rows.len(), "row"),
            path.display(),
            if missing.len() == 1 { "names" } else { "name" },
            folder.display(),
            row.line,
            row.file
        )
    });
    Ok(Labels { labels, class_names, note })
}

/// Whether the CSV file `path` has a row for any of `files`, which are in `folder`. A file that cannot be read is said to
/// have one, so that [`read`] returns its error.
pub(super) fn covers(path: &Path, folder: &Path, files: &[PathBuf]) -> bool {
    let index = Index::of(folder, files);
    let rows = std::fs::read(path).map(|bytes| rows(&bytes, &index));
    let Ok(Ok(rows)) = rows else { return true };
    rows.iter().any(|row| index.find(&row.file) != Found::None)
}

/// The rows of the file, without the one that names the columns.
fn rows(bytes: &[u8], index: &Index) -> Result<Vec<Row>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let records: Result<Vec<StringRecord>, csv::Error> = reader.records().collect();
    let records = records.map_err(|error| match (error.kind(), error.position()) {
        (csv::ErrorKind::Utf8 { .. }, Some(at)) => format!("line {}: expected text in UTF-8", at.line()),
        (_, Some(at)) => format!("line {}: {error}", at.line()),
        (_, None) => error.to_string(),
    })?;
    let Some(first) = records.first() else {
        return Err("expected rows of an image and its class, found none".into());
    };
    let column = |names: &[&str]| {
        // In the order of the names, so that `id` is taken before `name`.
        names.iter().find_map(|name| first.iter().position(|cell| cell.eq_ignore_ascii_case(name)))
    };
    let (columns, named) = match (column(&FILE), column(&LABEL)) {
        (Some(file), Some(label)) => ([file, label], true),
        _ if first.len() < 2 => {
            return Err(format!(
                "line 1: expected an image and its class separated by a comma, found {:?}",
                first.get(0).unwrap_or("")
            ));
        }
        _ if first.len() > 2 && matches!(index.find(&first[0]), Found::None) => {
            return Err(format!(
                "line 1: expected a column image and a column label, found {}",
                first.iter().collect::<Vec<_>>().join(", ")
            ));
        }
        // A first row that names no picture names the columns.
        _ => ([0, 1], matches!(index.find(&first[0]), Found::None)),
    };
    let mut rows = Vec::new();
    for record in records.iter().skip(usize::from(named)) {
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |column: usize| record.get(column).filter(|cell| !cell.is_empty());
        let [Some(file), Some(label)] = columns.map(cell) else {
            return Err(format!(
                "line {line}: expected an image and its class, found {:?}",
                record.iter().collect::<Vec<_>>().join(",")
            ));
        };
        rows.push(Row { line, file: file.into(), label: label.into() });
    }
    Ok(rows)
}

/// The files by path in their folder, by name, and by name without extension.
struct Index {
    files: HashMap<String, Found>,
    /// The name of the folder between slashes, with which a path may begin.
    folder: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    None,
    One(usize),
    Several,
}

impl Index {
    fn of(folder: &Path, files: &[PathBuf]) -> Self {
        let mut all = HashMap::new();
        // A path wins over a name, and a name over one without extension.
        type Key = fn(&Path) -> PathBuf;
        let keys: [Key; 4] = [
            Path::to_path_buf,
            |path| path.with_extension(""),
            |path| path.file_name().unwrap_or_default().into(),
            |path| path.file_stem().unwrap_or_default().into(),
        ];
        for key in keys {
            let mut these = HashMap::new();
            for (number, file) in files.iter().enumerate() {
                let inside = file.strip_prefix(folder).unwrap_or(file);
                let name = key(inside).to_string_lossy().replace('\\', "/");
                let entry = these.entry(name).or_insert(Found::One(number));
                if *entry != Found::One(number) {
                    *entry = Found::Several;
                }
            }
            for (name, found) in these {
                all.entry(name).or_insert(found);
            }
        }
        let folder = folder.file_name().unwrap_or_default().to_string_lossy();
        Self { files: all, folder: format!("/{folder}/") }
    }

    fn find(&self, name: &str) -> Found {
        let name = name.replace('\\', "/");
        let get = |name: &str| self.files.get(name).copied();
        let inside = || {
            let rooted = format!("/{name}");
            let (_, inside) = rooted.split_once(&self.folder)?;
            get(inside)
        };
        get(name.trim_start_matches("./")).or_else(inside).unwrap_or(Found::None)
    }
}
