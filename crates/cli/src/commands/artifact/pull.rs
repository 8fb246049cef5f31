//! `artifact pull`.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::{Descriptor, Digester};
use havre_sys::rooted::Root;
use http_body_util::BodyExt;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::{At, title};
use crate::args::artifact::pull::Pull;
use crate::commands::Done;
use crate::commands::image::tag::reference;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::size;
use crate::session::Session;

/// A file to be written: where, and what.
struct Wanted<'a> {
    title: &'a str,
    layer: &'a Descriptor,
}

/// `havre artifact pull`.
pub(crate) async fn pull(session: &Session, args: Pull) -> Done {
    let at = At {
        session,
        reference: reference(&args.operands[0])?.with_default_tag(),
        insecure: args.insecure,
    };
    let manifest = at.artifact().await?;
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for layer in &manifest.layers {
        let Some(title) = title(layer) else {
            let line = format!("{}: left out, it has no name", layer.digest.short());
            session.printer.warn(&line);
            continue;
        };
        check(title)?;
        if wanted.iter().any(|other| other.title == title) {
            return Err(CliError::Invalid(format!(
                "two files of the artifact have the name {title:?}"
            )));
        }
        wanted.push(Wanted { title, layer });
    }
    fs::create_dir_all(&args.output)?;
    let output = Path::new(&args.output);
    let root = Root::open(output)?;
    // What is in the way is found before anything is written.
    for file in &wanted {
        if !args.force && Place::of(&root, file.title)?.is_taken()? {
            return Err(CliError::Invalid(format!(
                "{} is there already: replace it with --force, or use another directory with -o",
                output.join(file.title).display()
            )));
        }
    }
    for file in &wanted {
        write(&at, &root, file, args.force).await?;
        if !args.quiet {
            let shown = size::short(file.layer.size.try_into().unwrap_or(i64::MAX));
            let path = output.join(file.title);
            session.printer.line(&format!("{} ({shown})", path.display()));
        }
    }
    Ok(ExitStatus::SUCCESS)
}

/// Refuses names that are not those of files beneath a directory: an artifact is anybody's.
fn check(title: &str) -> Result<(), CliError> {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
    if title.len() < 4096 && !title.chars().any(char::is_control) && title.split('/').all(plain) {
        return Ok(());
    }
    Err(CliError::Invalid(format!(
        "refusing a file of the artifact that calls itself {title:?}: it is no name beneath a directory"
    )))
}

/// A name in a directory.
struct Place<'a> {
    directory: OwnedFd,
    name: &'a OsStr,
}

impl<'a> Place<'a> {
    /// Links on the way are refused: where they lead is not for an artifact to choose.
    fn of(root: &Root, title: &'a str) -> Result<Self, CliError> {
        let path = Path::new(title);
        let parent = path.parent().unwrap_or(Path::new(""));
        let mut way = PathBuf::new();
        for part in parent {
            way.push(part);
            match root.stat(&way, false) {
                Ok(found) if FileType::from_raw_mode(found.st_mode).is_dir() => {}
                Ok(_) => {
                    return Err(CliError::Invalid(format!(
                        "cannot write {title}: {} is no directory",
                        root.path().join(&way).display()
                    )));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self {
            directory: root.ensure_dir(parent, Mode::from_raw_mode(0o755))?,
            name: path.file_name().unwrap_or_default(),
        })
    }

    fn is_taken(&self) -> Result<bool, CliError> {
        match statat(&self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }
}

/// The file appears under its name when it is whole and what its digest says.
async fn write(at: &At<'_>, root: &Root, file: &Wanted<'_>, force: bool) -> Result<(), CliError> {
    let place = Place::of(root, file.title)?;
    let aside = format!(".havre-{}-{}", std::process::id(), file.layer.digest.short());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let made = rustix::fs::openat(&place.directory, &aside, flags, Mode::from_raw_mode(0o644));
    let mut output = std::fs::File::from(made.map_err(io::Error::from)?);
    let written = tokio::select! {
        written = receive(at, file.layer, &mut output) => written,
        _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted),
    };
    let done = written.and_then(|()| {
        if !force && place.is_taken()? {
            return Err(CliError::Invalid(format!("{} appeared meanwhile", file.title)));
        }
        let renamed = renameat(&place.directory, &aside, &place.directory, place.name);
        renamed.map_err(|errno| io::Error::from(errno).into())
    });
    if done.is_err() {
        let _ = unlinkat(&place.directory, &aside, AtFlags::empty());
    }
    done
}

async fn receive(at: &At<'_>, layer: &Descriptor, output: &mut std::fs::File) -> Result<(), CliError> {
    let call = at.session.client()?.get(at.blobs());
    let call = call
        .query("digest", layer.digest.as_str())
        .query("size", layer.size.to_string());
    let mut body = at.sign(call)?.send().await?.into_body();
    let mut digester = Digester::new(layer.digest.algorithm());
    let mut size = 0;
    let wrong = |what: &str| CliError::Invalid(format!("{}: {what}", layer.digest));
    while let Some(frame) = body.frame().await {
        // The engine holds the last bytes back if they are not what they should be.
        let frame =
            frame.map_err(|_| wrong("what the registry has is something else, or the connection broke"))?;
        if let Ok(data) = frame.into_data() {
            size += data.len() as u64;
            digester.update(&data);
            output.write_all(&data)?;
        }
    }
    if size != layer.size || digester.finish() != layer.digest {
        return Err(wrong("what came is something else"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_beneath_the_directory() {
        for title in ["a", "dir/a.txt", "...", "a b"] {
            assert!(check(title).is_ok(), "{title}");
        }
        for title in [
            "",
            "/etc/passwd",
            "../a",
            "a/../../b",
            "a//b",
            "a/",
            ".",
            "a\0b",
            "a\u{1b}[2J",
        ] {
            assert!(check(title).is_err(), "{title:?}");
        }
    }
}
