//! Figures in JSON and in tables.

use super::bootstrap::Estimate;
use crate::report::document::Block;
use serde_json::{Map, Value, json};

/// A JSON object of figures. The intervals of its numbers stand under `interval`, by the numbers' names.
#[derive(Debug, Default)]
pub(super) struct Object {
    values: Map<String, Value>,
    intervals: Map<String, Value>,
}

impl Object {
    /// Adds a value.
    pub fn value(&mut self, key: &str, value: impl Into<Value>) {
        self.values.insert(key.into(), value.into());
    }

    /// Adds a number with its interval; null where it is not a number.
    pub fn estimate(&mut self, key: &str, estimate: &Estimate) {
        self.value(key, estimate.value);
        self.intervals.insert(key.into(), json!(estimate.interval()));
    }

    /// The object.
    pub fn finish(mut self) -> Value {
        if !self.intervals.is_empty() {
            self.values.insert("interval".into(), Value::Object(self.intervals));
        }
        Value::Object(self.values)
    }

    /// The entries of the object.
    pub fn entries(self) -> Map<String, Value> {
        let Value::Object(entries) = self.finish() else { unreachable!("an object") };
        entries
    }
}

/// The form of a number in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A share in percent, with two digits.
    Percent,
    /// A number with this many digits.
    Digits(usize),
}

impl Form {
    /// A number.
    pub fn number(self, value: f64) -> String {
        match self {
            _ if value.is_nan() => "–".into(),
            Self::Percent => format!("{:.2}%", 100.0 * value),
            Self::Digits(digits) => format!("{value:.digits$}"),
        }
    }

    /// A number with its interval.
    pub fn estimate(self, estimate: &Estimate) -> String {
        match (self, estimate.interval()) {
            (_, None) => self.number(estimate.value),
            (Self::Percent, Some([low, high])) => {
                format!("{:.2}% [{:.2}, {:.2}]", 100.0 * estimate.value, 100.0 * low, 100.0 * high)
            }
            (Self::Digits(digits), Some([low, high])) => {
                format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", estimate.value)
            }
        }
    }
}

/// A row of a comparison: a figure of each model, if the model has it.
pub(super) struct Row<'a> {
    pub name: String,
    pub form: Form,
    pub figures: Vec<Option<&'a Estimate>>,
}

/// A table of figures, a column for each of `models`, and for each model after the first one with the paired difference
/// of the first to it.
pub(super) fn compared(caption: &str, models: &[String], rows: &[Row<'_>]) -> Block {
    let mut head = vec![String::new()];
    head.extend(models.iter().cloned());
    head.extend(models.iter().skip(1).map(|other| format!("{} − {other}", models[0])));
    let cell =
        |form: Form, figure: Option<&Estimate>| figure.map_or("–".into(), |figure| form.estimate(figure));
    let row = |row: &Row<'_>| {
        let mut cells = vec![row.name.clone()];
        cells.extend(row.figures.iter().map(|figure| cell(row.form, *figure)));
        let differences = row.figures.iter().skip(1).map(|other| {
            let difference = row.figures[0].zip(*other).map(|(own, other)| own.minus(other));
            cell(row.form, difference.as_ref())
        });
        cells.extend(differences);
        cells
    };
    Block::Table { caption: caption.into(), head, rows: rows.iter().map(row).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::bootstrap::{RESAMPLES, Resamples};

    #[test]
    fn intervals_stand_beside_their_numbers() {
        let mut object = Object::default();
        object.value("images", 3);
        object.estimate("accuracy", &Resamples::new(4, 0).share(&[true; 4]));
        object.estimate("ece", &Estimate::new(f64::NAN, vec![f64::NAN; RESAMPLES]));
        let value = object.finish();
        assert_eq!(
            (&value["images"], &value["accuracy"], &value["ece"]),
            (&json!(3), &json!(1.0), &Value::Null)
        );
        assert_eq!(value["interval"]["accuracy"][1], json!(1.0));
        assert!(value["interval"]["accuracy"][0].as_f64().unwrap() < 0.5);
        assert_eq!(value["interval"]["ece"], Value::Null);
    }

    #[test]
    fn models_have_columns_and_differences() {
        let [a, b] = [0.5, 0.25].map(|value| Estimate::new(value, vec![value; RESAMPLES]));
        let rows = [
            Row { name: "accuracy".into(), form: Form::Percent, figures: vec![Some(&a), Some(&b)] },
            Row { name: "other".into(), form: Form::Digits(1), figures: vec![Some(&a), None] },
        ];
        let Block::Table { head, rows, .. } = compared("", &["mine".into(), "base".into()], &rows) else {
            panic!()
        };
        assert_eq!(head, ["", "mine", "base", "mine − base"]);
        assert_eq!(
            rows[0],
            ["accuracy", "50.00% [50.00, 50.00]", "25.00% [25.00, 25.00]", "25.00% [25.00, 25.00]"]
        );
        assert_eq!(rows[1], ["other", "0.5 [0.5, 0.5]", "–", "–"]);
    }
}
