//! `inspect`: what the engine knows about an object, as JSON or through a template.

use bytes::Bytes;

use crate::args::inspect::Inspect;
use crate::client::Client;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::template::{Template, Value};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Container, Self::Image, Self::Network, Self::Volume];

    fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }

    async fn get(self, client: &Client, name: &str, asked: Asked<'_>) -> Result<Bytes, CliError> {
        match self {
            Self::Container => {
                client
                    .get(format!("/containers/{name}/json"))
                    .query_if("size", asked.size)
                    .bytes()
                    .await
            }
            Self::Image => {
                client
                    .get(format!("/images/{name}/json"))
                    .query_some("platform", asked.platform)
                    .bytes()
                    .await
            }
            Self::Network => client.get(format!("/networks/{name}")).bytes().await,
            Self::Volume => client.get(format!("/volumes/{name}")).bytes().await,
        }
    }
}

/// What is asked besides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    /// Sizes of containers.
    pub(crate) size: bool,
    /// Which platform of images, as JSON.
    pub(crate) platform: Option<&'a str>,
}

/// `docker inspect`.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    let kinds = match args.kind.as_deref() {
        None | Some("") => Kind::ALL.to_vec(),
        Some(name) => match Kind::ALL.into_iter().find(|kind| kind.name() == name) {
            Some(kind) => vec![kind],
            None => {
                return Err(CliError::Invalid(format!(
                    "unknown type: \"{name}\": use container, image, network or volume"
                )));
            }
        },
    };
    if args.size && !kinds.contains(&Kind::Container) {
        session
            .printer
            .warn("WARNING: --size ignored for non-container types");
    }
    let asked = Asked {
        size: args.size,
        platform: None,
    };
    inspect_all(session, &args.operands, &kinds, args.format.as_deref(), asked).await
}

/// Finds each name among `kinds` in turn and prints all that were found; what was not found is an error at the end.
pub(crate) async fn inspect_all(
    session: &Session,
    names: &[String],
    kinds: &[Kind],
    format: Option<&str>,
    asked: Asked<'_>,
) -> Done {
    let client = session.client()?;
    print_all(session, names, format, async |name: &str| {
        find(client, name, kinds, asked).await
    })
    .await
}

/// Prints what `get` gives for each name, up to the first it has nothing for, which is an error at the end.
pub(crate) async fn print_all(
    session: &Session,
    names: &[String],
    format: Option<&str>,
    get: impl AsyncFn(&str) -> Result<Bytes, CliError>,
) -> Done {
    let template = match format.filter(|format| !format.is_empty() && *format != "json") {
        Some(format) => Some(Template::parse(format).map_err(|error| CliError::Usage {
            text: format!("template parsing error: {error}"),
            status: ExitStatus(64),
        })?),
        None => None,
    };
    let mut found = Vec::new();
    let mut failure = None;
    for name in names {
        match get(name).await {
            Ok(bytes) => found.push(bytes),
            Err(error @ CliError::Unreachable { .. }) => return Err(error),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let mut text = String::new();
    let mut values = Vec::new();
    for bytes in &found {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| CliError::Protocol {
            request: "inspect".to_owned(),
            reason: error.to_string(),
        })?;
        match &template {
            None => values.push(value),
            Some(template) => {
                let rendered = template
                    .render(&value)
                    .map_err(|error| CliError::Invalid(format!("template parsing error: {error}")))?;
                text.push_str(&rendered);
                text.push('\n');
            }
        }
    }
    if template.is_none() {
        text = if format == Some("json") {
            compact(&values)?
        } else {
            indented(&values)?
        };
    }
    session.printer.out(&text);
    match failure {
        Some(error) => Err(error),
        None => Ok(ExitStatus::SUCCESS),
    }
}

async fn find(client: &Client, name: &str, kinds: &[Kind], asked: Asked<'_>) -> Result<Bytes, CliError> {
    let segment = crate::client::escape(name);
    let mut last = None;
    for kind in kinds {
        match kind.get(client, &segment, asked).await {
            Err(error) if error.is_not_found() => last = Some(error),
            // A name that no object of this kind can have is not found either, when others are to be asked.
            Err(error @ CliError::Daemon { status: 400, .. }) if kinds.len() > 1 => last = Some(error),
            other => return other,
        }
    }
    Err(match last {
        Some(error) if kinds.len() == 1 => error,
        _ => CliError::Invalid(format!("Error: No such object: {name}")),
    })
}

fn compact(values: &[Value]) -> Result<String, CliError> {
    Ok(serde_json::to_string(values).map_err(std::io::Error::from)? + "\n")
}

/// Indented by four blanks; an empty list as Docker prints it.
fn indented(values: &[Value]) -> Result<String, CliError> {
    use serde::Serialize;
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    values.serialize(&mut serializer).map_err(std::io::Error::from)?;
    out.push(b'\n');
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indentation_and_order_are_kept() {
        let value: Value = serde_json::from_str(r#"{"b":1,"a":[],"c":{},"d":["x"],"e":null}"#).unwrap();
        assert_eq!(
            indented(&[value]).unwrap(),
            "[\n    {\n        \"b\": 1,\n        \"a\": [],\n        \"c\": {},\n        \"d\": [\n            \"x\"\n        ],\n        \"e\": null\n    }\n]\n"
        );
        assert_eq!(indented(&[]).unwrap(), "[]\n");
    }
}
