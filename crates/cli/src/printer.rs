//! The only way to standard output and standard error.

use std::io::{self, IsTerminal, Write};

/// Writes to the two streams. A reader that went away (`docker ps | head -1`) ends the process quietly.
#[derive(Debug, Default)]
pub(crate) struct Printer;

impl Printer {
    /// Text to standard output as it is.
    pub(crate) fn out(&self, text: &str) {
        self.out_bytes(text.as_bytes());
    }

    /// A line to standard output.
    pub(crate) fn line(&self, text: &str) {
        self.out_bytes(format!("{text}\n").as_bytes());
    }

    /// Bytes to standard output.
    pub(crate) fn out_bytes(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        end_if_closed(stdout.write_all(bytes).and_then(|()| stdout.flush()));
    }

    /// A line to standard error.
    pub(crate) fn warn(&self, text: &str) {
        self.err_bytes(format!("{text}\n").as_bytes());
    }

    /// Bytes to standard error. A closed standard error is nothing to fail about.
    pub(crate) fn err_bytes(&self, bytes: &[u8]) {
        let mut stderr = io::stderr().lock();
        let _ = stderr.write_all(bytes).and_then(|()| stderr.flush());
    }

    /// Whether standard output is a terminal.
    pub(crate) fn out_is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Whether standard input is a terminal.
    pub(crate) fn in_is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }
}

fn end_if_closed(result: io::Result<()>) {
    if let Err(error) = result {
        if error.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(141);
        }
        let _ = writeln!(io::stderr(), "cannot write to standard output: {error}");
        std::process::exit(1);
    }
}
