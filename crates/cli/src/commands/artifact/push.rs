//! `artifact push` and `artifact attach`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use havre_oci::{Algorithm, Descriptor, DigestReader, Manifest, media_type};
use serde_json::json;

use super::{Answer, At, TITLE};
use crate::args::artifact::attach::Attach;
use crate::args::artifact::push::Push;
use crate::commands::Done;
use crate::commands::image::tag::reference;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::input_stream;
use crate::progress::{self, Progress};
use crate::session::Session;

/// What oras says of artifacts of which nobody says what they are.
const UNKNOWN: &str = "application/vnd.unknown.artifact.v1";
const CREATED: &str = "org.opencontainers.image.created";
/// The contents of a configuration that says nothing.
const EMPTY: &[u8] = b"{}";

/// A file to be put into an artifact.
#[derive(Debug)]
struct File {
    path: String,
    layer: Descriptor,
}

/// What is said of an artifact.
struct Said {
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
    subject: Option<Descriptor>,
    quiet: bool,
}

/// `havre artifact push`.
pub(crate) async fn push(session: &Session, args: Push) -> Done {
    let at = At {
        session,
        reference: reference(&args.operands[0])?.with_default_tag(),
        insecure: args.insecure,
    };
    if at.reference.digest().is_some() {
        return Err(CliError::Invalid("cannot push a digest reference".to_owned()));
    }
    let said = Said {
        artifact_type: args.artifact_type,
        annotations: annotations(&args.annotation)?,
        subject: None,
        quiet: args.quiet,
    };
    let files = files(&args.operands[1..])?;
    let digest = send(&at, &files, said).await?;
    tell(session, &at.reference.canonical(), &digest, args.quiet);
    Ok(ExitStatus::SUCCESS)
}

/// `havre artifact attach`.
pub(crate) async fn attach(session: &Session, args: Attach) -> Done {
    let mut at = At {
        session,
        reference: reference(&args.subject)?.with_default_tag(),
        insecure: args.insecure,
    };
    let annotations = annotations(&args.annotation)?;
    let files = files(&args.operands)?;
    let subject = at.manifest().await?.descriptor;
    let said = Said {
        artifact_type: args.artifact_type,
        annotations,
        subject: Some(Descriptor::new(subject.media_type, subject.digest, subject.size)),
        quiet: args.quiet,
    };
    // Nothing names it but its digest.
    at.reference = reference(&at.reference.repository())?;
    let digest = send(&at, &files, said).await?;
    let name = format!("{}@{digest}", at.reference.repository());
    tell(session, &name, &digest, args.quiet);
    Ok(ExitStatus::SUCCESS)
}

fn tell(session: &Session, name: &str, digest: &str, quiet: bool) {
    if !quiet {
        session.printer.line(&format!("Pushed {name}"));
        session.printer.line(&format!("Digest: {digest}"));
    } else {
        session.printer.line(digest);
    }
}

fn annotations(words: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut annotations = BTreeMap::new();
    for word in words {
        let (key, value) = word
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| CliError::Invalid(format!("invalid --annotation {word:?}: expected key=value")))?;
        if annotations.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(CliError::Invalid(format!("--annotation {key} is given twice")));
        }
    }
    Ok(annotations)
}

/// `FILE` or `FILE:MEDIATYPE`.
fn parts(word: &str) -> (&str, &str) {
    match word.rsplit_once(':') {
        Some((path, kind)) if kind.contains('/') && !Path::new(word).exists() => (path, kind),
        _ => (word, media_type::OCI_LAYER),
    }
}

/// The name of a file in the artifact.
fn title_of(path: &str) -> Option<String> {
    let way = Path::new(path);
    let inside = way
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let kept: PathBuf = match inside {
        true => way
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect(),
        false => way.file_name()?.into(),
    };
    kept.to_str().filter(|title| !title.is_empty()).map(str::to_owned)
}

/// Reads all files once, for their digests.
fn files(words: &[String]) -> Result<Vec<File>, CliError> {
    let mut files: Vec<File> = Vec::new();
    for word in words {
        let (path, kind) = parts(word);
        let invalid = |what: &str| CliError::Invalid(format!("{path}: {what}"));
        let meta = fs::metadata(path)?;
        if meta.is_dir() {
            return Err(invalid("is a directory: put it into an archive first, with tar"));
        }
        if !meta.is_file() {
            return Err(invalid("is no regular file"));
        }
        let title = title_of(path).ok_or_else(|| invalid("has no name to keep it under"))?;
        if files.iter().any(|file| super::title(&file.layer) == Some(&title)) {
            return Err(invalid(&format!("another file has the name {title}, too")));
        }
        let mut reader = DigestReader::new(fs::File::open(path)?, Algorithm::Sha256);
        let mut piece = vec![0; 256 << 10];
        while reader.read(&mut piece)? > 0 {}
        let (digest, size) = reader.finish();
        let mut layer = Descriptor::new(kind, digest, size);
        layer.annotations.insert(TITLE.to_owned(), title);
        let path = path.to_owned();
        files.push(File { path, layer });
    }
    Ok(files)
}

/// Sends what the registry lacks, then the manifest; its digest.
async fn send(at: &At<'_>, files: &[File], said: Said) -> Result<String, CliError> {
    let artifact_type = said.artifact_type.unwrap_or_else(|| UNKNOWN.to_owned());
    if !artifact_type.contains('/') {
        return Err(CliError::Invalid(format!(
            "invalid --artifact-type {artifact_type:?}: expected a media type, like application/vnd.example.report"
        )));
    }
    let empty = Descriptor::of(media_type::OCI_EMPTY, EMPTY);
    send_blob(at, &empty, None, true).await?;
    for file in files {
        send_blob(at, &file.layer, Some(&file.path), said.quiet).await?;
    }
    let mut annotations = said.annotations;
    let now = || jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    annotations.entry(CREATED.to_owned()).or_insert_with(now);
    let layers = files.iter().map(|file| file.layer.clone()).collect();
    let manifest = Manifest {
        artifact_type: Some(artifact_type),
        subject: said.subject,
        annotations,
        ..Manifest::oci(empty, layers)
    };
    let body = json!({"MediaType": manifest.media_type, "Raw": STANDARD.encode(manifest.to_bytes())});
    let call = at.sign(at.session.client()?.post(at.manifests()))?.json(&body);
    let answer: Answer = call.answer().await?;
    Ok(answer.descriptor.digest.to_string())
}

/// Sends one blob, a file's or the empty one, if it isn't there.
async fn send_blob(at: &At<'_>, blob: &Descriptor, path: Option<&str>, quiet: bool) -> Result<(), CliError> {
    let client = at.session.client()?;
    let asked = at.sign(client.head(at.blobs()).query("digest", blob.digest.as_str()))?;
    match asked.status().await {
        Ok(_) => {
            if !quiet {
                let line = format!("{}: Already exists", blob.digest.short());
                at.session.printer.line(&line);
            }
            return Ok(());
        }
        Err(CliError::Daemon { status: 404, .. }) => {}
        Err(error) => return Err(error),
    }
    let call = client
        .put(at.blobs())
        .query("digest", blob.digest.as_str())
        .query("size", blob.size.to_string());
    let call = at.sign(call)?;
    let kind = "application/octet-stream";
    let call = match path {
        Some(path) => call.stream(kind, input_stream::file(path).await?),
        None => call.text(kind, EMPTY.to_vec()),
    };
    let progress = match quiet {
        true => Progress::silent(),
        false => Progress::to_output(&at.session.printer),
    };
    progress::show(call.lines().await?, progress, &at.session.printer).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_their_types() {
        assert_eq!(parts("a.txt:text/plain"), ("a.txt", "text/plain"));
        assert_eq!(parts("a.txt"), ("a.txt", media_type::OCI_LAYER));
        assert_eq!(parts("a:b"), ("a:b", media_type::OCI_LAYER));
        assert_eq!(title_of("./dir/a.txt").as_deref(), Some("dir/a.txt"));
        assert_eq!(title_of("../a.txt").as_deref(), Some("a.txt"));
        assert_eq!(title_of("/etc/hosts").as_deref(), Some("hosts"));
        assert_eq!(title_of("/"), None);
    }

    #[test]
    fn annotations_are_pairs() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            annotations(&words)
        };
        assert_eq!(read(&["a=b=c"]).unwrap()["a"], "b=c");
        for wrong in [&["a"][..], &["=b"], &["a=1", "a=2"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
