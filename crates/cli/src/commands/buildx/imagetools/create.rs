//! `buildx imagetools create`.

use std::collections::BTreeMap;

use havre_oci::{Descriptor, Digest, Document, Index, Reference, media_type};

use super::super::engine;
use crate::args::buildx::imagetools::create::Create;
use crate::commands::{Done, manifest};
use crate::contexts::read_file;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::reindent::reindent;
use crate::session::Session;

/// A source as it lies in its registry.
struct Source {
    reference: Reference,
    descriptor: Descriptor,
    bytes: Vec<u8>,
    /// What it brings into an index: itself, or what it holds.
    brings: Vec<Descriptor>,
    is_index: bool,
    annotations: BTreeMap<String, String>,
}

/// `docker buildx imagetools create`: an index of what the sources hold, under new names.
pub(crate) async fn create(session: &Session, args: Create) -> Done {
    let targets = args
        .tag
        .iter()
        .map(|tag| manifest::reference(tag))
        .collect::<Result<Vec<_>, _>>()?;
    let mut names = Vec::new();
    for file in &args.file {
        names.push(
            String::from_utf8_lossy(&read_file(file.as_ref())?)
                .trim()
                .to_owned(),
        );
    }
    names.extend(args.operands.iter().cloned());
    if names.is_empty() {
        return Err(CliError::Invalid("no sources specified".to_owned()));
    }
    if targets.is_empty() && (args.append || !args.dry_run) {
        return Err(CliError::Invalid(
            "a name for the new image is needed: give it with -t, or see it with --dry-run".to_owned(),
        ));
    }
    let engine = engine(session, args.builder.builder.as_deref())?;
    let mut references = Vec::new();
    if args.append {
        references.extend(targets.first().cloned());
    }
    for name in &names {
        references.push(source_reference(name, &targets)?);
    }
    let mut sources = Vec::new();
    for reference in references {
        sources.push(source(&engine, reference).await?);
    }
    let (media_type, bytes) = new_manifest(&args, &sources)?;
    if args.dry_run {
        let text = String::from_utf8_lossy(&bytes);
        session.printer.out(&format!("{}\n", reindent(&text, "  ")));
        return Ok(ExitStatus::SUCCESS);
    }
    let from: Vec<String> = sources
        .iter()
        .map(|source| source.reference.canonical())
        .collect();
    for target in &targets {
        let pushed = manifest::put(&engine, target, &media_type, &bytes, &from, false).await?;
        session
            .printer
            .warn(&format!("pushed {} {}", target.canonical(), pushed.digest));
    }
    Ok(ExitStatus::SUCCESS)
}

/// A name, a digest of the new name's repository, or a descriptor of it in JSON.
fn source_reference(text: &str, targets: &[Reference]) -> Result<Reference, CliError> {
    let digest = match text.starts_with('{') {
        true => {
            let descriptor: Descriptor = serde_json::from_str(text)
                .map_err(|error| CliError::Invalid(format!("invalid descriptor {text}: {error}")))?;
            Some(descriptor.digest)
        }
        false => text.parse::<Digest>().ok(),
    };
    let Some(digest) = digest else {
        return manifest::reference(text);
    };
    match targets.first() {
        Some(target) => Ok(target.without_tag().with_digest(digest)),
        None => Err(CliError::Invalid(format!(
            "{digest} names no repository: give one with -t"
        ))),
    }
}

async fn source(session: &Session, reference: Reference) -> Result<Source, CliError> {
    let Some(found) = manifest::remote(session, &reference, false).await? else {
        return Err(CliError::Invalid(format!("{}: not found", reference.canonical())));
    };
    let bytes = found.bytes()?;
    let document = Document::parse(&bytes, Some(&found.descriptor.media_type))
        .map_err(|error| CliError::Invalid(format!("{}: {error}", reference.canonical())))?;
    let (is_index, brings, annotations) = match document {
        Document::Index(index) => (true, index.manifests, index.annotations),
        Document::Manifest(_) => (false, vec![found.descriptor.clone()], BTreeMap::new()),
    };
    Ok(Source {
        reference,
        descriptor: found.descriptor,
        bytes,
        brings,
        is_index,
        annotations,
    })
}

/// The new manifest's media type and bytes: a copy of the one source, or an index of what all hold, in their order.
fn new_manifest(args: &Create, sources: &[Source]) -> Result<(String, Vec<u8>), CliError> {
    let annotations = annotations(&args.annotation)?;
    if let [one] = sources
        && annotations.is_empty()
        && (one.is_index || !args.prefer_index)
    {
        return Ok((one.descriptor.media_type.clone(), one.bytes.clone()));
    }
    let mut manifests: Vec<Descriptor> = Vec::new();
    for descriptor in sources.iter().flat_map(|source| &source.brings) {
        if !manifests.iter().any(|known| known.digest == descriptor.digest) {
            manifests.push(descriptor.clone());
        }
    }
    let is_oci = |media_type: &str| matches!(media_type, media_type::OCI_MANIFEST | media_type::OCI_INDEX);
    let of_oci = !annotations.is_empty()
        || sources.iter().any(|source| is_oci(&source.descriptor.media_type))
        || manifests.iter().any(|descriptor| is_oci(&descriptor.media_type));
    let mut index = Index::oci(manifests);
    if !of_oci {
        media_type::DOCKER_MANIFEST_LIST.clone_into(&mut index.media_type);
    }
    for source in sources {
        index.annotations.extend(source.annotations.clone());
    }
    index.annotations.extend(annotations);
    Ok((index.media_type.clone(), index.to_bytes()))
}

/// Annotations of the index: `KEY=VALUE`, or `index:KEY=VALUE`.
fn annotations(flags: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    flags
        .iter()
        .map(|flag| {
            let invalid = |reason: &str| CliError::Invalid(format!("invalid annotation {flag:?}: {reason}"));
            let (key, value) = flag.split_once('=').ok_or_else(|| invalid("expected KEY=VALUE"))?;
            let key = match key.split_once(':') {
                None | Some(("index", _)) => key.strip_prefix("index:").unwrap_or(key),
                Some(_) => {
                    return Err(invalid(
                        "only the index itself can have new ones (index:KEY=VALUE), what it names stays as it is",
                    ));
                }
            };
            match key.is_empty() {
                true => Err(invalid("its key is empty")),
                false => Ok((key.to_owned(), value.to_owned())),
            }
        })
        .collect()
}
