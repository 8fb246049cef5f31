//! `image diff`: two images side by side.

use havre_explore::Trust;

use crate::args::image::diff::{Diff, DiffFlags};
use crate::args::image::remote::RemoteFlags;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::explore::{self, Changed, Compared, FileChange, FileOf, LayerRow, Parts};
use crate::format::size;
use crate::format::table::align_by;
use crate::image_files::{Image, is_remote};
use crate::session::Session;

/// `havre image diff`.
pub(crate) async fn diff(session: &Session, args: Diff) -> Done {
    compare(session, &args.operands, &args.flags).await
}

/// `havre diff` with two images.
pub(crate) async fn compare(session: &Session, operands: &[String], flags: &DiffFlags) -> Done {
    let [old, new] = operands else {
        return Ok(ExitStatus::FAILURE);
    };
    let json = match flags.format.as_deref() {
        None | Some("" | "table") => false,
        Some("json") => true,
        Some(other) => {
            return Err(CliError::Invalid(format!(
                "--format {other:?}: expected 'table' or 'json'"
            )));
        }
    };
    let some = flags.layers || flags.config || flags.packages || flags.files;
    let parts = Parts {
        layers: flags.layers || !some,
        config: flags.config || !some,
        packages: flags.packages || !some,
        files: flags.files || !some,
    };
    let trust = match flags.quick {
        true => Trust::Times,
        false => Trust::Contents,
    };
    let at = &flags.at;
    if !at.registry.remote
        && (at.registry.insecure || at.platform.is_some())
        && ![old, new].iter().any(|name| is_remote(name))
    {
        Image::new(old, at)?;
    }
    // What is meant for registries is not said of the other image.
    let of = |name: &String| match at.registry.remote || is_remote(name) {
        true => at.clone(),
        false => RemoteFlags::default(),
    };
    let old = explore::open(session, old, &of(old)).await?;
    let new = explore::open(session, new, &of(new)).await?;
    let compared = explore::compare(session, &old, &new, parts, trust).await?;
    if json {
        let text = serde_json::to_string(&compared).map_err(|error| CliError::Invalid(error.to_string()))?;
        session.printer.line(&text);
    } else {
        session.printer.out(&table(&compared));
    }
    Ok(ExitStatus::SUCCESS)
}

fn human(bytes: u64) -> String {
    size::short(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// A section: what it says, and its rows.
fn section(title: &str, rows: &str) -> String {
    format!("{title}\n{}", align_by(rows, 3, 2))
}

fn table(compared: &Compared) -> String {
    let mut sections = Vec::new();
    if let Some(layers) = &compared.layers {
        let sum = |rows: &[LayerRow]| {
            format!(
                "{} ({})",
                rows.len(),
                human(rows.iter().map(|row| row.size).sum())
            )
        };
        let title = format!(
            "Layers: {} shared, {} only in {}, {} only in {}",
            sum(&layers.shared),
            sum(&layers.old),
            compared.old.name,
            sum(&layers.new),
            compared.new.name
        );
        let row = |letter: char, row: &LayerRow| format!("{letter}\t{}\t{}\n", human(row.size), row.command);
        let old = layers.old.iter().map(|layer| row('D', layer));
        let rows: String = old
            .chain(layers.new.iter().map(|layer| row('A', layer)))
            .collect();
        sections.push(section(&title, &rows));
    }
    if let Some(config) = &compared.config {
        sections.push(section(&counted("Configuration", config), &settings(config)));
    }
    if let Some(packages) = &compared.packages {
        sections.push(section(&counted("Packages", packages), &settings(packages)));
    }
    if let Some(files) = &compared.files {
        let bytes = |change: &str| {
            let of = |file: &FileChange| match change {
                "removed" => file.old.as_ref().map_or(0, |old| old.size),
                _ => file.new.as_ref().map_or(0, |new| new.size),
            };
            let of_kind: Vec<u64> = files
                .iter()
                .filter(|file| file.change == change)
                .map(of)
                .collect();
            format!("{} {change} ({})", of_kind.len(), human(of_kind.iter().sum()))
        };
        let title = match files.is_empty() {
            true => "Files: the same".to_owned(),
            false => format!(
                "Files: {}, {}, {}",
                bytes("added"),
                bytes("removed"),
                bytes("changed")
            ),
        };
        let rows: String = files.iter().map(file_row).collect();
        sections.push(section(&title, &rows));
    }
    sections.join("\n")
}

fn counted(title: &str, rows: &[Changed]) -> String {
    if rows.is_empty() {
        return format!("{title}: the same");
    }
    let count = |wanted: char| rows.iter().filter(|row| letter(row) == wanted).count();
    format!(
        "{title}: {} added, {} removed, {} changed",
        count('A'),
        count('D'),
        count('C')
    )
}

fn letter(row: &Changed) -> char {
    match (&row.old, &row.new) {
        (None, _) => 'A',
        (_, None) => 'D',
        _ => 'C',
    }
}

fn settings(rows: &[Changed]) -> String {
    let row = |row: &Changed| {
        let value = match (&row.old, &row.new) {
            (Some(old), Some(new)) => format!("{old} -> {new}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => String::new(),
        };
        let name = row
            .manager
            .map_or_else(|| row.name.clone(), |manager| format!("{manager} {}", row.name));
        format!("{}\t{name}\t{value}\n", letter(row))
    };
    rows.iter().map(row).collect()
}

fn file_row(file: &FileChange) -> String {
    let sized = |one: &FileOf| {
        if one.kind == "file" {
            human(one.size)
        } else {
            one.kind.to_owned()
        }
    };
    match (&file.old, &file.new) {
        (None, Some(new)) => format!("A\t{}\t{}\n", sized(new), file.path),
        (Some(old), None) => format!("D\t{}\t{}\n", sized(old), file.path),
        (Some(old), Some(new)) => {
            let mut what = Vec::new();
            for (name, was, is) in [
                ("type", old.kind, new.kind),
                ("mode", &old.mode, &new.mode),
                ("owner", &old.owner, &new.owner),
                ("target", &old.target, &new.target),
            ] {
                if was != is {
                    what.push(format!("{name} {was} -> {is}"));
                }
            }
            if file.contents && old.size == new.size {
                what.push("other contents".to_owned());
            }
            let size = match old.size == new.size || old.kind != "file" || new.kind != "file" {
                true => sized(new),
                false => format!("{} -> {}", human(old.size), human(new.size)),
            };
            let what = if what.is_empty() {
                String::new()
            } else {
                format!(" ({})", what.join(", "))
            };
            format!("C\t{size}\t{}{what}\n", file.path)
        }
        (None, None) => String::new(),
    }
}
