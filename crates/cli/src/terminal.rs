//! The user's terminal: raw mode that is always taken back, and its size.

use std::io;

use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr};

/// Raw mode of standard input until dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    saved: Termios,
}

impl RawMode {
    /// Enters raw mode.
    pub(crate) fn enter() -> io::Result<Self> {
        let saved = tcgetattr(rustix::stdio::stdin())?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { saved })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.saved);
    }
}

/// Rows and columns of the terminal, if there is one.
pub(crate) fn size() -> Option<(u16, u16)> {
    let sized = |result: rustix::io::Result<Winsize>| {
        result
            .ok()
            .map(|size| (size.ws_row, size.ws_col))
            .filter(|(rows, columns)| *rows > 0 && *columns > 0)
    };
    sized(tcgetwinsize(rustix::stdio::stdout())).or_else(|| sized(tcgetwinsize(rustix::stdio::stdin())))
}

/// Columns for help texts: the terminal's, or 80.
pub(crate) fn columns() -> usize {
    size().map_or(80, |(_, columns)| usize::from(columns))
}

/// A line typed without showing it.
pub(crate) fn read_hidden_line(ask: impl FnOnce()) -> io::Result<String> {
    use rustix::termios::LocalModes;
    let saved = tcgetattr(rustix::stdio::stdin())?;
    let mut hidden = saved.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &hidden)?;
    // Who types as soon as asked must not see it either.
    ask();
    let mut line = String::new();
    let result = io::stdin().read_line(&mut line);
    tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &saved)?;
    result.map(|_| line.trim_end_matches(['\r', '\n']).to_owned())
}
