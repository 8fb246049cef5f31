//! What happened in a registry, kept until whoever wants to know has been told.
//!
//! ```text
//! push, pull, delete ─► Outbox::put ─► deliveries, one for each target that wants it ─► Outbox::due ─► sent ─► Outbox::told
//!                                          │ not taken: later, and later again, for three days
//!                                          └ the log: what was sent, what was answered, for a week
//! ```
//! Everything blocks; sending is the caller's. Several processes may share the database: each takes what no other is sending.

mod error;
mod event;
mod outbox;
mod schema;
mod signature;
mod target;
mod webhooks;

pub use error::{EventsError, Result};
pub use event::{Action, Actor, Event, Origin, Request, Subject};
pub use outbox::{Delivery, Outbox, Sending, State};
pub use signature::signature;
pub use target::{Target, TargetUrl};
pub use webhooks::{NewWebhook, Webhook};
