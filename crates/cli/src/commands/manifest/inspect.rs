//! `manifest inspect`.

use std::io;

use havre_oci::{Document, Reference};
use serde::Serialize;
use serde_json::value::RawValue;

use super::push::index_of;
use super::{Remote, lists, manifest, no_such, reference, remote};
use crate::args::manifest::inspect::Inspect;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::reindent::reindent;
use crate::manifest_lists::Listed;
use crate::session::Session;

/// How Docker indents a manifest, and an index.
const MANIFEST_INDENT: &str = "\t";
const INDEX_INDENT: &str = "   ";

/// `docker manifest inspect`: a manifest or a list, of this machine or else of its registry.
pub(crate) async fn inspect(session: &Session, args: Inspect) -> Done {
    let text = match args.operands.as_slice() {
        [list, name] => {
            let (list, name) = (reference(list)?, reference(name)?);
            let Some(listed) = lists(session).manifest(&list, &name)? else {
                return Err(no_such(&name));
            };
            one(&listed, args.verbose)?
        }
        [name] => {
            let name = reference(name)?;
            match lists(session).get(&name)? {
                Some(listed) if args.verbose => indented(&listed, MANIFEST_INDENT)?,
                Some(listed) => text(&index_of(&listed)?.to_bytes(), INDEX_INDENT)?,
                None => {
                    let found = remote(session, &name, args.insecure).await?;
                    let found = found.ok_or_else(|| no_such(&name))?;
                    shown(session, &name, found, &args).await?
                }
            }
        }
        _ => return Ok(ExitStatus::FAILURE),
    };
    session.printer.out(&format!("{text}\n"));
    Ok(ExitStatus::SUCCESS)
}

/// What the registry has.
async fn shown(
    session: &Session,
    name: &Reference,
    found: Remote,
    args: &Inspect,
) -> Result<String, CliError> {
    let bytes = found.bytes()?;
    let parsed = Document::parse(&bytes, Some(&found.descriptor.media_type))
        .map_err(|error| CliError::Invalid(format!("{}: {error}", name.canonical())))?;
    match parsed {
        Document::Index(index) if args.verbose => {
            let mut all = Vec::new();
            for named in index.manifests {
                let reference = name.without_tag().with_digest(named.digest.clone());
                let mut listed = manifest(session, name, &reference, args.insecure).await?;
                // What the index says of it counts.
                if named.platform.is_some() {
                    listed.descriptor.platform = named.platform;
                }
                all.push(listed);
            }
            indented(&all, MANIFEST_INDENT)
        }
        Document::Index(_) => text(&bytes, INDEX_INDENT),
        Document::Manifest(_) => one(&Listed::new(name, found.descriptor, bytes)?, args.verbose),
    }
}

fn one(listed: &Listed, verbose: bool) -> Result<String, CliError> {
    match verbose {
        true => indented(listed, MANIFEST_INDENT),
        false => text(&listed.bytes()?, MANIFEST_INDENT),
    }
}

/// JSON of a registry, indented.
fn text(json: &[u8], indent: &str) -> Result<String, CliError> {
    let json: &RawValue = serde_json::from_slice(json).map_err(io::Error::from)?;
    Ok(reindent(json.get(), indent))
}

fn indented(value: &impl Serialize, indent: &str) -> Result<String, CliError> {
    let json = serde_json::to_string(value).map_err(io::Error::from)?;
    Ok(reindent(&json, indent))
}
