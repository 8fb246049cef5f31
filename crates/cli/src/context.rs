//! Build contexts as request bodies: a directory without what `.dockerignore` leaves out, or standard input.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_build::context::{Claim, IgnoreRules, read_patterns};

use crate::archive::{append, builder, stream};
use crate::error::CliError;
use crate::input_stream::Input;

/// A Dockerfile is not larger.
const MAX_DOCKERFILE: u64 = 4 << 20;
/// So many names of a directory are looked at.
const MAX_NAMES: usize = 10_000;
/// The name a Dockerfile from elsewhere has in the archive.
const FOREIGN: &str = ".dockerfile.outside-context";
/// So much of standard input tells whether it is an archive.
const PROBE: usize = 512;

/// A context ready to be sent.
pub(crate) struct Context {
    /// The archive.
    pub(crate) input: Input,
    /// Path of the Dockerfile in it.
    pub(crate) dockerfile: String,
}

/// Standard input: an archive, or the Dockerfile alone.
pub(crate) fn from_stdin(dockerfile: Option<&str>) -> Result<Context, CliError> {
    let mut probe = vec![0; PROBE];
    let mut filled = 0;
    let mut stdin = io::stdin().lock();
    while filled < probe.len() {
        match stdin.read(&mut probe[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    probe.truncate(filled);
    drop(stdin);
    if probe.is_empty() {
        return Err(CliError::Invalid(
            "failed to read the build context: standard input is empty".to_owned(),
        ));
    }
    if is_archive(&probe) {
        let input = stream(move |mut writer| {
            writer.write_all(&probe)?;
            io::copy(&mut io::stdin().lock(), &mut writer)?;
            writer.flush()
        });
        return Ok(Context {
            input,
            dockerfile: dockerfile.unwrap_or("Dockerfile").to_owned(),
        });
    }
    if dockerfile.is_some_and(|name| name != "-") {
        return Err(CliError::Invalid(
            "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles".to_owned(),
        ));
    }
    io::stdin().lock().take(MAX_DOCKERFILE).read_to_end(&mut probe)?;
    let input = stream(move |writer| {
        let mut tar = builder(writer);
        add_text(&mut tar, "Dockerfile", &probe)?;
        tar.into_inner()?.flush()
    });
    Ok(Context {
        input,
        dockerfile: "Dockerfile".to_owned(),
    })
}

fn is_archive(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 4] = [
        &[0x1f, 0x8b],
        b"BZh",
        &[0xfd, b'7', b'z', b'X', b'Z'],
        &[0x28, 0xb5, 0x2f, 0xfd],
    ];
    if MAGIC.iter().any(|magic| head.starts_with(magic)) {
        return true;
    }
    if head.len() < PROBE {
        return false;
    }
    let Some(stored) = std::str::from_utf8(&head[148..156])
        .ok()
        .and_then(|text| u32::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok())
    else {
        return false;
    };
    // The checksum is taken with its own field as blanks.
    let sum: u32 = head
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    sum == stored
}

/// What a context directory has, for those who look at it and send nothing.
pub(crate) struct AboutDirectory {
    pub(crate) ignore_file: bool,
    pub(crate) rules: IgnoreRules,
    /// So many of its names as are looked at.
    pub(crate) names: Vec<String>,
}

/// A context directory, and where its Dockerfile is.
pub(crate) struct Directory {
    root: PathBuf,
    /// Path of the Dockerfile in the context.
    pub(crate) dockerfile: String,
    /// Its text when it is from elsewhere.
    pub(crate) foreign: Option<Vec<u8>>,
}

impl Directory {
    /// `dockerfile` is the flag: relative to the working directory, `-` for standard input.
    pub(crate) fn open(directory: &str, dockerfile: Option<&str>) -> Result<Self, CliError> {
        let root = fs::canonicalize(directory).map_err(|_| {
            CliError::Invalid(format!("unable to prepare context: path {directory:?} not found"))
        })?;
        if !root.is_dir() {
            return Err(CliError::Invalid(format!(
                "unable to prepare context: path {directory:?} is not a directory"
            )));
        }
        let (dockerfile, foreign) = locate(&root, dockerfile)?;
        Ok(Self {
            root,
            dockerfile,
            foreign,
        })
    }

    /// The text of the Dockerfile.
    pub(crate) fn text(&self) -> io::Result<Vec<u8>> {
        match &self.foreign {
            Some(text) => Ok(text.clone()),
            None => fs::read(self.root.join(&self.dockerfile)),
        }
    }

    /// What is in it, and what is left out.
    pub(crate) fn about(&self) -> Result<AboutDirectory, CliError> {
        let ignore_files = [
            format!("{}.dockerignore", self.dockerfile),
            ".dockerignore".to_owned(),
        ];
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)?.take(MAX_NAMES) {
            names.extend(entry?.file_name().into_string());
        }
        Ok(AboutDirectory {
            ignore_file: ignore_files.iter().any(|name| self.root.join(name).is_file()),
            rules: rules(&self.root, &self.dockerfile)?,
            names,
        })
    }

    /// What tells an engine on this machine which directory it is.
    pub(crate) fn claim(&self) -> io::Result<String> {
        Claim::new(&self.root).map(|claim| claim.to_string())
    }

    /// The directory as an archive.
    pub(crate) fn pack(self) -> Result<Context, CliError> {
        let Self {
            root,
            dockerfile,
            foreign,
        } = self;
        let rules = rules(&root, &dockerfile)?;
        let name = dockerfile.clone();
        let input = stream(move |writer| {
            let mut tar = builder(writer);
            pack(&mut tar, &root, &rules)?;
            if let Some(text) = foreign {
                add_text(&mut tar, &name, &text)?;
            }
            tar.into_inner()?.flush()
        });
        Ok(Context { input, dockerfile })
    }
}

/// The path of the Dockerfile in the context, or its text when it is from elsewhere.
fn locate(root: &Path, flag: Option<&str>) -> Result<(String, Option<Vec<u8>>), CliError> {
    let read = |mut reader: Box<dyn Read>| -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        reader.by_ref().take(MAX_DOCKERFILE).read_to_end(&mut text)?;
        Ok(text)
    };
    let path = match flag.filter(|flag| !flag.is_empty()) {
        Some("-") => return Ok((FOREIGN.to_owned(), Some(read(Box::new(io::stdin().lock()))?))),
        Some(path) => PathBuf::from(path),
        None => root.join("Dockerfile"),
    };
    let missing = |path: &Path| {
        CliError::Invalid(format!(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {}: no such file or directory",
            path.display()
        ))
    };
    // Docker takes -f relative to the working directory; a name that is only in the context is meant so too.
    let found = fs::canonicalize(&path)
        .or_else(|error| {
            if path.is_absolute() {
                Err(error)
            } else {
                fs::canonicalize(root.join(&path))
            }
        })
        .map_err(|_| missing(&std::path::absolute(&path).unwrap_or(path.clone())))?;
    if !found.is_file() {
        return Err(CliError::Invalid(format!(
            "unable to prepare context: {} is not a file",
            found.display()
        )));
    }
    // The name inside the context, links in it kept.
    let inside = std::path::absolute(&path)
        .ok()
        .and_then(|path| path.strip_prefix(root).map(Path::to_owned).ok());
    match inside
        .filter(|inside| root.join(inside).exists())
        .or_else(|| found.strip_prefix(root).map(Path::to_owned).ok())
    {
        Some(inside) => Ok((inside.to_string_lossy().into_owned(), None)),
        None => Ok((FOREIGN.to_owned(), Some(read(Box::new(fs::File::open(&found)?))?))),
    }
}

/// The rules of `.dockerignore` (of `NAME.dockerignore` first), with what the engine needs put back.
fn rules(root: &Path, dockerfile: &str) -> Result<IgnoreRules, CliError> {
    let invalid = |path: &Path, error: &dyn std::fmt::Display| {
        CliError::Invalid(format!("failed to read {}: {error}", path.display()))
    };
    let mut patterns = Vec::new();
    for name in [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()] {
        let path = root.join(&name);
        match fs::read(&path) {
            Ok(bytes) => {
                patterns = read_patterns(&bytes).map_err(|error| invalid(&path, &error))?;
                break;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !patterns.is_empty() {
        patterns.push("!.dockerignore".to_owned());
        patterns.push(format!("!{dockerfile}"));
    }
    IgnoreRules::new(&patterns).map_err(|error| invalid(&root.join(".dockerignore"), &error))
}

/// Appends everything the rules leave, in the order of names.
fn pack(
    tar: &mut tar::Builder<crate::archive::PieceWriter>,
    root: &Path,
    rules: &IgnoreRules,
) -> io::Result<()> {
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let path = root.join(&relative);
        let directory = fs::symlink_metadata(&path)?.is_dir();
        let name = relative.to_string_lossy().into_owned();
        if !name.is_empty() {
            let excluded = rules.excludes(&name);
            if !excluded {
                append(tar, &path, &relative, false)?;
            } else if !directory || !rules.may_include_below(&name) {
                continue;
            }
        }
        if directory {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path)? {
                names.push(relative.join(entry?.file_name()));
            }
            names.sort();
            pending.extend(names.into_iter().rev());
        }
    }
    Ok(())
}

fn add_text(tar: &mut tar::Builder<crate::archive::PieceWriter>, name: &str, text: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, name, text)
}

/// The whole of a body, for tests and for nothing else.
#[cfg(test)]
async fn collect(mut input: Input) -> Vec<u8> {
    use futures_util::StreamExt;
    let mut all = Vec::new();
    while let Some(piece) = input.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_directory(directory: &str, dockerfile: Option<&str>) -> Result<Context, CliError> {
        Directory::open(directory, dockerfile)?.pack()
    }

    async fn names(context: Context) -> Vec<String> {
        let bytes = collect(context.input).await;
        let mut archive = tar::Archive::new(&bytes[..]);
        archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        home
    }

    #[tokio::test]
    async fn what_is_ignored_is_not_sent_but_the_dockerfile_is() {
        let home = tree(&[
            ("Dockerfile", "FROM scratch"),
            (".dockerignore", "*\n!src\nsrc/*.tmp\n"),
            ("src/a.py", ""),
            ("src/b.tmp", ""),
            ("big/file", ""),
        ]);
        let context = from_directory(home.path().to_str().unwrap(), None).unwrap();
        assert_eq!(context.dockerfile, "Dockerfile");
        let mut names = names(context).await;
        names
            .iter_mut()
            .for_each(|name| *name = name.trim_end_matches('/').to_owned());
        assert_eq!(names, [".dockerignore", "Dockerfile", "src", "src/a.py"]);
    }

    #[tokio::test]
    async fn a_dockerfile_from_elsewhere_is_added() {
        let home = tree(&[("a", "")]);
        let other = tree(&[("D", "FROM scratch\n")]);
        let flag = other.path().join("D");
        let context = from_directory(home.path().to_str().unwrap(), flag.to_str()).unwrap();
        assert_eq!(context.dockerfile, FOREIGN);
        assert_eq!(names(context).await, ["a", FOREIGN]);
    }

    #[test]
    fn missing_things_are_named() {
        let home = tree(&[("a", "")]);
        let text = |result: Result<Context, CliError>| match result {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted"),
        };
        assert!(text(from_directory("/nonexistent", None)).contains("path \"/nonexistent\" not found"));
        let root = home.path().to_str().unwrap();
        assert!(text(from_directory(root, None)).contains("Dockerfile: no such file"));
        assert!(text(from_directory(&format!("{root}/a"), None)).contains("not a directory"));
    }

    #[test]
    fn archives_are_told_from_dockerfiles() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        tar.append_data(&mut header, "Dockerfile", io::empty()).unwrap();
        assert!(is_archive(&tar.into_inner().unwrap()[..PROBE]));
        assert!(is_archive(&[0x1f, 0x8b, 8]));
        assert!(!is_archive(b"FROM debian\n"));
        assert!(!is_archive(&[b' '; PROBE]));
    }
}
