//! The results: printed as they come, kept for `bench.json` and `bench.md`.

use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Characters of the first column, the labels.
const LABEL: usize = 58;

macro_rules! say {
    ($($words:tt)*) => {
        print(&format!($($words)*));
    };
}

/// Prints a line. A full or closed output is no reason to stop: the files contain it too.
pub fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Facts, tables, and what is missing from them.
#[derive(Debug)]
pub struct Report {
    folder: Option<PathBuf>,
    facts: Vec<(&'static str, String)>,
    tables: Vec<Table>,
    not_measured: Vec<String>,
    errors: Vec<String>,
}

#[derive(Debug, Default)]
struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
    notes: Vec<String>,
}

impl Report {
    /// An empty report about `facts`, which it prints. It is written into `folder`, which is made if need be.
    ///
    /// # Errors
    /// A message with the folder, if it cannot be made.
    pub fn new(folder: Option<&Path>, facts: Vec<(&'static str, String)>) -> Result<Self, String> {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        for (name, value) in &facts {
            say!("{name:<8} {value}");
        }
        let folder = folder.map(Path::to_owned);
        Ok(Self { folder, facts, tables: Vec::new(), not_measured: Vec::new(), errors: Vec::new() })
    }

    /// Begins a table, with an explanation of its columns; the first holds the labels.
    pub fn table(&mut self, title: &str, about: &str, columns: &[&'static str]) {
        say!("\n{title}");
        self.tables.push(Table { title: title.into(), columns: columns.to_vec(), ..Table::default() });
        if !about.is_empty() {
            self.note(about);
        }
        say!("{}", line(columns.iter().map(|&column| column.to_owned())));
    }

    /// A row of the table that was begun last: a value a column, null where there is none.
    pub fn row(&mut self, values: Vec<Value>) {
        say!("{}", line(values.iter().map(cell)));
        self.last_table().rows.push(values);
        self.keep();
    }

    /// Adds a note to the table that was begun last.
    pub fn note(&mut self, text: &str) {
        say!("  ({text})");
        self.last_table().notes.push(text.to_owned());
    }

    fn last_table(&mut self) -> &mut Table {
        self.tables.last_mut().expect("rows and notes follow the table's beginning")
    }

    /// Reports that `what` was not measured, and the reason.
    pub fn left_out(&mut self, what: &str) {
        say!("  not measured: {what}");
        self.not_measured.push(what.to_owned());
        self.keep();
    }

    /// Reports that `what` could not be measured. A tensor that is too large for the device is no error.
    pub fn failed(&mut self, what: &str, error: &jem::Error) {
        match error {
            jem::Error::Limit { .. } => self.left_out(&format!("{what}: {error}")),
            _ => self.error(&format!("{what}: {error}")),
        }
    }

    /// Reports an error.
    pub fn error(&mut self, message: &str) {
        say!("  ERROR: {message}");
        self.errors.push(message.to_owned());
        self.keep();
    }

    /// The number of errors.
    pub fn errors(&self) -> usize {
        self.errors.len()
    }

    /// Writes the report so far, in case the process crashes. Errors are ignored here: the last [`Self::write`] reports
    /// them.
    fn keep(&self) {
        let _ = self.write();
    }

    /// Writes `bench.json` and `bench.md`, if a folder was given.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self) -> std::io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let json = serde_json::to_string_pretty(&self.json()).expect("plain data");
        for (name, text) in [("bench.json", json + "\n"), ("bench.md", self.markdown())] {
            // Renamed when complete, so that a crash leaves no half file.
            let part = folder.join(format!("{name}.part"));
            std::fs::write(&part, text)?;
            std::fs::rename(&part, folder.join(name))?;
        }
        Ok(())
    }

    /// Every table with an object for each row.
    fn json(&self) -> Value {
        let facts: Map<_, _> = self.facts.iter().map(|(name, v)| ((*name).into(), json!(v))).collect();
        let object = |table: &Table, row: &Vec<Value>| -> Map<String, Value> {
            table.columns.iter().map(|&column| column.to_owned()).zip(row.iter().cloned()).collect()
        };
        let table = |table: &Table| {
            let rows: Vec<_> = table.rows.iter().map(|row| object(table, row)).collect();
            json!({"title": table.title, "notes": table.notes, "columns": table.columns, "rows": rows})
        };
        let tables: Vec<_> = self.tables.iter().map(table).collect();
        json!({"facts": facts, "tables": tables, "not_measured": self.not_measured, "errors": self.errors})
    }

    fn markdown(&self) -> String {
        let mut text = String::from("# Measured by jem's bench\n\n");
        for (name, value) in &self.facts {
            writeln!(text, "- {name}: {value}").expect("a string");
        }
        let cells = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        for table in &self.tables {
            write!(text, "\n## {}\n\n", table.title).expect("a string");
            text += &cells(table.columns.iter().map(|&column| column.to_owned()).collect());
            text += &format!("|---|{}\n", "---:|".repeat(table.columns.len() - 1));
            for row in &table.rows {
                text += &cells(row.iter().map(cell).collect());
            }
            for note in &table.notes {
                write!(text, "\n{note}\n").expect("a string");
            }
        }
        for (title, lines) in [("Not measured", &self.not_measured), ("Errors", &self.errors)] {
            if !lines.is_empty() {
                let lines: String = lines.iter().map(|line| format!("- {line}\n")).collect();
                write!(text, "\n## {title}\n\n{lines}").expect("a string");
            }
        }
        text
    }
}

/// A line of a table on a terminal.
fn line(cells: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for (column, cell) in cells.enumerate() {
        let written =
            if column == 0 { write!(text, "  {cell:<LABEL$}") } else { write!(text, " {cell:>12}") };
        written.expect("a string");
    }
    text.trim_end().to_owned()
}

/// Numbers with four significant digits.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().expect("a float");
            match number.abs().log10().floor() {
                _ if number == 0.0 => "0".into(),
                power if power < -3.0 => format!("{number:.3e}"),
                power => format!("{number:.*}", (3.0 - power).max(0.0) as usize),
            }
        }
        other => other.to_string(),
    }
}

/// A duration in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Bytes in MiB.
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
