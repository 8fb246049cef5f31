//! The files of an image: what a container sees, or what one layer changed.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;
use havre_explore::{Change, Comparison, Kind, Node, Tree, Version, permissions};
use havre_oci::Digest;
use havre_registry_store::{Identifier, RepositoryName};

use crate::error::PageError;
use crate::frame::{Crumb, Frame};
use crate::image::Chosen;
use crate::layers::Files;
use crate::link;
use crate::pages::{file, image};
use crate::respond;
use crate::show::{self, Count, Moment, Size};
use crate::visit::Visit;

/// Names of a directory that one page shows.
const ROWS: usize = 1000;

#[derive(Template)]
#[template(path = "files.html")]
struct Page<'a> {
    frame: Frame<'a>,
    about: About,
    rows: Vec<Row>,
    /// How many names the directory has, if they are not all on this page.
    total: Option<Count>,
    next: Option<String>,
    /// What the layer did, if one is shown.
    did: Option<Did>,
}

/// What a page about files says of the image they are in.
pub(super) struct About {
    pub(super) image: String,
    pub(super) image_link: String,
    /// The way from the root to what is shown, each with its link.
    pub(super) path: Vec<Crumb>,
    /// Where all layers are shown together.
    pub(super) all: String,
    pub(super) layers: Vec<Choice>,
    pub(super) layer: Option<usize>,
}

pub(super) struct Choice {
    pub(super) number: usize,
    pub(super) link: String,
    pub(super) command: String,
    pub(super) is_shown: bool,
}

struct Row {
    name: String,
    link: String,
    kind: &'static str,
    is_dir: bool,
    target: Option<String>,
    size: Option<Size>,
    permissions: String,
    owner: String,
    modified: Option<Moment>,
    layer: usize,
    /// What the layer did to it.
    change: &'static str,
}

struct Did {
    added: Count,
    changed: Count,
    removed: Count,
    bytes: Size,
}

/// An image whose files are shown.
pub(super) struct Opened {
    pub(super) chosen: Chosen,
    pub(super) files: Arc<Files>,
    pub(super) commands: Vec<String>,
}

/// Opens the files of an image.
pub(super) async fn open(
    visit: &Visit,
    name: &RepositoryName,
    reference: &Identifier,
) -> Result<Opened, PageError> {
    let wanted = image::wanted(visit)?;
    let (name, reference) = (name.clone(), reference.clone());
    visit
        .blocking(move |pages| {
            let store = pages.store();
            let chosen = Chosen::read(store, &name, &reference, wanted.as_ref(), None)?;
            let Some((manifest, config)) = chosen.image() else {
                return Err(PageError::Missing(format!(
                    "{name} has no files under this name: it is no image"
                )));
            };
            let commands = image::commands(config);
            let files = pages.0.layers.files(store, &name, &manifest.layers)?;
            Ok(Opened {
                files,
                commands,
                chosen,
            })
        })
        .await
}

/// Which layer is shown, from 1, and the same from 0.
pub(super) fn layer(visit: &Visit, files: &Files) -> Result<Option<(usize, usize)>, PageError> {
    match visit.layer()? {
        None => Ok(None),
        Some(number) if number.get() <= files.tree.layer_count() => {
            Ok(Some((number.get(), number.get() - 1)))
        }
        Some(_) => Err(PageError::NotFound),
    }
}

pub(super) fn about(
    name: &RepositoryName,
    reference: &Identifier,
    opened: &Opened,
    path: &[u8],
    layer: Option<usize>,
) -> About {
    let shown = opened.chosen.named();
    let image = match reference {
        Identifier::Tag(tag) => format!("{name}:{tag}"),
        Identifier::Digest(digest) => format!("{name}@{}", show::short(digest)),
    };
    let mut crumbs = vec![Crumb {
        name: "/".to_owned(),
        link: link::files(name, reference, b"", shown, layer),
    }];
    let mut end = 0;
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        end += part.len() + usize::from(end > 0);
        crumbs.push(Crumb {
            name: show::name(part),
            link: link::files(name, reference, &path[..end], shown, layer),
        });
    }
    let command = |at: usize| opened.commands.get(at).cloned().unwrap_or_default();
    let choices = (1..=opened.files.tree.layer_count()).map(|number| Choice {
        number,
        link: link::files(
            name,
            reference,
            path_in(opened, path, number),
            shown,
            Some(number),
        ),
        command: command(number - 1),
        is_shown: layer == Some(number),
    });
    About {
        image,
        image_link: link::image(name, reference, shown),
        path: crumbs,
        all: link::files(name, reference, visible(opened, path), shown, None),
        layers: choices.collect(),
        layer,
    }
}

/// The path, if a container sees something there, else the root.
fn visible<'p>(opened: &Opened, path: &'p [u8]) -> &'p [u8] {
    let node = opened.files.tree.find(path);
    let is_there = node.is_some_and(|node| opened.files.merged.is_present(node));
    if is_there { path } else { b"" }
}

/// The path, if the layer has something there, else the root.
fn path_in<'p>(opened: &Opened, path: &'p [u8], layer: usize) -> &'p [u8] {
    let tree = &opened.files.tree;
    let node = tree.find(path);
    let is_there = node.is_some_and(|node| {
        tree.versions(node)
            .iter()
            .any(|version| version.layer + 1 == layer)
    });
    if is_there { path } else { b"" }
}

pub(crate) async fn page(
    visit: &Visit,
    name: RepositoryName,
    reference: Identifier,
    path: Vec<u8>,
) -> Result<Response, PageError> {
    let opened = open(visit, &name, &reference).await?;
    let layer = layer(visit, &opened.files)?;
    let files = Arc::clone(&opened.files);
    let tree = &files.tree;
    let shown = opened.chosen.named();
    let missing = || {
        let path = show::name(&path);
        PageError::Missing(match layer {
            None => format!("the image has no /{path}"),
            Some((number, _)) => format!("layer {number} changed nothing at /{path}"),
        })
    };
    let node = match layer {
        // The root is there without a layer.
        None if path.is_empty() => Node::ROOT,
        None => {
            let (node, real) = files.follow(&path).ok_or_else(missing)?;
            if real != path {
                return Ok(respond::to(&link::files(&name, &reference, &real, shown, None)));
            }
            node
        }
        Some(_) => tree.find(&path).ok_or_else(missing)?,
    };
    let changes = layer.map(|(number, at)| tree.compare(at, number));
    let state = changes.as_ref().unwrap_or(&files.merged);
    let number = layer.map(|(number, _)| number);
    let version = state.version(tree, node).cloned();
    if version.is_none() && node != Node::ROOT {
        return Err(missing());
    }
    if changes
        .as_ref()
        .is_some_and(|changes| !changes.is_touched(node) && node != Node::ROOT)
    {
        return Err(missing());
    }
    let about = about(&name, &reference, &opened, &path, number);
    if let Some(version) = version.as_ref().filter(|version| !version.kind.is_dir()) {
        let removed = state.change(node) == Some(Change::Removed);
        return file::page(visit, &name, &reference, &opened, about, &path, version, removed).await;
    }
    let place = Place {
        name: &name,
        reference: &reference,
        shown,
        layer: number,
        state,
        tree,
        changes: changes.as_ref(),
    };
    let after = visit.query.text("from").parse::<usize>().unwrap_or(0);
    let inside: Vec<Node> = listed(&place, node);
    let total = inside.len();
    let rows: Vec<Row> = inside
        .iter()
        .skip(after)
        .take(ROWS)
        .filter_map(|node| place.row(*node))
        .collect();
    let here = link::files(&name, &reference, &path, shown, number);
    let sign = if here.contains('?') { '&' } else { '?' };
    let next = (total > after.saturating_add(ROWS)).then(|| format!("{here}{sign}from={}", after + ROWS));
    let did = layer.and_then(|(_, at)| {
        let sum = tree.layer_sums().get(at).copied()?;
        Some(Did {
            added: Count(sum.added),
            changed: Count(sum.changed),
            removed: Count(sum.removed),
            bytes: Size(sum.bytes),
        })
    });
    let title = match path.is_empty() {
        true => format!("Files of {}", about.image),
        false => format!("/{} of {}", show::name(&path), about.image),
    };
    let frame = frame(visit, &name, &about, &title);
    respond::html(&Page {
        frame,
        about,
        rows,
        total: (total > ROWS).then_some(Count(total as u64)),
        next,
        did,
    })
}

pub(super) fn frame<'a>(visit: &'a Visit, name: &RepositoryName, about: &About, title: &str) -> Frame<'a> {
    Frame::new(visit, title)
        .below("Repositories", "/")
        .below(name.as_str(), link::repository(name))
        .below(&*about.image, &*about.image_link)
}

/// What is in a directory: directories first, as people look for them.
fn listed(place: &Place<'_>, node: Node) -> Vec<Node> {
    let inside = place.tree.children(node).filter(|child| match place.changes {
        None => place.state.is_present(*child),
        Some(changes) => changes.is_touched(*child),
    });
    let mut inside: Vec<Node> = inside.collect();
    let is_dir = |node: &Node| {
        place
            .state
            .version(place.tree, *node)
            .is_some_and(|version| version.kind.is_dir())
    };
    inside.sort_by_key(|node| !is_dir(node));
    inside
}

/// Where rows of a listing are.
struct Place<'a> {
    name: &'a RepositoryName,
    reference: &'a Identifier,
    shown: Option<&'a Digest>,
    layer: Option<usize>,
    state: &'a Comparison,
    tree: &'a Tree,
    changes: Option<&'a Comparison>,
}

impl Place<'_> {
    fn row(&self, node: Node) -> Option<Row> {
        let version: &Version = self.state.version(self.tree, node)?;
        let path = self.tree.path(node);
        let removed = self.state.change(node) == Some(Change::Removed);
        Some(Row {
            name: show::name(self.tree.name(node)),
            link: link::files(self.name, self.reference, &path, self.shown, self.layer),
            kind: kind(&version.kind),
            is_dir: version.kind.is_dir(),
            target: match &version.kind {
                Kind::Link { target } => Some(show::name(target)),
                _ => None,
            },
            size: match version.kind {
                _ if removed => None,
                Kind::Directory { .. } | Kind::File => Some(Size(self.state.size(node))),
                _ => None,
            },
            permissions: permissions(&version.kind, version.mode),
            owner: format!("{}:{}", version.uid, version.gid),
            modified: (version.mtime != 0).then(|| Moment::of_seconds(version.mtime)),
            layer: version.layer + 1,
            change: match self.changes.and_then(|changes| changes.change(node)) {
                Some(Change::Added) => "added",
                Some(Change::Changed) => "replaced",
                Some(Change::Removed) => "removed",
                _ => "",
            },
        })
    }
}

/// What something is called.
pub(super) fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory { .. } => "directory",
        Kind::File => "file",
        Kind::Link { .. } => "symbolic link",
        Kind::Char { .. } => "character device",
        Kind::Block { .. } => "block device",
        Kind::Fifo => "named pipe",
        Kind::Socket => "socket",
        Kind::Removed => "removed",
    }
}
