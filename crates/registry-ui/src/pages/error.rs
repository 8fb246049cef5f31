//! The page that says why there is no page.

use askama::Template;
use axum::response::{IntoResponse as _, Response};

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::pages::introduce;
use crate::respond;
use crate::visit::Visit;

#[derive(Template)]
#[template(path = "error.html")]
struct Page<'a> {
    frame: Frame<'a>,
    message: String,
    way_out: String,
    /// Where one becomes somebody who may, if one is nobody.
    sign_in: Option<String>,
}

/// Why there is no page.
pub(crate) fn page(visit: &Visit, error: &PageError) -> Response {
    let status = error.status();
    let title = match error {
        PageError::NotFound | PageError::Missing(_) => "Not found",
        PageError::Foreign | PageError::Forbidden(_) => "Refused",
        PageError::Changed(_) => "Something changed meanwhile",
        PageError::Bad(_) | PageError::Method => "This cannot be done",
        PageError::SignIn => "Sign in first",
        PageError::Refused(_) => "Not signed in",
        PageError::Layers(_) => "These files cannot be shown",
        PageError::Internal => "Something went wrong",
    };
    let made = respond::html(&Page {
        frame: Frame::new(visit, title),
        message: sentence(&error.to_string()),
        way_out: capital(&error.way_out()),
        sign_in: match error {
            PageError::SignIn | PageError::NotFound | PageError::Missing(_) | PageError::Forbidden(_) => {
                visit.must_be_somebody().err().map(|_| {
                    let back = if visit.looks() { &visit.address } else { "/" };
                    format!("/sign-in?back={}", link::value(back))
                })
            }
            _ => None,
        },
    });
    let mut response = made.unwrap_or_else(|_| error.to_string().into_response());
    *response.status_mut() = status;
    introduce(visit, &mut response);
    response
}

/// A message as a sentence.
fn sentence(message: &str) -> String {
    format!("{}.", capital(message))
}

/// With a capital letter at its beginning.
fn capital(text: &str) -> String {
    let text = crate::show::line(text);
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    format!("{}{}", first.unwrap_or_default(), letters.as_str())
}
