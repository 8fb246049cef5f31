//! `COPY` and `ADD`: pick, key, place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use havre_oci::Digest;
use havre_store::{ApplyError, Layer, Limits};
use havre_sys::rooted::{Mode, OFlags, Root};

use super::download::{Downloaded, is_git, is_url};
use super::{Files, Outcome, Shared, StageRun, blocking, cache, io, patiently};
use crate::context::IgnoreRules;
use crate::copy::{
    Content, CopyError, Destination, Draft, Failure, Item, ItemKind, LayerStream, Picked, Reading, Tree,
    content_digest, contents, ensure_directory, is_archive, is_directory, place, resolve_owner, unpack,
};
use crate::error::StepError;
use crate::event::{BuildEvent, Step};
use crate::expand;
use crate::files::{self, Attributes};
use crate::graph;
use crate::instructions::{Copy, Source};
use crate::key::Key;
use crate::state::State;

/// An instruction with everything expanded.
struct Plan {
    keyword: &'static str,
    paths: Vec<String>,
    inline: Vec<(String, String)>,
    downloads: Vec<Downloaded>,
    destination: String,
    workdir: String,
    chown: Option<String>,
    mode: Option<u32>,
    parents: bool,
    link: bool,
    excludes: IgnoreRules,
    /// `None`: never (COPY, `--unpack=false`).
    unpack_local: bool,
    unpack_downloads: bool,
}

enum From {
    Context,
    /// Files of a stage or an image.
    Layers(Vec<Digest>),
}

/// What one source contributes.
enum Part<'a> {
    Tree {
        picked: Picked,
        items: Vec<Item>,
        contents: Vec<Option<Content>>,
    },
    /// A single file, to be unpacked.
    Archive {
        picked: Picked,
        items: Vec<Item>,
        contents: Vec<Option<Content>>,
    },
    Inline {
        name: &'a str,
        text: &'a str,
    },
    Download {
        download: &'a Downloaded,
        archive: bool,
    },
}

impl StageRun {
    pub(super) async fn copy_step(
        &self,
        step: &Arc<Step>,
        state: &State,
        copy: &Copy,
    ) -> Result<Outcome, StepError> {
        let plan = self.plan(step, state, copy).await?;
        let from = match &copy.from {
            None => From::Context,
            Some(name) => From::Layers(self.source_layers(step, name).await?),
        };
        let (shared, state) = (Arc::clone(&self.shared), state.clone());
        let (outcome, hit) = blocking(move || carry_out(&shared, &state, &plan, &from)).await?;
        if hit {
            self.reporter.emit(BuildEvent::Cached {
                step: Arc::clone(step),
            });
        }
        Ok(outcome)
    }

    /// The layers behind `--from`: an earlier stage's or an image's.
    pub(super) async fn source_layers(&self, step: &Arc<Step>, name: &str) -> Result<Vec<Digest>, StepError> {
        if let Some(index) = graph::find(&self.shared.graph.stages[..self.index], name, true) {
            return Ok(self.finished(index).await?.layers.clone());
        }
        if name == "scratch" {
            return Ok(Vec::new());
        }
        let id = self.image(step, name, self.shared.platform.clone()).await?;
        Ok(self.shared.images.config(&id).await?.rootfs.diff_ids)
    }

    async fn plan(&self, step: &Arc<Step>, state: &State, copy: &Copy) -> Result<Plan, StepError> {
        let escape = self.shared.escape;
        let expand = |text: &str| {
            expand::word(text, state, escape).map_err(|source| StepError::Expand {
                text: text.to_owned(),
                source,
            })
        };
        let keyword = copy.keyword();
        let (mut paths, mut inline, mut downloads) = (Vec::new(), Vec::new(), Vec::new());
        let checksum = match &copy.add {
            Some(add) => add.checksum.as_deref().map(expand).transpose()?,
            None => None,
        };
        for source in &copy.sources {
            match source {
                Source::Inline(heredoc) => {
                    let content = heredoc.content();
                    let text = match heredoc.expand {
                        true => {
                            expand::body(&content, state, escape).map_err(|source| StepError::Expand {
                                text: heredoc.name.clone(),
                                source,
                            })?
                        }
                        false => content,
                    };
                    inline.push((heredoc.name.clone(), text));
                }
                Source::Path(text) => {
                    let text = expand(text)?;
                    match copy.add.is_some() {
                        true if is_git(&text) => return Err(CopyError::Git(text).into()),
                        true if is_url(&text) => {
                            downloads.push(self.download(step, &text, checksum.as_deref()).await?);
                        }
                        _ => paths.push(text),
                    }
                }
            }
        }
        if checksum.is_some() && (downloads.is_empty() || !paths.is_empty() || !inline.is_empty()) {
            return Err(CopyError::ChecksumTarget.into());
        }
        let chmod = copy.chmod.as_deref().map(expand).transpose()?;
        let mode = match chmod {
            None => None,
            Some(text) => match u32::from_str_radix(&text, 8) {
                Ok(mode) if mode <= 0o7777 => Some(mode),
                _ => return Err(CopyError::Chmod(text).into()),
            },
        };
        let excludes = copy
            .excludes
            .iter()
            .map(|text| expand(text))
            .collect::<Result<Vec<_>, _>>()?;
        let unpack = copy.add.as_ref().map(|add| add.unpack);
        Ok(Plan {
            keyword,
            paths,
            inline,
            downloads,
            destination: expand(&copy.destination)?,
            workdir: state.workdir().to_owned(),
            chown: copy
                .chown
                .as_deref()
                .map(expand)
                .transpose()?
                .filter(|text| !text.is_empty()),
            mode,
            parents: copy.parents,
            link: copy.link,
            excludes: IgnoreRules::new(&excludes)?,
            unpack_local: matches!(unpack, Some(None | Some(true))),
            unpack_downloads: matches!(unpack, Some(Some(true))),
        })
    }
}

/// Everything a COPY or ADD has found.
struct Found<'a> {
    files: &'a Files,
    parts: Vec<Part<'a>>,
    /// What is copied goes into a directory because there is more than one source.
    several: bool,
    /// Owners named by number don't depend on the stage.
    numeric: bool,
    /// The layer stands alone: nothing of the stage decides what is in it.
    alone: bool,
    destination: Destination,
}

fn carry_out(shared: &Shared, state: &State, plan: &Plan, from: &From) -> Result<(Outcome, bool), StepError> {
    let files = match from {
        From::Context => Files::context(shared)?,
        From::Layers(layers) => Files::layers(shared, layers)?,
    };
    patiently(shared, || {
        let found = find(shared, plan, &files)?;
        let content = content_key(plan, &found.parts);
        let mut key = Key::new("copy");
        if found.alone {
            key.text("linked");
        } else {
            key.text(state.base.as_str()).texts(&state.layers);
        }
        let destination = &found.destination;
        key.text(plan.keyword).text(&destination.path).text(&format!(
            "{} {} {} {:?} {:?} {}",
            destination.is_directory,
            plan.parents,
            plan.unpack_downloads,
            plan.mode,
            plan.chown,
            !files.from_context
        ));
        key.text(content.as_str());
        let key = key.finish();
        let kind = match found.parts.as_slice() {
            [Part::Tree { picked, .. }] if picked.is_dir => "dir",
            [_] => "file",
            _ => "multi",
        };
        let created_by = format!(
            "{} #(nop) {} {kind}:{} in {} ",
            state.shell().join(" "),
            plan.keyword,
            content.hex(),
            destination.path
        );
        let below: &[Digest] = if found.alone { &[] } else { &state.layers };
        if let Some((cached, created)) = cache::find(shared, &key, below)? {
            let layers = if found.alone {
                [state.layers.as_slice(), &cached].concat()
            } else {
                cached
            };
            let outcome = Outcome {
                created_by,
                key,
                layers,
                created,
            };
            return Ok((outcome, true));
        }
        if let Some((layers, created)) = cache::borrow(shared, state, &created_by)? {
            let outcome = Outcome {
                created_by,
                key,
                layers,
                created,
            };
            return Ok((outcome, true));
        }
        let layer = make(shared, plan, found, below)?;
        let record = [below, std::slice::from_ref(&layer.diff_id)].concat();
        let outcome = cache::put(shared, &key, record, layer.size, &created_by)?;
        let layers = [state.layers.as_slice(), &[layer.diff_id]].concat();
        Ok((Outcome { layers, ..outcome }, false))
    })
}

/// Looks the sources up and reads what is to be known of them.
fn find<'a>(shared: &Shared, plan: &'a Plan, files: &'a Files) -> Result<Found<'a>, StepError> {
    let tree = Tree {
        keyword: plan.keyword,
        root: &files.root,
        rules: files.rules(shared),
        keep_owners: !files.from_context,
    };
    let mut parts = Vec::new();
    for path in &plan.paths {
        for picked in tree.pick(path)? {
            let items = tree.items(&picked, &plan.excludes)?;
            if items.is_empty() && !picked.is_dir {
                continue;
            }
            let archive = !picked.is_dir && plan.unpack_local && {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
                let fd = files
                    .root
                    .open_at(&picked.real, flags, Mode::empty())
                    .map_err(CopyError::Io)?;
                is_archive(&mut std::fs::File::from(fd), &picked.path)?
            };
            let contents = contents(&files.root, &items, files.hashes(shared))?;
            parts.push(match archive {
                true => Part::Archive {
                    picked,
                    items,
                    contents,
                },
                false => Part::Tree {
                    picked,
                    items,
                    contents,
                },
            });
        }
    }
    let inline = plan.inline.iter();
    parts.extend(inline.map(|(name, text)| Part::Inline { name, text }));
    for download in &plan.downloads {
        let mut file = download.file.reopen().map_err(io("read a download"))?;
        let name = download.name.as_deref().unwrap_or_default();
        let archive = plan.unpack_downloads && is_archive(&mut file, name)?;
        parts.push(Part::Download { download, archive });
    }
    if parts.is_empty() {
        return Err(CopyError::NoSources {
            keyword: plan.keyword,
        }
        .into());
    }
    let destination = Destination::new(&plan.destination, &plan.workdir, (0, 0));
    let several = parts.len() > 1;
    if several && !destination.is_directory {
        return Err(CopyError::NotADirectory {
            keyword: plan.keyword,
        }
        .into());
    }
    let numeric = plan
        .chown
        .as_ref()
        .is_none_or(|chown| resolve_owner(chown, None).is_ok());
    Ok(Found {
        files,
        parts,
        several,
        numeric,
        alone: plan.link && numeric,
        destination,
    })
}

fn content_key(plan: &Plan, parts: &[Part<'_>]) -> Digest {
    let mut content = Key::new("content");
    for part in parts {
        match part {
            Part::Tree {
                picked,
                items,
                contents,
            }
            | Part::Archive {
                picked,
                items,
                contents,
            } => {
                let kind = match part {
                    Part::Archive { .. } => "archive",
                    _ => "tree",
                };
                let name = if plan.parents {
                    picked.path.clone()
                } else {
                    picked.name().to_string_lossy().into_owned()
                };
                content.text(kind).text(if picked.is_dir { "" } else { &name });
                if plan.parents {
                    content.text(&picked.path);
                }
                content.text(content_digest(items, contents).as_str());
            }
            Part::Inline { name, text } => {
                content.text("inline").text(name).text(text);
            }
            Part::Download { download, .. } => {
                content
                    .text("download")
                    .text(download.name.as_deref().unwrap_or_default());
                content.text(download.digest.as_str());
            }
        }
    }
    content.finish()
}

/// Makes the layer. Archives are unpacked into a file system; everything else needs none: the layer's archive is read
/// straight from where the files are.
fn make(shared: &Shared, plan: &Plan, found: Found<'_>, below: &[Digest]) -> Result<Layer, StepError> {
    let is_archive = |part: &Part<'_>| match part {
        Part::Archive { .. } => true,
        Part::Download { archive, .. } => *archive,
        Part::Tree { .. } | Part::Inline { .. } => false,
    };
    let archives = found.parts.iter().any(is_archive);
    let owner = |root: &Root| -> Result<Option<(u32, u32)>, CopyError> {
        let root = (!found.numeric).then_some(root);
        let chown = plan.chown.as_ref();
        chown.map(|chown| resolve_owner(chown, root)).transpose()
    };
    if archives {
        let work = cache::Work::prepare(shared, below)?;
        let owner = owner(&work.root)?;
        let writing = Writing::new(plan, &found, owner);
        for part in &found.parts {
            writing.unpack(part, &work.root)?;
        }
        return work.commit(shared);
    }
    let view = Files::layers(shared, below)?;
    let owner = owner(&view.root)?;
    let writing = Writing::new(plan, &found, owner);
    let mut draft = Draft::new(&view.root);
    for part in &found.parts {
        writing.draft(part, &mut draft)?;
    }
    let failure = Failure::default();
    let stream = LayerStream::new(draft, &found.files.root, failure.clone());
    let applied = shared
        .store
        .layers()
        .apply(stream, None, &Limits::default(), &mut |_| {}, &shared.lease);
    applied.map_err(|error| match failure.take() {
        Some(error) => error.into(),
        None => match error {
            ApplyError::Store(error) => error.into(),
            error => error.into(),
        },
    })
}

/// Where the parts go and what becomes of their attributes.
struct Writing<'a> {
    plan: &'a Plan,
    source: &'a Root,
    destination: Destination,
    owner: Option<(u32, u32)>,
    several: bool,
}

impl<'a> Writing<'a> {
    fn new(plan: &'a Plan, found: &'a Found<'_>, owner: Option<(u32, u32)>) -> Self {
        Writing {
            plan,
            source: &found.files.root,
            destination: Destination {
                owner: owner.unwrap_or((0, 0)),
                ..found.destination.clone()
            },
            owner,
            several: found.several,
        }
    }

    /// An item's attributes with `--chown` and `--chmod`.
    fn attributes(&self, item: &Item) -> Attributes {
        let mut attributes = item.attributes.clone();
        if let Some((uid, gid)) = self.owner {
            (attributes.uid, attributes.gid) = (uid, gid);
        }
        if let Some(mode) = self
            .plan
            .mode
            .filter(|_| !matches!(item.kind, ItemKind::Symlink(_)))
        {
            attributes.mode = mode;
        }
        attributes
    }

    fn own_attributes(&self, mode: u32, mtime: (i64, u32)) -> Attributes {
        let (uid, gid) = self.destination.owner;
        Attributes {
            mode: self.plan.mode.unwrap_or(mode),
            uid,
            gid,
            mtime,
            xattrs: Vec::new(),
        }
    }

    /// Where a picked tree goes.
    fn tree(&self, picked: &Picked, is_directory: impl FnOnce(&Path) -> bool) -> PathBuf {
        let base = Path::new(&self.destination.path);
        if self.plan.parents {
            base.join(&picked.path)
        } else if picked.is_dir {
            base.to_path_buf()
        } else {
            let several = self.several || picked.by_wildcard && self.destination.is_directory;
            self.destination
                .for_file(Path::new(picked.name()), several, is_directory)
        }
    }

    /// Where a download that stays packed goes, and its attributes.
    fn download(
        &self,
        download: &Downloaded,
        is_directory: impl FnOnce(&Path) -> bool,
    ) -> Result<(PathBuf, Attributes), StepError> {
        let target = match &download.name {
            Some(name) => self
                .destination
                .for_file(Path::new(name), self.several, is_directory),
            None if self.destination.is_directory => {
                return Err(CopyError::NoFileName(self.destination.path.clone()).into());
            }
            None => PathBuf::from(&self.destination.path),
        };
        let mtime = download.modified.map_or((0, 0), |time| {
            (
                time.as_second(),
                u32::try_from(time.subsec_nanosecond()).unwrap_or(0),
            )
        });
        Ok((target, self.own_attributes(0o600, mtime)))
    }

    /// Adds a part to a draft.
    fn draft<'b>(&self, part: &'b Part<'b>, draft: &mut Draft<'b>) -> Result<(), StepError> {
        match part {
            Part::Tree {
                picked,
                items,
                contents,
            } => {
                let target = self.tree(picked, |path| draft.is_directory(path));
                let change = |item: &Item| self.attributes(item);
                draft.place(items, contents, &target, self.destination.owner, change)?;
            }
            Part::Inline { name, text } => {
                let target = self
                    .destination
                    .for_file(Path::new(name), self.several, |path| draft.is_directory(path));
                draft.text(&target, text, self.own_attributes(0o644, (0, 0)))?;
            }
            Part::Download { download, .. } => {
                let (target, attributes) = self.download(download, |path| draft.is_directory(path))?;
                let file = download.file.as_file();
                let size = file.metadata().map_err(io("read a download"))?.len();
                draft.file(&target, file, size, attributes)?;
            }
            // Carried out by `unpack`.
            Part::Archive { .. } => {}
        }
        Ok(())
    }

    /// Writes a part into a mounted file system.
    fn unpack(&self, part: &Part<'_>, root: &Root) -> Result<(), StepError> {
        let base = Path::new(&self.destination.path);
        let is_directory = |path: &Path| is_directory(root, path);
        let unpack =
            |file: &mut std::fs::File, name: &str| unpack(file, name, root, base, self.owner, self.plan.mode);
        match part {
            Part::Tree {
                picked,
                items,
                contents,
            } => {
                let target = self.tree(picked, is_directory);
                let change = |item: &Item| self.attributes(item);
                let owner = self.destination.owner;
                place(self.source, items, contents, root, &target, owner, change)?;
            }
            Part::Archive {
                picked,
                items,
                contents,
            } => {
                for (item, content) in items.iter().zip(contents) {
                    let mut reading = Reading::open(self.source, item, content.as_ref())?;
                    let unpacked = unpack(reading.file(), &picked.path);
                    // Whatever came of it, it counts only if the archive stayed as it was.
                    reading.compare()?;
                    unpacked?;
                }
            }
            Part::Inline { name, text } => {
                let target = self
                    .destination
                    .for_file(Path::new(name), self.several, is_directory);
                let attributes = self.own_attributes(0o644, (0, 0));
                self.write(root, &target, &mut text.as_bytes(), &attributes)?;
            }
            Part::Download { download, archive } => {
                let mut file = download.file.reopen().map_err(io("read a download"))?;
                if *archive {
                    return Ok(unpack(&mut file, download.name.as_deref().unwrap_or("download"))?);
                }
                let (target, attributes) = self.download(download, is_directory)?;
                self.write(root, &target, &mut file, &attributes)?;
            }
        }
        Ok(())
    }

    fn write(
        &self,
        root: &Root,
        target: &Path,
        from: &mut dyn std::io::Read,
        attributes: &Attributes,
    ) -> Result<(), StepError> {
        if let Some(parent) = target.parent() {
            ensure_directory(root, parent, self.destination.owner).map_err(io("create the destination"))?;
        }
        files::file(root, target, &mut files::pour(from), attributes).map_err(CopyError::Io)?;
        Ok(())
    }
}
