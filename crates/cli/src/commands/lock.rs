//! `lock`: images of Dockerfiles and Compose files pinned to digests.

mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;

use fs_err as fs;
use havre_oci::{Digest, Reference};
use serde::Deserialize;

use self::files::{Kind, places};
use crate::args::lock::Lock;
use crate::commands::Done;
use crate::commands::image::tag::reference;
use crate::credentials;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// Files looked for where none is named.
const USUAL: [&str; 5] = [
    "Dockerfile",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

/// What is to become of a file.
struct Edit {
    path: PathBuf,
    text: String,
    changed: bool,
}

/// `havre lock`.
pub(crate) async fn lock(session: &Session, args: Lock) -> Done {
    if [args.check, args.unlock, args.update]
        .into_iter()
        .filter(|flag| *flag)
        .count()
        > 1
    {
        return Err(CliError::Invalid(
            "conflicting options: only one of --check, --unlock and --update".to_owned(),
        ));
    }
    let mut known = BTreeMap::new();
    let mut edits = Vec::new();
    let mut loose = 0;
    for path in named(&args)? {
        let before = fs::read_to_string(&path)?;
        let mut replaced = Vec::new();
        for place in places(Kind::of(&path), &before) {
            let written = &before[place.at.clone()];
            let line = before[..place.at.start].matches('\n').count() + 1;
            let invalid = |error: CliError| {
                CliError::Invalid(format!("{}:{line}: {written:?}: {error}", path.display()))
            };
            // The digest is always the last.
            let (name, pinned) = match written.split_once('@') {
                Some((name, _)) => (name, true),
                None => (written, false),
            };
            let reference = reference(name).map_err(invalid)?;
            let new = if args.unlock {
                // Without its tag nobody would know which image it was.
                reference.tag().filter(|_| pinned).map(|_| name.to_owned())
            } else if args.check {
                if !pinned {
                    loose += 1;
                    let text = format!("{}:{line}: {written} is not pinned to a digest", path.display());
                    session.printer.line(&text);
                }
                None
            } else if !pinned || (args.update && reference.tag().is_some()) {
                let tag = if reference.tag().is_some() { "" } else { ":latest" };
                let tagged = reference.with_default_tag();
                let digest = digest(session, &tagged, &mut known).await.map_err(invalid)?;
                Some(format!("{name}{tag}@{digest}")).filter(|new| new != written)
            } else {
                None
            };
            if let Some(new) = new {
                let shown = format!("{}: {written} -> {new}", path.display());
                session.printer.line(&shown);
                replaced.push((place.at.clone(), new));
            }
        }
        let mut text = before.clone();
        // From the end, so that what is before stays where it is.
        for (at, new) in replaced.into_iter().rev() {
            text.replace_range(at, &new);
        }
        edits.push(Edit {
            changed: text != before,
            path,
            text,
        });
    }
    // Nothing is written before everything is known.
    for edit in edits.iter().filter(|edit| edit.changed) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&edit.path)?.permissions());
        havre_sys::atomic::write_relaxed(&edit.path, edit.text.as_bytes(), mode & 0o7777)?;
    }
    Ok(match loose {
        0 => ExitStatus::SUCCESS,
        _ => ExitStatus::FAILURE,
    })
}

fn named(args: &Lock) -> Result<Vec<PathBuf>, CliError> {
    if !args.operands.is_empty() {
        return Ok(args.operands.iter().map(PathBuf::from).collect());
    }
    let found: Vec<PathBuf> = USUAL
        .iter()
        .map(PathBuf::from)
        .filter(|path| path.is_file())
        .collect();
    match found.is_empty() {
        true => Err(CliError::Invalid(format!(
            "none of {} is in this directory: name the files",
            USUAL.join(", ")
        ))),
        false => Ok(found),
    }
}

/// What a tag stands for now in its registry.
async fn digest(
    session: &Session,
    tag: &Reference,
    known: &mut BTreeMap<String, Digest>,
) -> Result<Digest, CliError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Found {
        descriptor: havre_oci::Descriptor,
    }
    let name = tag.canonical();
    if let Some(digest) = known.get(&name) {
        return Ok(digest.clone());
    }
    let call = session.client()?.get(format!("/distribution/{name}/json"));
    let call = credentials::sign(call, &session.settings, &tag.repository())?;
    let found: Found = call.answer().await?;
    known.insert(name, found.descriptor.digest.clone());
    Ok(found.descriptor.digest)
}
