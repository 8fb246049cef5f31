//! The files in the layers.

use std::collections::{BTreeMap, HashSet};

use havre_explore::{Kind, Node, Tree, Version, shown};

use super::{Image, human};
use crate::finding::{Finding, Place};
use crate::rule;
use crate::secrets::{self, file_kind};

/// So much of a file is read.
pub const LARGEST_READ: u64 = 256 << 10;
/// So many files are read.
const MOST_READ: usize = 2000;
/// What is smaller is not worth a word.
const WORTH: u64 = 1_000_000;
/// More than this is a large layer.
const LARGE: u64 = 500_000_000;
/// So many files are named; of the others the number.
const NAMED: usize = 5;
const MOST_ROWS: usize = 10;

/// Caches: where they are, and what leaves them out.
const CACHES: [(&str, &str, &str); 13] = [
    (
        "var/lib/apt/lists",
        "the package lists of apt",
        "&& rm -rf /var/lib/apt/lists/* in the same RUN",
    ),
    (
        "var/cache/apt",
        "the package cache of apt",
        "&& apt-get clean in the same RUN",
    ),
    ("var/cache/apk", "the package cache of apk", "apk add --no-cache"),
    (
        "var/cache/dnf",
        "the package cache of dnf",
        "&& dnf clean all in the same RUN",
    ),
    (
        "var/cache/yum",
        "the package cache of yum",
        "&& yum clean all in the same RUN",
    ),
    (
        "var/cache/zypp",
        "the package cache of zypper",
        "&& zypper clean --all in the same RUN",
    ),
    (
        "root/.cache/pip",
        "the cache of pip",
        "pip install --no-cache-dir",
    ),
    (
        "root/.npm/_cacache",
        "the cache of npm",
        "&& npm cache clean --force in the same RUN",
    ),
    (
        "usr/local/share/.cache",
        "the cache of yarn",
        "&& yarn cache clean in the same RUN",
    ),
    (
        "root/.cache/go-build",
        "the build cache of go",
        "RUN --mount=type=cache,target=/root/.cache/go-build …, or build in a stage of its own",
    ),
    (
        "go/pkg/mod/cache",
        "the module cache of go",
        "RUN --mount=type=cache,target=/go/pkg/mod …, or build in a stage of its own",
    ),
    (
        "usr/local/cargo/registry",
        "the registry cache of cargo",
        "RUN --mount=type=cache,target=/usr/local/cargo/registry …, or build in a stage of its own",
    ),
    (
        "root/.cargo/registry",
        "the registry cache of cargo",
        "RUN --mount=type=cache,target=/root/.cargo/registry …, or build in a stage of its own",
    ),
];

pub(super) fn check(image: &Image<'_>, findings: &mut Vec<Finding>) {
    let tree = image.tree;
    let sums = tree.layer_sums();
    for (layer, sum) in sums.iter().enumerate() {
        if sum.bytes > LARGE {
            findings.push(
                Finding::new(rule::LARGE_LAYER, Place::Layer(layer), format!("a layer of {}: every change of its step transfers it anew", human(sum.bytes)))
                    .fix("several steps, what seldom changes first; build in one stage and COPY --from it what is needed")
                    .bytes(sum.bytes),
            );
        }
    }
    let cached = caches(tree, findings);
    waste(tree, &cached, findings);
    rights(tree, findings);
    secret_files(image, findings);
}

/// Caches that are seen in the end, by the layer that stores them.
fn caches(tree: &Tree, findings: &mut Vec<Finding>) -> HashSet<Node> {
    let mut cached = HashSet::new();
    for (path, what, fix) in CACHES {
        let Some(root) = tree.find(path.as_bytes()) else {
            continue;
        };
        let mut bytes: BTreeMap<usize, u64> = BTreeMap::new();
        let mut waiting = vec![root];
        while let Some(node) = waiting.pop() {
            cached.insert(node);
            waiting.extend(tree.children(node));
            for version in tree.versions(node) {
                *bytes.entry(version.layer).or_default() += version.stored;
            }
        }
        for (layer, bytes) in bytes.into_iter().filter(|(_, bytes)| *bytes >= WORTH) {
            let place = Place::File {
                layer,
                path: path.into(),
            };
            findings.push(
                Finding::new(rule::CACHE_LEFT, place, format!("{what}: {}", human(bytes)))
                    .fix(fix)
                    .bytes(bytes),
            );
        }
    }
    cached
}

/// What lower layers store in vain.
fn waste(tree: &Tree, cached: &HashSet<Node>, findings: &mut Vec<Finding>) {
    let merged = tree.merged();
    let mut rows = 0;
    let mut rest = (0, 0);
    for row in tree
        .waste()
        .paths
        .iter()
        .filter(|row| row.hidden > 0 && !cached.contains(&row.node))
    {
        if row.hidden < WORTH || rows == MOST_ROWS {
            rest = (rest.0 + 1, rest.1 + row.hidden);
            continue;
        }
        rows += 1;
        let versions = tree.versions(row.node);
        let Some(layer) = stored_in(tree, row.node) else {
            continue;
        };
        let place = Place::File {
            layer,
            path: tree.path(row.node),
        };
        let there = merged.version(tree, row.node).is_some();
        let again = versions.iter().filter(|version| version.stored > 0).count();
        findings.push(if there && again > 1 {
            Finding::new(rule::OVERWRITTEN_LATER, place, format!("stored {again} times, {} of it in vain: a later layer changes it", human(row.hidden)))
                .fix("change it in the step that makes it (chmod and chown in COPY --chmod --chown), or havre image squash")
                .bytes(row.hidden)
        } else {
            Finding::new(rule::DELETED_LATER, place, format!("a later layer deletes it, and its {} stay", human(row.hidden)))
                .fix("delete it in the RUN that makes it, or build in a stage of its own, or havre image squash")
                .bytes(row.hidden)
        });
    }
    if rest.1 >= WORTH {
        findings.push(
            Finding::new(
                rule::OVERWRITTEN_LATER,
                Place::Image,
                format!(
                    "{} further paths that later layers delete or change: {}",
                    rest.0,
                    human(rest.1)
                ),
            )
            .fix("havre explore shows them all; havre image squash takes them out")
            .bytes(rest.1),
        );
    }
}

/// The first layer that stores the path, or what is in it.
fn stored_in(tree: &Tree, node: Node) -> Option<usize> {
    let brings = |version: &&Version| version.kind != Kind::Removed;
    tree.versions(node)
        .iter()
        .find(brings)
        .map(|version| version.layer)
}

/// Programs with the rights of their owner, and what everybody may write to, as it is in the end.
fn rights(tree: &Tree, findings: &mut Vec<Finding>) {
    let merged = tree.merged();
    let mut setuid: BTreeMap<usize, Vec<Node>> = BTreeMap::new();
    let mut writable: BTreeMap<usize, Vec<Node>> = BTreeMap::new();
    for node in tree.nodes() {
        let Some(version) = merged.version(tree, node) else {
            continue;
        };
        match version.kind {
            Kind::File if version.mode & 0o6000 != 0 && version.mode & 0o111 != 0 => {
                setuid.entry(version.layer).or_default().push(node);
            }
            Kind::File if version.mode & 0o002 != 0 => writable.entry(version.layer).or_default().push(node),
            // With the sticky bit, as /tmp has it, nobody takes another's away.
            Kind::Directory { .. } if version.mode & 0o1002 == 0o002 => {
                writable.entry(version.layer).or_default().push(node);
            }
            _ => {}
        }
    }
    for (layer, nodes) in setuid {
        findings.push(
            Finding::new(rule::SETUID, Place::Layer(layer), format!("{} with the rights of owner or group: {}", counted(nodes.len(), "program"), listed(tree, &nodes)))
                .fix("chmod a-s for those nobody needs; docker run --security-opt no-new-privileges makes all of them ordinary"),
        );
    }
    for (layer, nodes) in writable {
        findings.push(
            Finding::new(
                rule::WORLD_WRITABLE,
                Place::Layer(layer),
                format!(
                    "{} everybody may write to: {}",
                    counted(nodes.len(), "path"),
                    listed(tree, &nodes)
                ),
            )
            .fix("chmod o-w in the step that makes them, and chown for who has to write"),
        );
    }
}

fn counted(count: usize, word: &str) -> String {
    match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    }
}

fn listed(tree: &Tree, nodes: &[Node]) -> String {
    let mut paths: Vec<String> = nodes
        .iter()
        .map(|node| format!("/{}", shown(&tree.path(*node))))
        .collect();
    paths.sort();
    let more = paths.len().saturating_sub(NAMED);
    paths.truncate(NAMED);
    match more {
        0 => paths.join(", "),
        _ => format!("{} and {more} more", paths.join(", ")),
    }
}

/// Where packages keep what is theirs: examples, tests, certificates of others.
const OF_PACKAGES: [&str; 13] = [
    "usr/lib/",
    "usr/lib64/",
    "usr/share/",
    "usr/include/",
    "usr/bin/",
    "usr/sbin/",
    "lib/",
    "lib64/",
    "bin/",
    "sbin/",
    "var/lib/dpkg/",
    "var/cache/",
    "proc/",
];
const OF_LIBRARIES: [&str; 8] = [
    "/node_modules/",
    "/site-packages/",
    "/dist-packages/",
    "/vendor/",
    "/testdata/",
    "/tests/",
    "/test/",
    "/gems/",
];

/// Which files are worth reading: those whose name tells of secrets, and settings and keys outside of packages. Also where a
/// later layer has deleted them.
pub fn wanted(tree: &Tree) -> Vec<(usize, Vec<u8>)> {
    let mut by_name = Vec::new();
    let mut others = Vec::new();
    for node in tree.nodes() {
        let versions = tree.versions(node);
        if !versions
            .iter()
            .any(|version| version.kind == Kind::File && version.size > 0)
        {
            continue;
        }
        let bytes = tree.path(node);
        let Ok(path) = std::str::from_utf8(&bytes) else {
            continue;
        };
        let named = file_kind(path).is_some() || path == "etc/shadow";
        let settings = is_key(path) || (is_settings(path) && !of_package(path));
        if !named && (!settings || OF_LIBRARIES.iter().any(|part| path.contains(part))) {
            continue;
        }
        for version in versions
            .iter()
            .filter(|version| version.kind == Kind::File && version.size > 0)
        {
            if named {
                by_name.push((version.layer, bytes.clone()));
            } else if version.size <= LARGEST_READ {
                others.push((version.layer, bytes.clone()));
            }
        }
    }
    by_name.extend(others);
    by_name.truncate(MOST_READ);
    by_name
}

fn of_package(path: &str) -> bool {
    OF_PACKAGES.iter().any(|start| path.starts_with(start))
}

fn is_key(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let shared =
        path.starts_with("usr/share/") || path.starts_with("usr/lib/") || path.starts_with("etc/ssl/certs/");
    !shared
        && ([".pem", ".key"].iter().any(|end| lower.ends_with(end)) || path.starts_with("etc/ssh/ssh_host_"))
}

fn is_settings(path: &str) -> bool {
    const ENDINGS: [&str; 18] = [
        ".json",
        ".yml",
        ".yaml",
        ".toml",
        ".ini",
        ".cfg",
        ".conf",
        ".config",
        ".properties",
        ".env",
        ".sh",
        ".xml",
        ".py",
        ".js",
        ".ts",
        ".rb",
        ".php",
        ".tfvars",
    ];
    let name = path.rsplit('/').next().unwrap_or(path);
    ENDINGS.iter().any(|end| name.ends_with(end)) || name.starts_with('.') || path.contains("/.ssh/")
}

fn secret_files(image: &Image<'_>, findings: &mut Vec<Finding>) {
    let tree = image.tree;
    let merged = tree.merged();
    for (layer, path) in wanted(tree) {
        let Some(bytes) = image.contents.get(&(layer, path.clone())) else {
            continue;
        };
        let text = String::from_utf8_lossy(bytes);
        let Some(node) = tree.find(&path) else { continue };
        let name = String::from_utf8_lossy(&path).into_owned();
        let there = merged
            .version(tree, node)
            .is_some_and(|version| version.layer == layer);
        let place = Place::File { layer, path };
        if name == "etc/shadow" {
            if there {
                let open = text
                    .lines()
                    .filter_map(|line| line.split_once("::"))
                    .map(|(account, _)| account);
                findings.extend(open.filter(|account| !account.contains(':')).map(|account| {
                    Finding::new(
                        rule::EMPTY_PASSWORD,
                        place.clone(),
                        format!("{} has an empty password", shown(account.as_bytes())),
                    )
                    .fix(format!("RUN passwd --lock {}", shown(account.as_bytes())))
                }));
            }
            continue;
        }
        let found = secrets::find(&text);
        let what = match (found.first(), file_kind(&name)) {
            (Some(secret), _) => secret.kind.to_owned(),
            (None, Some(kind)) if tells(&name, &text) => kind.to_owned(),
            _ => continue,
        };
        let (message, fix) = match there {
            true => (
                what,
                "leave it out by .dockerignore, or mount it in the step that needs it: RUN --mount=type=bind,source=FILE,target=PATH …; and change it, for it is known now",
            ),
            false => (
                format!(
                    "{what}; a later layer deletes or replaces it, and still everybody who has the image can read it here"
                ),
                "mount it in the step that needs it: RUN --mount=type=bind,source=FILE,target=PATH …; and change it, for it is known now",
            ),
        };
        findings.push(Finding::new(rule::SECRET_FILE, place, message).fix(fix));
    }
}

/// Whether a file that may have secrets has any.
fn tells(path: &str, text: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let assigned = |line: &str| {
        let line = line.trim_start_matches("export ").trim();
        let Some((key, value)) = line.split_once('=') else {
            return false;
        };
        !line.starts_with('#')
            && secrets::is_secret_name(key.trim())
            && secrets::is_secret_value(key, value.trim())
    };
    match name {
        ".npmrc" | ".yarnrc.yml" => ["_authToken=", "_password=", "_auth=", "npmAuthToken:"]
            .iter()
            .any(|key| {
                text.split(key)
                    .skip(1)
                    .any(|rest| !rest.trim_start().is_empty() && !rest.trim_start().starts_with('$'))
            }),
        ".netrc" | "_netrc" | ".pypirc" => text.contains("password"),
        "config.json" | ".dockercfg" => text.contains("\"auth\"") || text.contains("identitytoken"),
        "credentials" | "credentials.toml" => {
            text.contains("aws_secret_access_key") || text.contains("token")
        }
        "config" => text.contains("client-key-data") || text.contains("token:"),
        _ if name.starts_with(".env") => text.lines().any(assigned),
        // Keys without the words that begin one are no keys, or have a passphrase of their own.
        "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" => text.contains("PRIVATE KEY"),
        _ => true,
    }
}
