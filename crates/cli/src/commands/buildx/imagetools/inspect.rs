//! `buildx imagetools inspect`.

use std::io;

use havre_oci::{Descriptor, Document, Reference};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::super::engine;
use crate::args::buildx::imagetools::inspect::Inspect;
use crate::commands::{Done, manifest};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::reindent::reindent;
use crate::format::table::align_by;
use crate::session::Session;
use crate::template::{Template, Value};

/// `docker buildx imagetools inspect`: a manifest or index where it lies.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    let name = manifest::reference(&args.operands[0])?;
    let engine = engine(session, args.builder.builder.as_deref())?;
    let Some(found) = manifest::remote(&engine, &name, false).await? else {
        return Err(CliError::Invalid(format!("{}: not found", name.canonical())));
    };
    let bytes = found.bytes()?;
    if args.raw {
        session.printer.out_bytes(&bytes);
        return Ok(ExitStatus::SUCCESS);
    }
    let document = Document::parse(&bytes, Some(&found.descriptor.media_type))
        .map_err(|error| CliError::Invalid(format!("{}: {error}", name.canonical())))?;
    let text = match args.format.as_deref().filter(|format| !format.is_empty()) {
        None => shown(&name, &found.descriptor, &document),
        Some(format) => formatted(format, &name, &found.descriptor, &bytes)?,
    };
    session.printer.out(&text);
    Ok(ExitStatus::SUCCESS)
}

fn shown(name: &Reference, top: &Descriptor, document: &Document) -> String {
    let mut text = format!(
        "Name:\t{}\nMediaType:\t{}\nDigest:\t{}\n",
        name.canonical(),
        top.media_type,
        top.digest
    );
    let Document::Index(index) = document else {
        if let Some(platform) = &top.platform {
            text.push_str(&format!("Platform:\t{platform}\n"));
        }
        return align_by(&text, 0, 1);
    };
    text.push_str("\t\nManifests:\t\n");
    for (at, named) in index.manifests.iter().enumerate() {
        if at > 0 {
            text.push_str("\t\n");
        }
        let whole = name.without_tag().with_digest(named.digest.clone());
        text.push_str(&format!(
            "  Name:\t{}\n  MediaType:\t{}\n",
            whole.canonical(),
            named.media_type
        ));
        match &named.platform {
            Some(platform) if !named.is_attestation() => {
                text.push_str(&format!("  Platform:\t{platform}\n"));
            }
            _ => {}
        }
        if !named.annotations.is_empty() {
            text.push_str("  Annotations:\t\n");
            for (key, value) in &named.annotations {
                text.push_str(&format!("    {key}:\t{value}\n"));
            }
        }
    }
    align_by(&text, 0, 1)
}

/// `.Name` and `.Manifest`, which has the descriptor's members and those of the index or manifest.
fn formatted(format: &str, name: &Reference, top: &Descriptor, bytes: &[u8]) -> Result<String, CliError> {
    let failed = |error| CliError::Invalid(format!("template parsing error: {error}"));
    let mut manifest: Json = serde_json::from_slice(bytes).map_err(io::Error::from)?;
    if let Json::Object(members) = &mut manifest {
        members.insert("digest".to_owned(), json!(top.digest));
        members.insert("size".to_owned(), json!(top.size));
        members.insert("mediaType".to_owned(), json!(top.media_type));
    }
    if format == "json" || format == "{{json .Manifest}}" {
        let text = match format {
            "json" => json!({"name": name.canonical(), "manifest": manifest}).to_string(),
            _ => manifest.to_string(),
        };
        let raw = RawValue::from_string(text).map_err(io::Error::from)?;
        return Ok(format!("{}\n", reindent(raw.get(), "  ")));
    }
    // Names as Docker's templates have them beside those of the JSON.
    let mut view = json!({"Name": name.canonical(), "Manifest": manifest});
    if let Json::Object(members) = &mut view["Manifest"] {
        for (go, plain) in [
            ("Digest", "digest"),
            ("Size", "size"),
            ("MediaType", "mediaType"),
            ("Manifests", "manifests"),
            ("Layers", "layers"),
            ("Annotations", "annotations"),
        ] {
            if let Some(value) = members.get(plain).cloned() {
                members.insert(go.to_owned(), value);
            }
        }
    }
    let value: Value = serde_json::from_value(view).map_err(io::Error::from)?;
    let text = Template::parse(format)
        .map_err(failed)?
        .render(&value)
        .map_err(failed)?;
    Ok(format!("{text}\n"))
}
