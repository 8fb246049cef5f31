//! Lists: a table with Docker's headers, JSON lines, or a template per row.

use std::collections::BTreeMap;

use super::table::align;
use crate::error::CliError;
use crate::template::{Template, TemplateError, Value};

/// What a kind of list looks like.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The cells of the default table, as a template.
    pub(crate) table: &'static str,
    /// The cell printed by `--quiet`.
    pub(crate) quiet: &'static str,
    /// Headers by cell.
    pub(crate) headers: &'static [(&'static str, &'static str)],
}

impl Layout {
    /// Renders the rows. `format` is `--format` or its default from the configuration file.
    pub(crate) fn render(
        &self,
        format: Option<&str>,
        quiet: bool,
        rows: &[Value],
    ) -> Result<String, CliError> {
        let mut list = self.list(format, quiet)?;
        rows.iter().for_each(|row| list.add(row));
        list.finish()
    }

    /// A list to which rows are added one by one, which need not stay.
    pub(crate) fn list(&self, format: Option<&str>, quiet: bool) -> Result<List, CliError> {
        let format = format
            .filter(|format| !format.is_empty())
            .unwrap_or("table")
            .trim();
        if quiet && matches!(format, "table" | "json") {
            return List::new(&format!("{{{{.{}}}}}", self.quiet));
        }
        if format == "table" {
            return self.table(self.table);
        }
        if let Some(cells) = format.strip_prefix("table") {
            return self.table(&unescape(cells.trim()));
        }
        match format {
            "json" => List::new("{{json .}}"),
            template => List::new(&unescape(template)),
        }
    }

    fn table(&self, cells: &str) -> Result<List, CliError> {
        let headers = self
            .headers
            .iter()
            .map(|(cell, header)| (*cell, Value::from(*header)))
            .collect();
        let mut list = List::new(cells)?;
        list.aligned = true;
        list.add(&Value::row(headers, label_headers(cells)));
        Ok(list)
    }
}

/// A list in the making: one line per row.
#[derive(Debug)]
pub(crate) struct List {
    template: Template,
    aligned: bool,
    text: String,
    failed: Option<TemplateError>,
}

impl List {
    fn new(template: &str) -> Result<Self, CliError> {
        Ok(Self {
            template: Template::parse(template)
                .map_err(|error| CliError::Invalid(format!("template parsing error: {error}")))?,
            aligned: false,
            text: String::new(),
            failed: None,
        })
    }

    /// Adds a row. A failure is told at the end.
    pub(crate) fn add(&mut self, row: &Value) {
        if self.failed.is_none() {
            self.failed = self.template.render_to(row, &mut self.text).err();
            self.text.push('\n');
        }
    }

    /// The whole text.
    pub(crate) fn finish(self) -> Result<String, CliError> {
        match self.failed {
            Some(error) => Err(CliError::Invalid(format!("failed to execute template: {error}"))),
            None if self.aligned => Ok(align(&self.text)),
            None => Ok(self.text),
        }
    }
}

/// `\t` and `\n` typed as two characters.
fn unescape(format: &str) -> String {
    format.replace("\\t", "\t").replace("\\n", "\n")
}

/// `.Label "com.example.some-key"` has the header `some key`.
fn label_headers(template: &str) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for after in template.split(".Label").skip(1) {
        let mut quoted = after.trim_start().splitn(3, '"');
        if let (Some(""), Some(key)) = (quoted.next(), quoted.next()) {
            let last = key.rsplit('.').next().unwrap_or(key);
            headers.insert(key.to_owned(), last.replace(['-', '_'], " "));
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        table: "{{.ID}}\t{{.Name}}",
        quiet: "ID",
        headers: &[("ID", "THING ID"), ("Name", "NAME")],
    };

    fn rows() -> Vec<Value> {
        let labels = BTreeMap::from([("com.example.some-key".to_owned(), "v".to_owned())]);
        vec![
            Value::row(vec![("ID", "1".into()), ("Name", "a".into())], labels),
            Value::row(
                vec![("ID", "2".into()), ("Name", "a long name".into())],
                BTreeMap::new(),
            ),
        ]
    }

    fn render(format: Option<&str>, quiet: bool) -> String {
        LAYOUT
            .render(format, quiet, &rows())
            .unwrap_or_else(|error| format!("ERROR {error}"))
    }

    #[test]
    fn formats() {
        assert_eq!(
            render(None, false),
            "THING ID   NAME\n1          a\n2          a long name\n"
        );
        assert_eq!(render(None, true), "1\n2\n");
        assert_eq!(
            render(Some("json"), false),
            "{\"ID\":\"1\",\"Name\":\"a\"}\n{\"ID\":\"2\",\"Name\":\"a long name\"}\n"
        );
        assert_eq!(render(Some("{{.Name}}:{{.ID}}"), false), "a:1\na long name:2\n");
        assert_eq!(
            render(Some(r"{{.Name}}\t{{.ID}}"), false),
            "a\t1\na long name\t2\n"
        );
        assert_eq!(
            render(
                Some(r#"table {{.Name}}\t{{.Label "com.example.some-key"}}"#),
                false
            ),
            "NAME          some key\na             v\na long name   \n"
        );
        assert!(
            render(Some("{{.Nope}}"), false).starts_with("ERROR failed to execute template: template: :1:2:")
        );
    }
}
