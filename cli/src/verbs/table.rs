//! Tables of `meta.k8s.io/v1` as kubectl prints them.

use serde_json::Value;

/// Blanks between two columns, and the least width of a column with them.
const GAP: usize = 3;
const WIDTH_MIN: usize = 6;

/// What to print of tables.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TableForm {
    /// Also the columns that are for wide output.
    pub(crate) wide: bool,
    /// A first column with the namespace.
    pub(crate) namespaces: bool,
    /// A last column with the labels.
    pub(crate) labels: bool,
}

/// Lines of cells under headings, each column as wide as its widest cell.
#[derive(Debug, Default)]
pub(crate) struct Printed {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Printed {
    /// Headings of an own table.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|h| (*h).to_owned()).collect(), ..Self::default() }
    }

    /// One more row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// A server's table. `prefix` makes the printed name of a row's first cell.
    pub(crate) fn of(table: &Value, form: TableForm, prefix: impl Fn(&str) -> String) -> Self {
        let columns: Vec<(usize, &Value)> = array(&table["columnDefinitions"])
            .enumerate()
            .filter(|(_, column)| form.wide || column["priority"].as_i64().unwrap_or(0) == 0)
            .collect();
        let mut headings: Vec<String> = columns
            .iter()
            .map(|(_, column)| column["name"].as_str().unwrap_or_default().to_uppercase())
            .collect();
        if form.namespaces {
            headings.insert(0, "NAMESPACE".to_owned());
        }
        if form.labels {
            headings.push("LABELS".to_owned());
        }
        let row = |row: &Value| {
            let mut cells: Vec<String> =
                columns.iter().map(|(index, _)| cell(&row["cells"][*index])).collect();
            if let Some(name) = cells.first_mut() {
                *name = prefix(name);
            }
            let metadata = &row["object"]["metadata"];
            if form.namespaces {
                cells.insert(0, cell(&metadata["namespace"]));
            }
            if form.labels {
                cells.push(labels(&metadata["labels"]));
            }
            cells
        };
        Self { headings, rows: array(&table["rows"]).map(row).collect(), widths: Vec::new() }
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The columns are at least as wide as those of a table that was printed before.
    pub(crate) fn widened_to(mut self, other: &Printed) -> Self {
        self.widths = other.widths();
        self
    }

    /// Widths of the columns, gaps included.
    fn widths(&self) -> Vec<usize> {
        let mut widths = self.widths.clone();
        for line in std::iter::once(&self.headings).chain(&self.rows) {
            widths.resize(widths.len().max(line.len()), WIDTH_MIN);
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count() + GAP);
            }
        }
        widths
    }

    /// The lines, with headings or without.
    pub(crate) fn lines(&self, headings: bool) -> Vec<String> {
        let widths = self.widths();
        let head = headings.then_some(&self.headings);
        let line = |cells: &Vec<String>| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<String>().trim_end().to_owned()
        };
        head.into_iter().chain(&self.rows).map(line).collect()
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A cell as text: strings as they are, without line breaks.
fn cell(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.replace('\n', "\\n"),
        None if value.is_null() => String::new(),
        None => value.to_string(),
    }
}

/// `a=1,b=2`, or `<none>`.
pub(crate) fn labels(labels: &Value) -> String {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(form: TableForm, expected: Expect) {
        let table = json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Ready", "priority": 0},
                {"name": "IP", "priority": 1}],
            "rows": [
                {"cells": ["a", "1/1", null], "object": {"metadata": {"namespace": "one"}}},
                {"cells": ["longer-name", 3, "10.0.0.1"],
                 "object": {"metadata": {"namespace": "two", "labels": {"app": "x"}}}},
            ],
        });
        let printed = Printed::of(&table, form, |name| format!("pod/{name}"));
        expected.assert_eq(&printed.lines(true).join("\n"));
    }

    #[test]
    fn columns_are_as_kubectl_prints_them() {
        check(
            TableForm::default(),
            expect![[r#"
                NAME              READY
                pod/a             1/1
                pod/longer-name   3"#]],
        );
        check(
            TableForm { wide: true, namespaces: true, labels: true },
            expect![[r#"
                NAMESPACE   NAME              READY   IP         LABELS
                one         pod/a             1/1                <none>
                two         pod/longer-name   3       10.0.0.1   app=x"#]],
        );
    }

    #[test]
    fn a_later_table_keeps_the_columns_in_line() {
        let mut first = Printed::new(&["NAME", "READY"]);
        first.row(vec!["a-long-name".to_owned(), "1/1".to_owned()]);
        let mut next = Printed::new(&["NAME", "READY"]);
        next.row(vec!["b".to_owned(), "0/1".to_owned()]);
        assert_eq!(next.widened_to(&first).lines(false), ["b             0/1"]);
    }
}
