//! `image files`.

use havre_explore::{Entry, Kind, permissions, shown};

use crate::args::image::files::Files;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{size, time};
use crate::image_files::{self, Lines};
use crate::session::Session;
use crate::template::Value;

const LAYOUT: Layout = Layout {
    table: "{{.Mode}}\t{{.Owner}}\t{{.Size}}\t{{.Modified}}\t{{.Name}}",
    quiet: "Path",
    headers: &[
        ("Mode", "MODE"),
        ("Owner", "OWNER"),
        ("Size", "SIZE"),
        ("Modified", "MODIFIED"),
        ("Name", "NAME"),
        ("Path", "PATH"),
        ("Type", "TYPE"),
        ("Target", "TARGET"),
        ("Layer", "LAYER"),
    ],
};

/// The number of a layer, which the command line takes as any whole number.
pub(crate) fn layer_number(layer: Option<i64>) -> Result<Option<usize>, CliError> {
    let number = |layer| {
        usize::try_from(layer)
            .map_err(|_| CliError::Invalid(format!("--layer {layer}: layers count from 0, the lowest")))
    };
    layer.map(number).transpose()
}

/// `havre image files`.
pub(crate) async fn files(session: &Session, args: Files) -> Done {
    let layer = layer_number(args.layer)?;
    let (image, paths) = image_files::operands(&args.operands, &args.at)?;
    let path = match paths.as_slice() {
        [] => "/",
        [path] => path,
        _ => {
            return Err(CliError::Invalid(format!(
                "{} names a path already",
                args.operands[0]
            )));
        }
    };
    let call = image.call(session, "files", layer)?;
    let call = call.query("path", path).query_if("recursive", args.recursive);
    let mut lines = Lines::ask(call).await.map_err(image_files::explained)?;
    let mut list = LAYOUT.list(args.format.as_deref(), args.quiet)?;
    let mut first = true;
    let mut directory = None;
    while let Some((entry, layer)) = lines.next_entry().await? {
        // The first is what was asked for: a directory is shown by what is in it.
        if std::mem::take(&mut first) && entry.kind.is_dir() {
            directory = Some(entry.path.len());
            continue;
        }
        list.add(&row(&entry, layer, directory.unwrap_or(0), args.human));
    }
    session.printer.out(&list.finish()?);
    Ok(ExitStatus::SUCCESS)
}

fn row(entry: &Entry, layer: usize, strip: usize, human: bool) -> Value {
    let removed = entry.kind == Kind::Removed;
    let path = format!("/{}", shown(&entry.path));
    let inside = &entry.path[strip.min(entry.path.len())..];
    let mut name = shown(inside.strip_prefix(b"/").unwrap_or(inside));
    let target = match &entry.kind {
        Kind::Link { target } => shown(target),
        _ => String::new(),
    };
    if !target.is_empty() {
        name = format!("{name} -> {target}");
    }
    let size = match &entry.kind {
        Kind::Char { major, minor } | Kind::Block { major, minor } => format!("{major}, {minor}"),
        Kind::File if human => size::short(i64::try_from(entry.size).unwrap_or(i64::MAX)),
        Kind::File => entry.size.to_string(),
        _ => String::new(),
    };
    let unless_removed = |text: String| if removed { String::new() } else { text };
    Value::row(
        vec![
            ("Mode", permissions(&entry.kind, entry.mode).into()),
            (
                "Owner",
                unless_removed(format!("{}:{}", entry.uid, entry.gid)).into(),
            ),
            ("Size", size.into()),
            ("Modified", unless_removed(time::rfc3339(entry.mtime)).into()),
            ("Name", name.into()),
            ("Path", path.into()),
            ("Type", entry.kind.name().into()),
            ("Target", target.into()),
            ("Layer", layer.to_string().as_str().into()),
        ],
        Default::default(),
    )
}
