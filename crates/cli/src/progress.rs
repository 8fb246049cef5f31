//! Progress lines of pull, push, load, import and build: bars on a terminal, plain lines otherwise.

use std::collections::HashMap;
use std::io::{self, IsTerminal};

use serde::Deserialize;
use serde_json::Value;

use crate::client::JsonLines;
use crate::error::CliError;
use crate::format::size;
use crate::printer::Printer;
use crate::terminal;

/// A line of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Message {
    pub(crate) stream: Option<String>,
    pub(crate) status: Option<String>,
    id: Option<String>,
    #[serde(rename = "progressDetail")]
    detail: Option<Detail>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
    pub(crate) aux: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: i64,
    total: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    code: i64,
    message: String,
}

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Progress {
    to: To,
    terminal: bool,
    /// Rows of the identifiers on the terminal.
    rows: HashMap<String, usize>,
    /// What is only shown if it fails.
    kept: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Nowhere,
    Output,
    Errors,
    /// To standard error, if it fails.
    Kept,
}

/// So much is kept for the case of a failure.
const MOST_KEPT: usize = 1 << 20;

impl Progress {
    fn new(to: To, terminal: bool) -> Self {
        Self {
            to,
            terminal,
            rows: HashMap::new(),
            kept: String::new(),
        }
    }

    /// Only errors count.
    pub(crate) fn silent() -> Self {
        Self::new(To::Nowhere, false)
    }

    /// Nothing, but everything on standard error if it fails.
    pub(crate) fn on_failure() -> Self {
        Self::new(To::Kept, false)
    }

    /// Standard output.
    pub(crate) fn to_output(printer: &Printer) -> Self {
        Self::new(To::Output, printer.out_is_terminal())
    }

    /// Standard error.
    pub(crate) fn to_errors() -> Self {
        Self::new(To::Errors, io::stderr().is_terminal())
    }

    /// Plain lines even on a terminal.
    pub(crate) fn plain(mut self) -> Self {
        self.terminal = false;
        self
    }

    /// Shows how much of something is done.
    pub(crate) fn bar(&mut self, printer: &Printer, id: &str, status: &str, current: i64, total: i64) {
        let message = Message {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            detail: Some(Detail { current, total }),
            ..Message::default()
        };
        let text = self.render(&message);
        self.write(printer, &text);
    }

    fn write(&mut self, printer: &Printer, text: &str) {
        match self.to {
            To::Nowhere => {}
            To::Output => printer.out(text),
            To::Errors => printer.err_bytes(text.as_bytes()),
            To::Kept if self.kept.len() < MOST_KEPT => self.kept.push_str(text),
            To::Kept => {}
        }
    }

    /// The text for a message, cursor movement included.
    fn render(&mut self, message: &Message) -> String {
        if let Some(stream) = &message.stream {
            return stream.clone();
        }
        let Some(status) = &message.status else {
            return String::new();
        };
        let bar = message
            .detail
            .as_ref()
            .filter(|detail| detail.current > 0 || detail.total > 0);
        let Some(id) = message.id.as_deref().filter(|id| !id.is_empty()) else {
            self.rows.clear();
            return format!("{status}\n");
        };
        if !self.terminal {
            // A bar that cannot be redrawn says nothing.
            return if bar.is_some() {
                String::new()
            } else {
                format!("{id}: {status}\n")
            };
        }
        let line = match bar {
            Some(detail) => format!("{id}: {status} {}", draw(detail, terminal::columns())),
            None => format!("{id}: {status} "),
        };
        let count = self.rows.len();
        match self.rows.get(id) {
            Some(row) => {
                let up = count - row;
                format!("\x1b[{up}A\x1b[2K\r{line}\r\x1b[{up}B")
            }
            None => {
                self.rows.insert(id.to_owned(), count);
                format!("\x1b[2K\r{line}\n")
            }
        }
    }
}

/// `[====>      ]  12.3MB/45.6MB`.
fn draw(detail: &Detail, columns: usize) -> String {
    let current = size::short(detail.current);
    if detail.total <= 0 {
        return format!("{current:>8}");
    }
    let total = size::short(detail.total);
    let numbers = if detail.current > detail.total {
        format!("{current:>8}")
    } else {
        format!("{current:>8}/{total}")
    };
    if columns <= 110 {
        return numbers;
    }
    let done = ((detail.current.min(detail.total) as f64 / detail.total as f64) * 50.0) as usize;
    let head = if done < 50 { ">" } else { "" };
    let rest = 50_usize.saturating_sub(done + head.len());
    format!("[{}{head}{}] {numbers}", "=".repeat(done), " ".repeat(rest))
}

/// Shows a stream to its end; gives its `aux` values. An error in the stream is an error of the command.
pub(crate) async fn show(
    mut lines: JsonLines<Message>,
    mut progress: Progress,
    printer: &Printer,
) -> Result<Vec<Value>, CliError> {
    let mut aux = Vec::new();
    loop {
        let next = tokio::select! {
            next = lines.next() => next?,
            _ = tokio::signal::ctrl_c() => {
                return Err(CliError::Interrupted);
            }
        };
        let Some(mut message) = next else { return Ok(aux) };
        if let Some(error) = failure(&message) {
            printer.err_bytes(progress.kept.as_bytes());
            return Err(error);
        }
        aux.extend(message.aux.take());
        let text = progress.render(&message);
        progress.write(printer, &text);
    }
}

/// The error a line carries.
pub(crate) fn failure(message: &Message) -> Option<CliError> {
    let (text, code) = match (&message.error_detail, &message.error) {
        (Some(detail), _) if !detail.message.is_empty() => (detail.message.clone(), detail.code),
        (_, Some(error)) => (error.clone(), 0),
        _ => return None,
    };
    // The status of a program that failed in a build is the command's.
    match u8::try_from(code) {
        Ok(status) if status > 0 => Some(CliError::Usage {
            text,
            status: crate::exit_status::ExitStatus(status),
        }),
        _ => Some(CliError::Stream(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Message {
        serde_json::from_str(json).unwrap()
    }

    const LINES: [&str; 5] = [
        r#"{"status":"Pulling from library/busybox","id":"latest"}"#,
        r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aa"}"#,
        r#"{"status":"Downloading","progressDetail":{"current":50,"total":100},"id":"aa"}"#,
        r#"{"status":"Pull complete","progressDetail":{},"id":"aa"}"#,
        r#"{"status":"Digest: sha256:00"}"#,
    ];

    #[test]
    fn plain_lines_have_no_bars() {
        let mut progress = Progress::new(To::Output, false);
        let text: String = LINES.iter().map(|line| progress.render(&message(line))).collect();
        assert_eq!(
            text,
            "latest: Pulling from library/busybox\naa: Pulling fs layer\naa: Pull complete\nDigest: sha256:00\n"
        );
    }

    #[test]
    fn a_terminal_redraws_the_row_of_each_layer() {
        let mut progress = Progress::new(To::Output, true);
        let text: Vec<String> = LINES.iter().map(|line| progress.render(&message(line))).collect();
        assert_eq!(text[1], "\x1b[2K\raa: Pulling fs layer \n");
        assert!(
            text[2].starts_with("\x1b[1A\x1b[2K\raa: Downloading "),
            "{:?}",
            text[2]
        );
        assert!(text[2].ends_with("\r\x1b[1B"));
    }

    #[test]
    fn bars_fill() {
        let half = draw(
            &Detail {
                current: 50,
                total: 100,
            },
            200,
        );
        assert_eq!(
            half,
            format!("[{}>{}]      50B/100B", "=".repeat(25), " ".repeat(24))
        );
        let full = draw(
            &Detail {
                current: 100,
                total: 100,
            },
            200,
        );
        assert_eq!(full, format!("[{}]     100B/100B", "=".repeat(50)));
        assert_eq!(
            draw(
                &Detail {
                    current: 50,
                    total: 0
                },
                200
            ),
            "     50B"
        );
    }

    #[test]
    fn errors_are_errors() {
        let error = failure(&message(
            r#"{"errorDetail":{"code":3,"message":"boom"},"error":"boom"}"#,
        ))
        .unwrap();
        assert_eq!((error.to_string().as_str(), error.status().0), ("boom", 3));
        assert!(failure(&message(LINES[0])).is_none());
    }
}
