//! `cp`: files into and out of containers.

use std::env;
use std::io;
use std::path::Path;

use base64::Engine;
use serde::Deserialize;

use crate::archive::{self, CopyIn};
use crate::args::container::cp::Cp;
use crate::client::Client;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::size;
use crate::input_stream::{self, Input};
use crate::session::Session;

/// What the engine says about a path in a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stat {
    pub(crate) name: String,
    /// Go's file mode.
    mode: u32,
    #[serde(rename = "linkTarget")]
    link_target: String,
}

const GO_DIRECTORY: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;

impl Stat {
    pub(crate) fn is_directory(&self) -> bool {
        self.mode & GO_DIRECTORY != 0
    }
}

/// One side of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side<'a> {
    Local(&'a str),
    Inside { container: &'a str, path: &'a str },
}

/// `name:path` is a container's; what begins with `/` or `.` is local.
fn side(text: &str) -> Side<'_> {
    if text.starts_with('/') || text.starts_with('.') {
        return Side::Local(text);
    }
    match text.split_once(':') {
        Some((container, path)) if !container.is_empty() && !container.contains('/') => {
            Side::Inside { container, path }
        }
        _ => Side::Local(text),
    }
}

/// `docker cp`.
pub(crate) async fn cp(session: &Session, args: Cp) -> Done {
    let [source, target] = args.operands.as_slice() else {
        return Ok(ExitStatus::FAILURE);
    };
    for (side, operand) in [("source", source), ("destination", target)] {
        if operand.is_empty() {
            return Err(CliError::Invalid(format!("{side} can not be empty")));
        }
    }
    match (side(source), side(target)) {
        (Side::Inside { container, path }, Side::Local(local)) => {
            out(session, &args, container, path, local).await
        }
        (Side::Local(local), Side::Inside { container, path }) => {
            into(session, &args, local, container, path).await
        }
        (Side::Inside { .. }, Side::Inside { .. }) => Err(CliError::Invalid(
            "copying between containers is not supported".to_owned(),
        )),
        (Side::Local(_), Side::Local(_)) => Err(CliError::Invalid(
            "must specify at least one container source".to_owned(),
        )),
    }
}

async fn stat(client: &Client, container: &str, path: &str) -> Result<Stat, CliError> {
    let response = client
        .head(format!("/containers/{container}/archive"))
        .query("path", path)
        .send()
        .await
        .map_err(|error| match error {
            // A HEAD answer carries no words.
            CliError::Daemon { status: 404, .. } => CliError::Daemon {
                status: 404,
                message: format!("Could not find the file {path} in container {container}"),
            },
            other => other,
        })?;
    stat_of(response.headers())
}

pub(crate) fn stat_of(headers: &hyper::HeaderMap) -> Result<Stat, CliError> {
    let invalid = |reason: &str| CliError::Protocol {
        request: "archive".to_owned(),
        reason: reason.to_owned(),
    };
    let value = headers
        .get("x-docker-container-path-stat")
        .ok_or_else(|| invalid("no path stat"))?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(value.as_bytes())
        .map_err(|_| invalid("the path stat is not base64"))?;
    serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))
}

/// A link's target inside the container, seen from where the link is.
fn resolved(path: &str, stat: &Stat) -> String {
    if stat.link_target.starts_with('/') {
        return stat.link_target.clone();
    }
    let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
    parent.join(&stat.link_target).to_string_lossy().into_owned()
}

/// Paths in containers begin at the root directory. No path stays none: the engine refuses it.
fn rooted(path: &str) -> String {
    if path.is_empty() || path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

async fn out(session: &Session, args: &Cp, container: &str, path: &str, local: &str) -> Done {
    let client = session.client()?;
    let mut path = rooted(path);
    let mut rename = None;
    if args.follow_link {
        let found = stat(client, container, &path).await?;
        if found.mode & GO_SYMLINK != 0 {
            // The copy has the name of the link, the contents of its target.
            rename = Some(found.name.clone());
            path = resolved(&path, &found);
        }
    }
    let response = client
        .get(format!("/containers/{container}/archive"))
        .query("path", &path)
        .send()
        .await?;
    let found = stat_of(response.headers())?;
    let body = response.into_body();
    if local == "-" {
        crate::output_file::check(session, None)?;
        crate::output_file::print_body(session, body).await?;
        return Ok(ExitStatus::SUCCESS);
    }
    let name = rename.unwrap_or_else(|| found.name.clone());
    let contents_only = path.ends_with("/.");
    let target = archive::target(Path::new(local), &name, found.is_directory(), contents_only)?;
    let archive_copy = args.archive;
    let copied = archive::receive(body, found.name.clone(), target.clone(), archive_copy).await?;
    if !args.quiet && session.printer.out_is_terminal() {
        session.printer.warn(&format!(
            "Successfully copied {} to {}",
            size::short(copied as i64),
            target.display()
        ));
    }
    Ok(ExitStatus::SUCCESS)
}

async fn into(session: &Session, args: &Cp, local: &str, container: &str, path: &str) -> Done {
    if path.is_empty() {
        return Err(CliError::Invalid(match local {
            "-" => format!("destination \"{container}:\" must be a directory"),
            _ => "no such directory".to_owned(),
        }));
    }
    let client = session.client()?;
    let mut path = rooted(path);
    let mut existing = match stat(client, container, &path).await {
        Ok(found) => Some(found),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    if let Some(found) = existing.clone().filter(|found| found.mode & GO_SYMLINK != 0) {
        path = resolved(&path, &found);
        existing = match stat(client, container, &path).await {
            Ok(found) => Some(found),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
    }
    let into_directory = existing.as_ref().map(Stat::is_directory);
    let (directory, input): (String, Input) = if local == "-" {
        if into_directory != Some(true) {
            return Err(CliError::Invalid(format!(
                "destination \"{container}:{path}\" must be a directory"
            )));
        }
        (path.clone(), input_stream::stdin())
    } else {
        let source = if args.follow_link {
            fs_err::canonicalize(local)?
        } else {
            Path::new(&env::current_dir()?).join(local)
        };
        let copy = CopyIn::plan(&source, local, &path, into_directory, args.archive)?;
        (copy.directory.clone(), archive::send(copy))
    };
    client
        .put(format!("/containers/{container}/archive"))
        .query("path", directory)
        .query("noOverwriteDirNonDir", "true")
        .query_if("copyUIDGID", args.archive)
        .stream("application/x-tar", input)
        .status()
        .await?;
    if !args.quiet && session.printer.out_is_terminal() {
        session
            .printer
            .warn(&format!("Successfully copied {local} to {container}:{path}"));
    }
    Ok(ExitStatus::SUCCESS)
}

/// An error of the system about a local path, in Docker's words.
pub(crate) fn local_error(path: &Path, error: &io::Error) -> CliError {
    CliError::Invalid(format!(
        "lstat {}: {}",
        path.display(),
        input_stream::plain(error)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        assert_eq!(
            side("box:/etc"),
            Side::Inside {
                container: "box",
                path: "/etc"
            }
        );
        assert_eq!(side("./box:/etc"), Side::Local("./box:/etc"));
        assert_eq!(side("/a:b"), Side::Local("/a:b"));
        assert_eq!(side("file"), Side::Local("file"));
        assert_eq!(side("a/b:c"), Side::Local("a/b:c"));
        assert_eq!(side("-"), Side::Local("-"));
    }

    #[test]
    fn paths_begin_at_the_root() {
        assert_eq!(
            (rooted("etc").as_str(), rooted("/etc").as_str()),
            ("/etc", "/etc")
        );
        assert_eq!(rooted(""), "");
    }

    #[test]
    fn links_resolve_from_their_place() {
        let stat = |target: &str| Stat {
            link_target: target.to_owned(),
            ..Stat::default()
        };
        assert_eq!(resolved("/a/link", &stat("/b")), "/b");
        assert_eq!(resolved("/a/link", &stat("b")), "/a/b");
    }
}
