//! `metrics.csv`: one row per report, fixed columns, empty cells for values that were not measured.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::atomic;
use crate::io::journal::Journal;

/// Metrics by column name, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricsTable {
    /// The names; the rows are ordered by the first column (`iteration`).
    pub columns: Vec<String>,
    /// One value per column, `None` for an empty cell.
    pub rows: Vec<Vec<Option<f64>>>,
}

impl MetricsTable {
    /// Reads a file that [`MetricsLog`] wrote. Leaves out a last line that a crash truncated.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::File`] for a line that does not fit the header.
    pub fn read(path: &Path) -> Result<Self> {
        let (table, damage) = Self::read_until_damage(path)?;
        match damage {
            Some(message) => Err(Error::file(path, message)),
            None => Ok(table),
        }
    }

    /// The rows before the first line that does not match the header, and the problem with that line.
    fn read_until_damage(path: &Path) -> Result<(Self, Option<String>)> {
        let bytes = fs::read(path).map_err(Error::io(path))?;
        let text = String::from_utf8_lossy(&bytes);
        // The text after the last line break is an incomplete row.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = whole.lines();
        let columns: Vec<String> = lines.next().unwrap_or_default().split(',').map(String::from).collect();
        let mut rows = Vec::new();
        for (number, line) in lines.enumerate() {
            let values: Option<Vec<_>> = line
                .split(',')
                .map(|value| if value.is_empty() { Some(None) } else { value.parse().ok().map(Some) })
                .collect();
            match values {
                Some(values) if values.len() == columns.len() => rows.push(values),
                _ => {
                    let message = format!(
                        "line {}: expected {} numbers separated by commas, found {line:?}",
                        number + 2,
                        columns.len()
                    );
                    return Ok((Self { columns, rows }, Some(message)));
                }
            }
        }
        Ok((Self { columns, rows }, None))
    }

    /// Adds empty cells for those of `columns` that the table lacks. Returns false, without a change, if the table has
    /// other columns or another order.
    fn widen(&mut self, columns: &[&str]) -> bool {
        let present: Vec<Option<usize>> = columns.iter().map(|name| self.column(name)).collect();
        if !present.iter().flatten().copied().eq(0..self.columns.len()) {
            return false;
        }
        for row in &mut self.rows {
            *row = present.iter().map(|index| index.and_then(|index| row[index])).collect();
        }
        self.columns = columns.iter().map(|name| (*name).to_owned()).collect();
        true
    }

    /// The index of column `name`.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// The points (first column, column `name`) of all rows with finite values in both.
    pub fn points(&self, name: &str) -> Vec<(f64, f64)> {
        let Some(column) = self.column(name) else { return Vec::new() };
        let finite = |row: &Vec<Option<f64>>, index: usize| row[index].filter(|value| value.is_finite());
        self.rows.iter().filter_map(|row| Some((finite(row, 0)?, finite(row, column)?))).collect()
    }
}

/// Appends rows to a metrics file.
#[derive(Debug)]
pub struct MetricsLog {
    file: Journal,
    columns: usize,
}

impl MetricsLog {
    /// Creates a new file with a header of `columns`; replaces an existing file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn create(path: &Path, columns: &[&str]) -> Result<Self> {
        Self::start(path, columns, &[])
    }

    /// Continues a file after the row whose first column (the iteration) is `last`. Drops later rows, which a run wrote
    /// after its last checkpoint, because they will be written again. Creates a missing file. Adds empty cells for the
    /// columns that a file of an earlier version lacks.
    ///
    /// # Errors
    /// [`Error::File`] when the file has other columns, or a damaged line before row `last`;
    /// [`Error::Io`] when it cannot be read or written.
    pub fn resume(path: &Path, columns: &[&str], last: u64) -> Result<Self> {
        if !path.exists() {
            return Self::create(path, columns);
        }
        let (mut table, damage) = MetricsTable::read_until_damage(path)?;
        if !table.widen(columns) {
            return Err(Error::file(
                path,
                format!(
                    "expected the columns {}, found {}; it was written by another version or recipe: move it \
                     away or start a new run directory",
                    columns.join(","),
                    table.columns.join(",")
                ),
            ));
        }
        let reached = table.rows.iter().any(|row| row[0].is_some_and(|iteration| iteration >= last as f64));
        if let Some(message) = damage.filter(|_| !reached) {
            return Err(Error::file(path, message));
        }
        table.rows.retain(|row| row[0].is_some_and(|iteration| iteration <= last as f64));
        Self::start(path, columns, &table.rows)
    }

    /// Appends a row, one value per column, and writes it to the file. A row that cannot be written is retried with the
    /// next one.
    ///
    /// # Errors
    /// [`Error::Io`] when writing fails.
    ///
    /// # Panics
    /// If the number of values differs from the number of columns.
    pub fn append(&mut self, values: &[Option<f64>]) -> Result<()> {
        assert_eq!(values.len(), self.columns, "values of a metrics row");
        self.file.append(line(values).as_bytes());
        self.file.flush()
    }

    /// Syncs all rows, so that they survive a power cut.
    ///
    /// # Errors
    /// [`Error::Io`] when writing fails.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }

    fn start(path: &Path, columns: &[&str], rows: &[Vec<Option<f64>>]) -> Result<Self> {
        let mut text = columns.join(",") + "\n";
        text.extend(rows.iter().map(|row| line(row)));
        // Do not rewrite a file that is already correct.
        if fs::read(path).ok().as_deref() != Some(text.as_bytes()) {
            atomic::write(path, |file| file.write_all(text.as_bytes()))?;
        }
        let file = File::options().append(true).open(path).map_err(Error::io(path))?;
        Ok(Self { file: Journal::new(path, file, text.len() as u64)?, columns: columns.len() })
    }
}

/// A row of the file. Floats are written so that they read back bit for bit.
fn line(values: &[Option<f64>]) -> String {
    let fields: Vec<String> =
        values.iter().map(|value| value.map_or(String::new(), |value| value.to_string())).collect();
    fields.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 3] = ["iteration", "loss", "accuracy"];

    #[test]
    fn rows_come_back_with_their_bits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        let mut log = MetricsLog::create(&path, &COLUMNS).unwrap();
        let rows = vec![
            vec![Some(1.0), Some(0.1f32.into()), None],
            vec![Some(2.0), Some(f64::NAN), Some(1e-300)],
            vec![Some(3.0), Some(f64::NEG_INFINITY), Some(1.0 / 3.0)],
        ];
        for row in &rows {
            log.append(row).unwrap();
        }
        // Readable while the log is open.
        let table = MetricsTable::read(&path).unwrap();
        assert_eq!(table.columns, COLUMNS);
        assert_eq!(format!("{:?}", table.rows), format!("{rows:?}"));
        assert_eq!(table.points("accuracy"), [(2.0, 1e-300), (3.0, 1.0 / 3.0)]);
        assert_eq!(table.points("loss").len(), 1);
        assert!(table.points("absent").is_empty());
        assert!(fs::read_to_string(&path).unwrap().starts_with("iteration,loss,accuracy\n1,0.1000000"));
    }

    #[test]
    fn resuming_drops_what_will_be_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        let mut log = MetricsLog::resume(&path, &COLUMNS, 0).unwrap();
        for iteration in 1..=5 {
            log.append(&[Some(f64::from(iteration)), Some(0.5), None]).unwrap();
        }
        // A crash in the middle of a row.
        fs::write(&path, fs::read_to_string(&path).unwrap() + "6,0.2").unwrap();
        let mut log = MetricsLog::resume(&path, &COLUMNS, 3).unwrap();
        log.append(&[Some(4.0), Some(0.25), Some(1.0)]).unwrap();
        let expected = "iteration,loss,accuracy\n1,0.5,\n2,0.5,\n3,0.5,\n4,0.25,1\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn a_file_of_an_earlier_version_gets_the_new_columns() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        fs::write(&path, "iteration,accuracy\n1,0.5\n2,\n3,0.25\n").unwrap();
        let mut log = MetricsLog::resume(&path, &COLUMNS, 2).unwrap();
        log.append(&[Some(3.0), Some(4.0), None]).unwrap();
        let expected = "iteration,loss,accuracy\n1,,0.5\n2,,\n3,4,\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        // Another order is another file.
        assert!(MetricsLog::resume(&path, &["iteration", "accuracy", "loss"], 9).is_err());
    }

    #[test]
    fn damage_behind_the_last_row_is_dropped_with_the_rows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        let rows = b"iteration,loss,accuracy\n1,0.5,\n2,0.5,\n";
        fs::write(&path, [rows, b"\0\0\xff\0\n4,1,\n".as_slice()].concat()).unwrap();
        assert!(MetricsLog::resume(&path, &COLUMNS, 3).unwrap_err().to_string().contains("line 4"));
        MetricsLog::resume(&path, &COLUMNS, 2).unwrap();
        assert_eq!(fs::read(&path).unwrap(), rows);
    }

    #[test]
    fn other_columns_and_damaged_lines_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        MetricsLog::create(&path, &COLUMNS).unwrap();
        let message = MetricsLog::resume(&path, &["iteration", "gap"], 9).unwrap_err().to_string();
        assert!(
            message.contains("iteration,gap") && message.contains("iteration,loss,accuracy"),
            "{message}"
        );
        for damaged in ["1,2", "1,2,x", "1,2,3,4"] {
            fs::write(&path, format!("iteration,loss,accuracy\n0,,\n{damaged}\n")).unwrap();
            let message = MetricsTable::read(&path).unwrap_err().to_string();
            assert!(message.contains("line 3") && message.contains(damaged), "{message}");
        }
    }
}
