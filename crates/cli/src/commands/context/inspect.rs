//! `context inspect`.

use serde_json::json;

use crate::args::context::inspect::Inspect;
use crate::commands::Done;
use crate::contexts::{self, Context};
use crate::endpoint::Endpoint;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
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
    for name in &names {
        let described = if name == contexts::DEFAULT {
            let host = session
                .settings
                .host()
                .map_or_else(|| Endpoint::local().to_string(), str::to_owned);
            let mut context = Context {
                name: name.clone(),
                ..Context::default()
            };
            context.endpoints.docker.host = host;
            describe(&context, "<IN MEMORY>", "<IN MEMORY>")
        } else {
            let context = store.get(name)?;
            let (meta, tls) = (store.meta_path(name), store.tls_path(name));
            describe(&context, &meta.to_string_lossy(), &tls.to_string_lossy())
        };
        values.push(described);
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
    Ok(ExitStatus::SUCCESS)
}

/// The context as Docker shows it, in its order.
fn describe(context: &Context, metadata: &str, tls: &str) -> Value {
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
    map(vec![
        ("Name", text(&context.name)),
        ("Metadata", more),
        (
            "Endpoints",
            map(vec![(
                "docker",
                map(vec![
                    ("Host", text(&docker.host)),
                    ("SkipTLSVerify", Value::Bool(docker.skip_tls_verify)),
                ]),
            )]),
        ),
        ("TLSMaterial", map(Vec::new())),
        (
            "Storage",
            map(vec![("MetadataPath", text(metadata)), ("TLSPath", text(tls))]),
        ),
    ])
}
