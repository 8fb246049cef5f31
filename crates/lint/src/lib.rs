//! Advice on Dockerfiles and images: what is wrong, where it stands, and what to write instead. Values in, text out, no I/O.
//!
//! ```text
//! rule        the table of all rules: name, severity, what it is about
//! finding     what a rule has found: place, bytes, message, fix
//! secrets     tokens, keys and passwords in text, and how they are masked
//! dockerfile  a Dockerfile, and what is known of its context → findings
//! image       configuration, history and layers of an image → findings
//! report      findings as text, as JSON and as SARIF
//! ```
//! Secrets are masked before any other rule looks, so nothing that is said or shown can repeat them.
//!
//! ```
//! let source = havre_lint::dockerfile::Source::new(b"FROM debian\nCMD run\n");
//! let found = havre_lint::dockerfile::check(&source);
//! let names: Vec<_> = found.findings.iter().map(|finding| finding.rule.name).collect();
//! assert_eq!(names, ["labels-missing", "root-user", "base-untagged", "json-args-recommended"]);
//! ```

pub mod dockerfile;
pub mod image;
pub mod report;

mod finding;
mod rule;
mod secrets;
mod settings;

pub use finding::{Finding, Place, Region};
pub use rule::{RULES, Rule, Severity, UnknownRule, find, table};
pub use secrets::without as without_secrets;
pub use settings::{Settings, UnknownSetting};
