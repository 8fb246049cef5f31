//! Images in files: what `docker save` writes and OCI image layouts, as a tar archive or as a directory.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_explore::{Entry, Kind, Tree};
use havre_oci::layer::{self, Class};
use havre_oci::{
    Descriptor, Digest, Digester, Document, ImageConfig, MAX_CONFIG_SIZE, MAX_DOCUMENT_SIZE, Platform,
    compression,
};
use serde::Deserialize;
use serde_json::Value;

use super::{Contents, LayerOf, Subject, command};
use crate::error::CliError;

/// Prefixes that say that what follows is a path.
const PREFIXES: [&str; 4] = ["archive:", "docker-archive:", "oci-archive:", "oci:"];

/// The path of an archive, if `name` is written as one: with a prefix, as a path that no image can be called by, or as the name
/// of a tar file that is there.
pub(super) fn written_as(name: &str) -> Option<String> {
    if let Some(path) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        return Some(path.strip_prefix("//").unwrap_or(path).to_owned());
    }
    let path = name.starts_with(['/', '.']);
    let file = [".tar", ".tar.gz", ".tgz", ".tar.zst"]
        .iter()
        .any(|ending| name.ends_with(ending));
    (path || file && Path::new(name).is_file()).then(|| name.to_owned())
}

/// Whether `name` is written as an archive, or is the path of one.
pub(crate) fn is_archive(name: &str) -> bool {
    let path = Path::new(name);
    if path.is_dir() {
        return ["manifest.json", "index.json", "oci-layout"]
            .iter()
            .any(|file| path.join(file).is_file())
            && !path.join("Dockerfile").exists();
    }
    if !path.exists() {
        return written_as(name).is_some();
    }
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(512).read_to_end(&mut head));
    let compressed = compression::Compression::detect(&head) != compression::Compression::None;
    read.is_ok() && (compressed || head.get(257..262) == Some(b"ustar"))
}

/// What is done with a file: its names, and its contents.
type ForFile<'a> = dyn FnMut(&[Vec<u8>], &mut dyn Read) -> io::Result<()> + 'a;

/// An archive that is open.
pub(crate) struct Archive {
    store: Store,
    layers: Vec<Blob>,
    /// What containers are made with.
    pub(super) config: Value,
    /// Names, where the archive tells them.
    pub(super) tags: Vec<String>,
    /// What made each step, the first first.
    pub(super) history: Vec<String>,
}

/// Where blobs are by name.
enum Store {
    Directory(PathBuf),
    Tar {
        file: fs::File,
        names: HashMap<PathBuf, Blob>,
    },
}

/// A piece of a file.
#[derive(Debug, Clone)]
struct Blob {
    /// In a directory: which file.
    path: PathBuf,
    offset: u64,
    len: u64,
}

/// Configuration, layers and names.
type Found = (Vec<u8>, Vec<Blob>, Vec<String>);

/// A line of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: PathBuf,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

impl Saved {
    fn names(&self) -> String {
        match self.repo_tags.as_deref() {
            Some(tags) if !tags.is_empty() => tags.join(", "),
            _ => "an image without a name".to_owned(),
        }
    }
}

fn invalid(path: &Path, what: impl std::fmt::Display) -> CliError {
    CliError::Invalid(format!("{} is no archive of an image: {what}", path.display()))
}

impl Archive {
    /// Reads all layers of the image at `path`, or `path:NAME` where it holds several.
    pub(super) fn open(name: &str, path: &str) -> Result<Subject, CliError> {
        let (path, wanted) = match path.split_once(':') {
            Some((file, image)) if !Path::new(path).exists() => (file, Some(image)),
            _ => (path, None),
        };
        let path = Path::new(path);
        let store = Store::open(path)?;
        let (config, layers, tags) = match store.find(Path::new("manifest.json")) {
            Some(manifest) => store.saved(path, &manifest, wanted)?,
            None => store.layout(path, wanted)?,
        };
        let id = Digest::sha256_of(&config).to_string();
        let config = ImageConfig::parse(&config).map_err(|error| invalid(path, error))?;
        if layers.len() != config.rootfs.diff_ids.len() {
            return Err(invalid(
                path,
                format!(
                    "it has {} layers, its configuration names {}",
                    layers.len(),
                    config.rootfs.diff_ids.len()
                ),
            ));
        }
        let mut settings = serde_json::to_value(&config.config).map_err(|error| invalid(path, error))?;
        settings["Architecture"] = config.architecture.clone().into();
        settings["Os"] = config.os.clone().into();
        let archive = Self {
            store,
            layers,
            config: settings,
            tags,
            history: config
                .history
                .iter()
                .map(|step| step.created_by.clone())
                .collect(),
        };
        let mut tree = Tree::new();
        for number in 0..archive.layers.len() {
            tree.begin_layer();
            archive.walk(number, &mut |entry, _| {
                tree.add(entry);
                Ok(true)
            })?;
        }
        let mut steps = config.history.iter().filter(|step| !step.empty_layer);
        let layers = config.rootfs.diff_ids.iter().map(|digest| LayerOf {
            digest: digest.to_string(),
            command: steps
                .next()
                .map_or_else(String::new, |step| command(&step.created_by)),
        });
        Ok(Subject {
            name: name.to_owned(),
            id,
            layers: layers.collect(),
            tree,
            contents: Contents::Archive(archive),
        })
    }

    /// Every entry of a layer with a reader of its contents, until `each` says `false`.
    fn walk(
        &self,
        number: usize,
        each: &mut dyn FnMut(Entry, &mut dyn Read) -> io::Result<bool>,
    ) -> Result<(), CliError> {
        let failed = |error: &dyn std::fmt::Display| {
            CliError::Invalid(format!("layer {number} of the archive cannot be read: {error}"))
        };
        let blob = self
            .store
            .read(&self.layers[number])
            .map_err(|error| failed(&error))?;
        let (_, plain) = compression::detecting_decoder(blob, compression::Limits::default())
            .map_err(|error| failed(&error))?;
        let mut reader = layer::Reader::new(plain, layer::Limits::default(), |_| Ok(()));
        let mut found = layer::Entry::default();
        // Which name a file had first, for those that have several.
        let mut numbers: HashMap<Vec<u8>, (u64, u64)> = HashMap::new();
        let mut next = 0;
        while reader.next_entry(&mut found).map_err(|error| failed(&error))? {
            let mut entry = Entry {
                path: found.path.clone(),
                kind: Kind::File,
                size: 0,
                mode: found.mode,
                uid: found.uid,
                gid: found.gid,
                mtime: found.mtime,
                inode: 0,
            };
            match &found.class {
                Class::Normal => entry.kind = kind(&found),
                Class::Whiteout { path } => (entry.path, entry.kind) = (path.clone(), Kind::Removed),
                Class::Opaque { dir } => {
                    (entry.path, entry.kind) = (dir.clone(), Kind::Directory { opaque: true });
                    (entry.mode, entry.mtime) = (0o755, 0);
                }
                Class::Metadata => continue,
            }
            if entry.kind == Kind::File {
                next += 1;
                (entry.inode, entry.size) = match found.kind {
                    layer::Kind::Hardlink => numbers.get(&found.target).copied().unwrap_or((next, 0)),
                    _ => (next, found.size),
                };
                numbers.insert(entry.path.clone(), (entry.inode, entry.size));
            }
            let mut contents = Payload {
                reader: &mut reader,
                rest: Vec::new(),
            };
            if !each(entry, &mut contents).map_err(|error| failed(&error))? {
                break;
            }
        }
        Ok(())
    }

    /// The first bytes of a file in a layer.
    pub(super) fn read(&self, number: usize, path: &[u8], limit: u64) -> Result<Vec<u8>, CliError> {
        let mut bytes = Vec::new();
        self.each_of(number, &[path.to_vec()], &mut |_, contents| {
            contents.take(limit).read_to_end(&mut bytes).map(drop)
        })?;
        Ok(bytes)
    }

    /// The first bytes of files in a layer, by path.
    pub(super) fn several(
        &self,
        number: usize,
        paths: &[Vec<u8>],
        limit: u64,
    ) -> Result<HashMap<Vec<u8>, Vec<u8>>, CliError> {
        let mut found = HashMap::new();
        self.each_of(number, paths, &mut |names, contents| {
            let mut bytes = Vec::new();
            contents.take(limit).read_to_end(&mut bytes)?;
            found.extend(names.iter().map(|name| (name.clone(), bytes.clone())));
            Ok(())
        })?;
        Ok(found)
    }

    /// The digests of the contents of files in a layer, by path.
    pub(super) fn digests(
        &self,
        number: usize,
        paths: &[Vec<u8>],
    ) -> Result<HashMap<Vec<u8>, Digest>, CliError> {
        let mut found = HashMap::new();
        self.each_of(number, paths, &mut |names, contents| {
            let mut digester = Digester::sha256();
            io::copy(contents, &mut digester)?;
            let digest = digester.finish();
            found.extend(names.iter().map(|name| (name.clone(), digest.clone())));
            Ok(())
        })?;
        Ok(found)
    }

    /// The contents of files, each once with all the names of it that were asked for. A further name of a file has none of
    /// its own in an archive; what is named twice counts as it is named last.
    fn each_of(&self, number: usize, paths: &[Vec<u8>], each: &mut ForFile<'_>) -> Result<(), CliError> {
        let asked: HashSet<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        let mut last: HashMap<Vec<u8>, u64> = HashMap::new();
        self.walk(number, &mut |entry, _| {
            if entry.kind == Kind::File && asked.contains(entry.path.as_slice()) {
                last.insert(entry.path, entry.inode);
            }
            Ok(true)
        })?;
        let mut wanted: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
        for (path, inode) in last {
            wanted.entry(inode).or_default().push(path);
        }
        self.walk(number, &mut |entry, contents| {
            if entry.kind == Kind::File
                && let Some(names) = wanted.remove(&entry.inode)
            {
                each(&names, contents)?;
            }
            Ok(!wanted.is_empty())
        })
    }
}

fn kind(found: &layer::Entry) -> Kind {
    match found.kind {
        layer::Kind::File | layer::Kind::Hardlink => Kind::File,
        layer::Kind::Dir => Kind::Directory { opaque: false },
        layer::Kind::Symlink => Kind::Link {
            target: found.target.clone(),
        },
        layer::Kind::Char { major, minor } => Kind::Char { major, minor },
        layer::Kind::Block { major, minor } => Kind::Block { major, minor },
        layer::Kind::Fifo => Kind::Fifo,
    }
}

/// The contents of the current entry.
struct Payload<'r, R, F> {
    reader: &'r mut layer::Reader<R, F>,
    rest: Vec<u8>,
}

impl<R: Read, F: FnMut(layer::Segment<'_>) -> io::Result<()>> Read for Payload<'_, R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            match self.reader.next_chunk().map_err(io::Error::other)? {
                Some(chunk) => self.rest.extend_from_slice(chunk),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

impl Store {
    fn open(path: &Path) -> Result<Self, CliError> {
        if fs::metadata(path)?.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let mut file = fs::File::open(path)?;
        let mut head = [0; 8];
        let count = file.read(&mut head)?;
        if compression::Compression::detect(&head[..count]) != compression::Compression::None {
            file.seek(SeekFrom::Start(0))?;
            file = unpacked(path, file)?;
        }
        file.seek(SeekFrom::Start(0))?;
        let mut names = HashMap::new();
        let mut tar = tar::Archive::new(file);
        for entry in tar.entries_with_seek().map_err(|error| invalid(path, error))? {
            let entry = entry.map_err(|error| invalid(path, error))?;
            let header = entry.header().entry_type();
            let name = entry.path().map_err(|error| invalid(path, error))?;
            let name: PathBuf = name
                .components()
                .filter(|part| *part != std::path::Component::CurDir)
                .collect();
            let blob = Blob {
                path: PathBuf::new(),
                offset: entry.raw_file_position(),
                len: entry.size(),
            };
            if header.is_file() {
                names.insert(name, blob);
            } else if header.is_symlink() || header.is_hard_link() {
                // Older versions of Docker write a layer that was there before as a link: `../DIGEST/layer.tar`.
                let target = entry
                    .link_name()
                    .map_err(|error| invalid(path, error))?
                    .unwrap_or_default();
                let base = if header.is_symlink() { name.parent() } else { None };
                let known = names.get(&joined(base, &target)).cloned();
                names.extend(known.map(|blob| (name, blob)));
            }
        }
        Ok(Self::Tar {
            file: tar.into_inner(),
            names,
        })
    }

    fn find(&self, name: &Path) -> Option<Blob> {
        match self {
            Self::Tar { names, .. } => names.get(name).cloned(),
            Self::Directory(root) => {
                let plain = name
                    .components()
                    .all(|part| matches!(part, std::path::Component::Normal(_)));
                let path = root.join(name);
                let len = fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?.len();
                plain.then_some(Blob { path, offset: 0, len })
            }
        }
    }

    fn read(&self, blob: &Blob) -> io::Result<io::Take<fs::File>> {
        let mut file = match self {
            Self::Directory(_) => fs::File::open(&blob.path)?,
            Self::Tar { file, .. } => fs::File::from_parts(file.file().try_clone()?, file.path()),
        };
        file.seek(SeekFrom::Start(blob.offset))?;
        Ok(file.take(blob.len))
    }

    /// A small blob, whole.
    fn small(&self, path: &Path, blob: &Blob, limit: u64) -> Result<Vec<u8>, CliError> {
        if blob.len > limit {
            return Err(invalid(
                path,
                format!("a document of {} bytes is too large", blob.len),
            ));
        }
        let mut bytes = Vec::new();
        self.read(blob)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What `docker save` writes.
    fn saved(&self, path: &Path, manifest: &Blob, wanted: Option<&str>) -> Result<Found, CliError> {
        let bytes = self.small(path, manifest, MAX_DOCUMENT_SIZE)?;
        let images: Vec<Saved> = serde_json::from_slice(&bytes).map_err(|error| invalid(path, error))?;
        let named = |image: &&Saved| {
            let tags = image.repo_tags.iter().flatten();
            wanted.is_none_or(|wanted| tags.into_iter().any(|tag| is_called(tag, wanted)))
        };
        let names = images.iter().map(Saved::names).collect();
        let image = one_of(path, wanted, images.iter().filter(named).collect(), names)?;
        let blob = |name: &PathBuf| {
            self.find(name)
                .ok_or_else(|| invalid(path, format!("{} is missing", name.display())))
        };
        let config = self.small(path, &blob(&image.config)?, MAX_CONFIG_SIZE)?;
        let layers = image.layers.iter().map(blob).collect::<Result<_, _>>()?;
        Ok((config, layers, image.repo_tags.clone().unwrap_or_default()))
    }

    /// An OCI image layout.
    fn layout(&self, path: &Path, wanted: Option<&str>) -> Result<Found, CliError> {
        let index = self
            .find(Path::new("index.json"))
            .ok_or_else(|| invalid(path, "it has neither manifest.json nor index.json"))?;
        let bytes = self.small(path, &index, MAX_DOCUMENT_SIZE)?;
        let Document::Index(index) = Document::parse(&bytes, None).map_err(|error| invalid(path, error))?
        else {
            return Err(invalid(path, "its index.json is no index"));
        };
        let name = |descriptor: &Descriptor| {
            let keys = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
            keys.iter()
                .find_map(|key| descriptor.annotations.get(*key).cloned())
        };
        let named: Vec<&Descriptor> = index
            .manifests
            .iter()
            .filter(|descriptor| match (wanted, name(descriptor)) {
                (None, _) => true,
                (Some(wanted), Some(name)) => is_called(&name, wanted),
                (Some(_), None) => false,
            })
            .collect();
        let platforms = named
            .iter()
            .filter(|descriptor| descriptor.platform.is_some())
            .count();
        let mut descriptor = match Platform::host().select(&index) {
            // Several platforms of one image.
            Some(own) if wanted.is_none() && named.len() > 1 && platforms == named.len() => own.clone(),
            _ => {
                let names = index
                    .manifests
                    .iter()
                    .map(|one| name(one).unwrap_or_else(|| one.digest.to_string()));
                one_of(path, wanted, named, names.collect())?.clone()
            }
        };
        // What is no name of an image says nothing to those who look at names.
        let tags: Vec<String> = name(&descriptor)
            .filter(|name| name.contains([':', '/']))
            .into_iter()
            .collect();
        // An index within the index, as multi-platform images are.
        for _ in 0..3 {
            let bytes = self.blob(path, &descriptor, MAX_DOCUMENT_SIZE)?;
            match Document::parse(&bytes, Some(&descriptor.media_type))
                .map_err(|error| invalid(path, error))?
            {
                Document::Index(inner) => {
                    let own = Platform::host().select(&inner);
                    descriptor = own
                        .ok_or_else(|| invalid(path, format!("it has nothing for {}", Platform::host())))?
                        .clone();
                }
                Document::Manifest(manifest) => {
                    let config = self.blob(path, &manifest.config, MAX_CONFIG_SIZE)?;
                    let layers = manifest.layers.iter().map(|layer| self.locate(path, layer));
                    return Ok((config, layers.collect::<Result<_, _>>()?, tags));
                }
            }
        }
        Err(invalid(path, "its indexes are nested too deeply"))
    }

    fn locate(&self, path: &Path, descriptor: &Descriptor) -> Result<Blob, CliError> {
        let digest = &descriptor.digest;
        let name = Path::new("blobs")
            .join(digest.algorithm().name())
            .join(digest.hex());
        self.find(&name)
            .ok_or_else(|| invalid(path, format!("blob {digest} is missing")))
    }

    fn blob(&self, path: &Path, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, CliError> {
        self.small(path, &self.locate(path, descriptor)?, limit)
    }
}

/// Names with and without what is implied: `docker.io/library/app:latest` is `app`.
fn is_called(name: &str, wanted: &str) -> bool {
    let whole = |text: &str| {
        let parsed = havre_oci::Reference::parse(text).map(havre_oci::Reference::with_default_tag);
        parsed.map_or_else(|_| text.to_owned(), |reference| reference.canonical())
    };
    name == wanted || whole(name) == whole(wanted)
}

fn one_of<T>(path: &Path, wanted: Option<&str>, found: Vec<T>, names: Vec<String>) -> Result<T, CliError> {
    let count = found.len();
    match found.into_iter().next() {
        Some(one) if count == 1 => Ok(one),
        Some(_) => Err(CliError::Invalid(format!(
            "{} holds {count} images: name one, as archive:{}:NAME: {}",
            path.display(),
            path.display(),
            names.join("; ")
        ))),
        None => Err(match wanted {
            Some(wanted) => CliError::Invalid(format!(
                "{} holds no image called {wanted}: {}",
                path.display(),
                names.join("; ")
            )),
            None => invalid(path, "it holds no images"),
        }),
    }
}

/// `target` as a link in the directory `base` means it.
fn joined(base: Option<&Path>, target: &Path) -> PathBuf {
    let mut path = base.unwrap_or(Path::new("")).to_owned();
    for part in target.components() {
        match part {
            std::path::Component::ParentDir => {
                path.pop();
            }
            std::path::Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    path
}

/// A compressed archive, unpacked into a file without a name.
fn unpacked(path: &Path, file: fs::File) -> Result<fs::File, CliError> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let (_, mut plain) = compression::detecting_decoder(file, compression::Limits::default())?;
    let aside = std::env::temp_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let made = openat(CWD, &aside, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| {
        CliError::Invalid(format!(
            "{} is compressed, and there is no room for it in {}: {errno}",
            path.display(),
            aside.display()
        ))
    })?;
    let mut file = fs::File::from_parts(std::fs::File::from(made), path);
    io::copy(&mut plain, &mut file).map_err(|error| invalid(path, error))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_an_archive() {
        let path = |name: &str| written_as(name);
        assert_eq!(path("archive:a.tar").as_deref(), Some("a.tar"));
        assert_eq!(path("docker-archive://a.tar").as_deref(), Some("a.tar"));
        assert_eq!(path("./dir").as_deref(), Some("./dir"));
        assert_eq!(path("/dir:name").as_deref(), Some("/dir:name"));
        for image in ["busybox", "localhost:5000/app:v1", "app.tar", "oci"] {
            assert_eq!(path(image), None, "{image}");
        }
    }

    #[test]
    fn links_of_older_archives() {
        assert_eq!(
            joined(Some(Path::new("abc")), Path::new("../def/layer.tar")),
            Path::new("def/layer.tar")
        );
        assert_eq!(joined(None, Path::new("a/b")), Path::new("a/b"));
        assert_eq!(
            joined(Some(Path::new("a")), Path::new("../../../x")),
            Path::new("x")
        );
    }

    #[test]
    fn names_of_images() {
        assert!(is_called("docker.io/library/app:latest", "app"));
        assert!(is_called("v1", "v1"));
        assert!(!is_called("app:v1", "app"));
    }
}
