//! The house as it was drawn: which crate may use which, where the blocking core ends, and where `unsafe` may stand.

use std::{collections::BTreeSet, path::Path};

use fs_err as fs;

use crate::{Outcome, metadata::Metadata};

/// Each crate of the house and the siblings it may use. Everybody may use `oci`.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "havre",
        &[
            "havre-api",
            "havre-engine",
            "havre-build",
            "havre-dockerfile",
            "havre-explore",
            "havre-hub",
            "havre-lint",
            "havre-registry-events",
            "havre-registry-server",
            "havre-registry-store",
            "havre-runtime",
            "havre-sys",
        ],
    ),
    ("havre-api", &["havre-engine", "havre-sys", "havre-tls"]),
    (
        "havre-engine",
        &[
            "havre-build",
            "havre-dns",
            "havre-image",
            "havre-network",
            "havre-registry-client",
            "havre-runtime",
            "havre-store",
            "havre-sys",
        ],
    ),
    (
        "havre-build",
        &["havre-dockerfile", "havre-image", "havre-store", "havre-sys"],
    ),
    ("havre-image", &["havre-registry-client", "havre-store"]),
    ("havre-registry-client", &[]),
    (
        "havre-registry-server",
        &[
            "havre-hub",
            "havre-bucket",
            "havre-database",
            "havre-postgres",
            "havre-registry-cache",
            "havre-registry-client",
            "havre-registry-events",
            "havre-registry-store",
            "havre-registry-token",
            "havre-registry-ui",
            "havre-tls",
        ],
    ),
    (
        "havre-registry-cache",
        &["havre-registry-client", "havre-registry-store"],
    ),
    (
        "havre-registry-ui",
        &[
            "havre-explore",
            "havre-hub",
            "havre-registry-cache",
            "havre-registry-store",
        ],
    ),
    (
        "havre-hub",
        &["havre-database", "havre-registry-store", "havre-registry-token"],
    ),
    ("havre-registry-token", &[]),
    ("havre-registry-store", &["havre-database"]),
    ("havre-bucket", &["havre-registry-store"]),
    ("havre-postgres", &["havre-database"]),
    ("havre-registry-events", &["havre-database"]),
    ("havre-database", &[]),
    ("havre-runtime", &["havre-dns", "havre-sys"]),
    ("havre-network", &["havre-sys"]),
    ("havre-store", &["havre-erofs", "havre-sys"]),
    ("havre-erofs", &[]),
    ("havre-lint", &["havre-dockerfile", "havre-explore"]),
    ("havre-dockerfile", &[]),
    ("havre-explore", &[]),
    ("havre-dns", &[]),
    ("havre-sys", &[]),
    ("havre-tls", &[]),
    ("havre-oci", &[]),
];

/// Crates with no async runtime beneath them.
const BLOCKING: &[&str] = &[
    "havre-registry-events",
    "havre-database",
    "havre-dns",
    "havre-dockerfile",
    "havre-erofs",
    "havre-explore",
    "havre-hub",
    "havre-lint",
    "havre-oci",
    "havre-sys",
    "havre-registry-store",
    "havre-registry-token",
    "havre-store",
    "havre-runtime",
    "havre-network",
];

/// The one crate that may say `unsafe`.
const HOME_OF_UNSAFE: &str = "crates/sys";

pub(crate) fn check() -> Outcome {
    let mut problems = Vec::new();
    let metadata = Metadata::load()?;
    let house: Vec<_> = metadata
        .packages
        .iter()
        .filter(|p| metadata.workspace_members.contains(&p.id))
        .collect();
    for package in &house {
        if package.name == "xtask" || package.name == "havre-testing" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            problems.push(format!("{}: a crate without a place in the graph", package.name));
            continue;
        };
        for used in metadata.normal_dependencies(&package.id) {
            let sibling = metadata.workspace_members.contains(&used.id);
            if sibling && used.name != "havre-oci" && !allowed.contains(&used.name.as_str()) {
                problems.push(format!("{} may not use {}", package.name, used.name));
            }
        }
        if BLOCKING.contains(&package.name.as_str())
            && let Some(path) = way_to(&metadata, &package.id, "tokio")
        {
            problems.push(format!("{} is blocking, yet reaches tokio: {path}", package.name));
        }
    }
    find_unsafe(Path::new("crates"), &mut problems)?;
    if problems.is_empty() {
        println!("crate graph: {} crates as drawn", house.len());
        return Ok(());
    }
    Err(problems.join("\n").into())
}

/// The first chain of normal dependencies from `from` to a package called `name`.
fn way_to(metadata: &Metadata, from: &str, name: &str) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![(from.to_owned(), String::new())];
    while let Some((id, path)) = open.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        for used in metadata.normal_dependencies(&id) {
            let path = format!("{path} → {}", used.name);
            if used.name == name {
                return Some(path);
            }
            open.push((used.id.clone(), path));
        }
    }
    None
}

/// The lint denies `unsafe`; this refuses the attribute that would switch the lint off elsewhere.
fn find_unsafe(folder: &Path, problems: &mut Vec<String>) -> Outcome {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.starts_with(HOME_OF_UNSAFE) {
            continue;
        }
        if path.is_dir() {
            find_unsafe(&path, problems)?;
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path)?.contains("allow(unsafe_code")
        {
            problems.push(format!(
                "{}: unsafe belongs into {HOME_OF_UNSAFE}",
                path.display()
            ));
        }
    }
    Ok(())
}
