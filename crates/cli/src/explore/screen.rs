//! The explorer on a terminal.
//!
//! ```text
//! keys ──► state ──► Wish (read a file, end) ──► here ──► state ──► draw
//! ```

mod draw;
mod reader;
mod rows;
mod state;

use std::io;

use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::mpsc;

use super::{SHOWN, Subject};
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use reader::{Contents, Reader};
use state::{Screen, Wish};

/// Lets a person walk through an image, until they end it.
pub(crate) async fn show(session: &Session, subject: Subject) -> Done {
    let mut screen = Screen::new(
        &subject,
        std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    );
    let mut terminal = ratatui::try_init()?;
    let _restored = Restored;
    let (sender, mut events) = mpsc::unbounded_channel();
    // It waits for a key that may never come: the end of the program is its end.
    std::thread::spawn(move || while sender.send(event::read()).is_ok() {});
    loop {
        terminal.draw(|frame| draw::draw(frame, &mut screen))?;
        let wish = match events.recv().await {
            None => return Ok(ExitStatus::SUCCESS),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => screen.press(key),
            Some(Ok(_)) => Wish::Nothing,
        };
        match wish {
            Wish::Nothing => {}
            Wish::End => return Ok(ExitStatus::SUCCESS),
            Wish::Read(wanted) => {
                let read = async |version: Option<usize>| match version {
                    Some(layer) => subject
                        .contents
                        .read(session, layer, &wanted.path, SHOWN)
                        .await
                        .map(Some),
                    None => Ok(None),
                };
                match (read(Some(wanted.layer)).await, read(wanted.below).await) {
                    (Ok(Some(bytes)), Ok(below)) => {
                        let contents = Contents {
                            bytes,
                            below,
                            size: wanted.size,
                        };
                        screen.open(Reader::new(&wanted, &contents));
                    }
                    (Err(error), _) | (_, Err(error)) => screen.tell(&error.to_string()),
                    (Ok(None), _) => {}
                }
            }
        }
    }
}

/// Gives the terminal back as it was.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        let restored: io::Result<()> = ratatui::try_restore();
        drop(restored);
    }
}
