//! `COPY` and `ADD`: pick, key, place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use havre_oci::Digest;
use havre_sys::rooted::{Mode, OFlags, Root};

use super::download::{Downloaded, is_git, is_url};
use super::{Files, Outcome, Shared, StageRun, blocking, cache, io};
use crate::context::IgnoreRules;
use crate::copy::{
    CopyError, Destination, Item, ItemKind, Picked, Tree, content_digest, is_archive, place, resolve_owner,
    unpack,
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
enum Part {
    Tree { picked: Picked, items: Vec<Item> },
    Archive { picked: Picked, items: Vec<Item> },
    Inline { name: String, text: String },
    Download(Downloaded),
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
        let (outcome, hit) = blocking(move || carry_out(&shared, &state, plan, from)).await?;
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

fn carry_out(
    shared: &Shared,
    state: &State,
    mut plan: Plan,
    from: From,
) -> Result<(Outcome, bool), StepError> {
    let (files, keep_owners) = match &from {
        From::Context => (Files::context(shared)?, false),
        From::Layers(layers) => (Files::layers(shared, layers)?, true),
    };
    let tree = Tree {
        keyword: plan.keyword,
        root: &files.root,
        rules: files.rules(shared),
        keep_owners,
    };
    let mut parts = Vec::new();
    for path in &plan.paths {
        for picked in tree.pick(path)? {
            let items = tree.items(&picked, &plan.excludes).map_err(StepError::from)?;
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
            parts.push(match archive {
                true => Part::Archive { picked, items },
                false => Part::Tree { picked, items },
            });
        }
    }
    parts.extend(
        plan.inline
            .drain(..)
            .map(|(name, text)| Part::Inline { name, text }),
    );
    parts.extend(plan.downloads.drain(..).map(Part::Download));
    if parts.is_empty() {
        return Err(CopyError::NoSources {
            keyword: plan.keyword,
        }
        .into());
    }

    // Owners named by number don't depend on the stage; only then can a linked layer stand alone.
    let numeric = plan
        .chown
        .as_ref()
        .is_none_or(|chown| resolve_owner(chown, None).is_ok());
    let alone = plan.link && numeric;
    let destination = Destination::new(&plan.destination, &plan.workdir, (0, 0));
    let several = parts.len() > 1;
    if several && !destination.is_directory {
        return Err(CopyError::NotADirectory {
            keyword: plan.keyword,
        }
        .into());
    }
    let mut content = Key::new("content");
    for part in &parts {
        match part {
            Part::Tree { picked, items } | Part::Archive { picked, items } => {
                let kind = if matches!(part, Part::Archive { .. }) {
                    "archive"
                } else {
                    "tree"
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
                content.text(
                    content_digest(&files.root, items)
                        .map_err(CopyError::Io)?
                        .as_str(),
                );
            }
            Part::Inline { name, text } => {
                content.text("inline").text(name).text(text);
            }
            Part::Download(download) => {
                content
                    .text("download")
                    .text(download.name.as_deref().unwrap_or_default());
                content.text(download.digest.as_str());
            }
        }
    }
    let content = content.finish();
    let mut key = Key::new("copy");
    if alone {
        key.text("linked");
    } else {
        key.text(state.base.as_str()).texts(&state.layers);
    }
    key.text(plan.keyword).text(&destination.path).text(&format!(
        "{} {} {} {:?} {:?} {}",
        destination.is_directory, plan.parents, plan.unpack_downloads, plan.mode, plan.chown, keep_owners
    ));
    key.text(content.as_str());
    let key = key.finish();

    let kind = match parts.as_slice() {
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
    let below: &[Digest] = if alone { &[] } else { &state.layers };
    if let Some((found, created)) = cache::find(shared, &key, below)? {
        let layers = if alone {
            [state.layers.as_slice(), &found].concat()
        } else {
            found
        };
        return Ok((
            Outcome {
                created_by,
                key,
                layers,
                created,
            },
            true,
        ));
    }

    let work = cache::Work::prepare(shared, below)?;
    let owner = plan.chown.as_ref().map(|chown| {
        if numeric {
            resolve_owner(chown, None)
        } else {
            resolve_owner(chown, Some(&work.root))
        }
    });
    let owner = owner.transpose()?;
    let destination = Destination {
        owner: owner.unwrap_or((0, 0)),
        ..destination
    };
    for part in parts {
        write(&files.root, &work.root, part, &plan, &destination, owner, several)?;
    }
    let layer = work.commit(shared)?;
    let record = [below, std::slice::from_ref(&layer.diff_id)].concat();
    let outcome = cache::put(shared, &key, record, layer.size, &created_by)?;
    let layers = [state.layers.as_slice(), &[layer.diff_id]].concat();
    Ok((Outcome { layers, ..outcome }, false))
}

fn write(
    source: &Root,
    root: &Root,
    part: Part,
    plan: &Plan,
    destination: &Destination,
    owner: Option<(u32, u32)>,
    several: bool,
) -> Result<(), StepError> {
    let base = Path::new(&destination.path);
    match part {
        Part::Tree { picked, mut items } => {
            for item in &mut items {
                if let Some((uid, gid)) = owner {
                    (item.attributes.uid, item.attributes.gid) = (uid, gid);
                }
                if let Some(mode) = plan.mode.filter(|_| !matches!(item.kind, ItemKind::Symlink(_))) {
                    item.attributes.mode = mode;
                }
            }
            let target: PathBuf = if plan.parents {
                base.join(&picked.path)
            } else if picked.is_dir {
                base.to_path_buf()
            } else {
                destination.for_file(
                    root,
                    Path::new(picked.name()),
                    several || picked.by_wildcard && destination.is_directory,
                )
            };
            place(source, &items, root, &target, destination.owner).map_err(CopyError::Io)?;
        }
        Part::Archive { picked, .. } => {
            let fd = source
                .open_at(&picked.real, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())
                .map_err(CopyError::Io)?;
            unpack(
                &mut std::fs::File::from(fd),
                &picked.path,
                root,
                base,
                owner,
                plan.mode,
            )?;
        }
        Part::Inline { name, text } => {
            let target = destination.for_file(root, Path::new(&name), several);
            let (uid, gid) = destination.owner;
            let attributes = Attributes {
                mode: plan.mode.unwrap_or(0o644),
                uid,
                gid,
                mtime: (0, 0),
                xattrs: Vec::new(),
            };
            make_parent(root, &target, destination)?;
            files::file(root, &target, &mut files::pour(&mut text.as_bytes()), &attributes)
                .map_err(CopyError::Io)?;
        }
        Part::Download(mut download) => {
            let file = download.file.as_file_mut();
            std::io::Seek::rewind(file).map_err(io("read a download"))?;
            if plan.unpack_downloads && is_archive(file, download.name.as_deref().unwrap_or_default())? {
                let name = download.name.as_deref().unwrap_or("download");
                unpack(file, name, root, base, owner, plan.mode)?;
                return Ok(());
            }
            let target = match &download.name {
                Some(name) => destination.for_file(root, Path::new(name), several),
                None if destination.is_directory => {
                    return Err(CopyError::NoFileName(destination.path.clone()).into());
                }
                None => base.to_path_buf(),
            };
            let mtime = download.modified.map_or((0, 0), |time| {
                (
                    time.as_second(),
                    u32::try_from(time.subsec_nanosecond()).unwrap_or(0),
                )
            });
            let (uid, gid) = destination.owner;
            let attributes = Attributes {
                mode: plan.mode.unwrap_or(0o600),
                uid,
                gid,
                mtime,
                xattrs: Vec::new(),
            };
            make_parent(root, &target, destination)?;
            files::file(root, &target, &mut files::pour(file), &attributes).map_err(CopyError::Io)?;
        }
    }
    Ok(())
}

fn make_parent(root: &Root, target: &Path, destination: &Destination) -> Result<(), StepError> {
    match target.parent() {
        Some(parent) => crate::copy::ensure_directory(root, parent, destination.owner)
            .map_err(io("create the destination")),
        None => Ok(()),
    }
}
