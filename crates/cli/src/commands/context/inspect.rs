//! `context inspect`.

use serde_json::json;

use super::create::existing;
use crate::args::context::inspect::Inspect;
use crate::commands::{Done, Failures};
use crate::contexts::{self, Context, TlsFiles};
use crate::error::CliError;
use crate::session::Session;
use crate::template::{Template, Value, escape_html};

/// `docker context inspect`.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    let store = session.settings.contexts();
    let names = if args.operands.is_empty() {
        vec![session.settings.context_name()?]
    } else {
        args.operands
    };
    let mut values = Vec::new();
    let mut failures = Failures::default();
    for name in &names {
        let (mut context, tls) = match existing(session, name) {
            Ok(found) => found,
            Err(error) => {
                failures.add(&error);
                continue;
            }
        };
        values.push(if name == contexts::DEFAULT {
            context.metadata.clear();
            describe(&context, &tls, "<IN MEMORY>", "<IN MEMORY>")
        } else {
            let (meta, tls_path) = (store.meta_path(name), store.tls_path(name));
            describe(
                &context,
                &tls,
                &meta.to_string_lossy(),
                &tls_path.to_string_lossy(),
            )
        });
    }
    let text = match args.format.as_deref().filter(|format| !format.is_empty()) {
        None => {
            let mut out = Vec::new();
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
            serde::Serialize::serialize(&values, &mut serializer).map_err(std::io::Error::from)?;
            escape_html(&String::from_utf8_lossy(&out)) + "\n"
        }
        Some(format) => {
            let format = if format == "json" { "{{json .}}" } else { format };
            let failed = |error| CliError::Invalid(format!("template parsing error: {error}"));
            let template = Template::parse(format).map_err(failed)?;
            let mut text = String::new();
            for value in &values {
                text.push_str(&(template.render(value).map_err(failed)? + "\n"));
            }
            text
        }
    };
    session.printer.out(&text);
    Ok(failures.finish(session))
}

/// The context as Docker shows it, in its order.
fn describe(context: &Context, tls: &TlsFiles, metadata: &str, tls_path: &str) -> Value {
    let text = |text: &str| Value::from(text);
    let map = |entries: Vec<(&str, Value)>| {
        Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    };
    let docker = &context.endpoints.docker;
    let more = serde_json::from_value(json!(context.metadata)).unwrap_or(Value::Map(Vec::new()));
    let mut endpoint = vec![("SkipTLSVerify", Value::Bool(docker.skip_tls_verify))];
    if !docker.host.is_empty() {
        endpoint.insert(0, ("Host", text(&docker.host)));
    }
    let files = tls.iter().map(|(endpoint, files)| {
        let names = files.keys().map(|name| text(name)).collect();
        (endpoint.as_str(), Value::List(names))
    });
    map(vec![
        ("Name", text(&context.name)),
        ("Metadata", more),
        ("Endpoints", map(vec![("docker", map(endpoint))])),
        ("TLSMaterial", map(files.collect())),
        (
            "Storage",
            map(vec![
                ("MetadataPath", text(metadata)),
                ("TLSPath", text(tls_path)),
            ]),
        ),
    ])
}
