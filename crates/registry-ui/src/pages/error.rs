//! The page that says why there is no page.

use askama::Template;
use axum::response::{IntoResponse as _, Response};

use crate::error::PageError;
use crate::frame::Frame;
use crate::pages::introduce;
use crate::respond;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "error.html")]
struct Page<'a> {
    frame: Frame<'a>,
    message: String,
    way_out: String,
}

/// Why there is no page.
pub(crate) fn page(visit: &Visit, error: &PageError) -> Response {
    let status = error.status();
    let title = match error {
        PageError::NotFound | PageError::Missing(_) => "Not found",
        PageError::Foreign | PageError::Forbidden(_) => "Refused",
        PageError::Changed(_) => "Something changed meanwhile",
        PageError::Bad(_) | PageError::Method => "This cannot be done",
        PageError::Layers(_) => "These files cannot be shown",
        PageError::Internal => "Something went wrong",
    };
    let made = respond::html(&Page {
        frame: Frame::new(visit, title),
        message: sentence(&error.to_string()),
        way_out: error.way_out(),
    });
    let mut response = made.unwrap_or_else(|_| error.to_string().into_response());
    *response.status_mut() = status;
    introduce(visit, &mut response);
    response
}

/// A message as a sentence.
fn sentence(message: &str) -> String {
    let message = crate::show::line(message);
    let mut letters = message.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}
