use std::collections::HashMap;

use havre_explore::{Entry, Kind, Tree};
use havre_oci::{Healthcheck, RunConfig};

use super::*;
use crate::Place;

fn file(path: &str, size: u64, mode: u32) -> Entry {
    Entry {
        path: path.into(),
        kind: Kind::File,
        size,
        mode,
        uid: 0,
        gid: 0,
        mtime: 0,
        inode: 0,
    }
}

fn gone(path: &str) -> Entry {
    Entry {
        kind: Kind::Removed,
        ..file(path, 0, 0)
    }
}

struct Given {
    tags: Vec<String>,
    config: RunConfig,
    history: Vec<String>,
    tree: Tree,
    contents: HashMap<(usize, Vec<u8>), Vec<u8>>,
    moved: Vec<String>,
    committed: bool,
}

impl Given {
    fn layers(layers: &[&[Entry]]) -> Self {
        let mut tree = Tree::new();
        for layer in layers {
            tree.begin_layer();
            layer.iter().cloned().for_each(|entry| tree.add(entry));
        }
        let mut config = RunConfig {
            user: "app".to_owned(),
            ..RunConfig::default()
        };
        config
            .labels
            .insert("org.opencontainers.image.source".to_owned(), "x".to_owned());
        Self {
            tags: Vec::new(),
            config,
            history: Vec::new(),
            tree,
            contents: HashMap::new(),
            moved: Vec::new(),
            committed: false,
        }
    }

    fn with(mut self, layer: usize, path: &str, text: &str) -> Self {
        self.contents.insert((layer, path.into()), text.into());
        self
    }

    fn found(&self) -> Vec<Finding> {
        check(&Image {
            tags: &self.tags,
            config: &self.config,
            history: &self.history,
            tree: &self.tree,
            contents: &self.contents,
            moved: &self.moved,
            committed: self.committed,
        })
    }

    fn rules(&self) -> Vec<&'static str> {
        self.found().iter().map(|finding| finding.rule.name).collect()
    }
}

#[test]
fn nothing_to_say_of_a_good_image() {
    let mut given = Given::layers(&[&[file("bin/app", 1000, 0o755)]]);
    given.tags = vec!["registry.example.com/team/app:1.0.0".to_owned()];
    assert_eq!(given.found(), []);
}

#[test]
fn names_and_settings() {
    let mut given = Given::layers(&[]);
    given.tags = vec!["app:latest".to_owned()];
    given.config.user = "0:0".to_owned();
    given.config.labels.clear();
    given.config.env = vec!["DB_PASSWORD=hunter2".to_owned(), "PATH=/bin".to_owned()];
    given
        .config
        .exposed_ports
        .insert("80/tcp".to_owned(), Default::default());
    given.history = vec![
        "|1 API_TOKEN=hunter3 /bin/sh -c make".to_owned(),
        "RUN git clone https://me:hunter22@host/x".to_owned(),
    ];
    given.moved = vec!["app:1.0".to_owned()];
    given.committed = true;
    let found = given.found();
    let mut names: Vec<_> = found.iter().map(|finding| finding.rule.name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "committed",
            "healthcheck-missing",
            "image-name",
            "labels-missing",
            "latest-only",
            "root-user",
            "secret-in-text",
            "secrets-used-in-arg-or-env",
            "secrets-used-in-arg-or-env",
            "version-tag-moved",
        ]
    );
    assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
    given.config.healthcheck = Some(Healthcheck::default());
    given.tags.push("app:1.0".to_owned());
    assert!(!given.rules().contains(&"latest-only") && !given.rules().contains(&"healthcheck-missing"));
}

#[test]
fn bytes_that_are_there_in_vain() {
    let big = 5_000_000;
    let given = Given::layers(&[
        &[
            file("tmp/big", big, 0o644),
            file("srv/data", big, 0o644),
            file("var/lib/apt/lists/x", big, 0o644),
        ],
        &[gone("tmp/big"), file("srv/data", big, 0o600)],
        &[file("opt/huge", 600_000_000, 0o644), file("small", 10, 0o644)],
        &[gone("small")],
    ]);
    let found: Vec<_> = given
        .found()
        .into_iter()
        .map(|finding| (finding.rule.name, finding.place, finding.bytes))
        .collect();
    let in_file = |layer, path: &str| Place::File {
        layer,
        path: path.into(),
    };
    assert_eq!(
        found,
        [
            ("large-layer", Place::Layer(2), Some(600_000_010)),
            ("overwritten-later", in_file(0, "srv/data"), Some(big)),
            ("deleted-later", in_file(0, "tmp/big"), Some(big)),
            ("cache-left", in_file(0, "var/lib/apt/lists"), Some(big)),
        ]
    );
}

#[test]
fn rights() {
    let mut sticky = file("tmp", 0, 0o1777);
    sticky.kind = Kind::Directory { opaque: false };
    let given = Given::layers(&[&[
        file("usr/bin/su", 1, 0o4755),
        file("srv/open", 1, 0o666),
        file("usr/lib/group", 1, 0o2644),
        sticky,
    ]]);
    let found = given.found();
    let said: Vec<_> = found.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "1 program with the rights of owner or group: /usr/bin/su",
            "1 path everybody may write to: /srv/open"
        ]
    );
}

#[test]
fn secrets_in_files_also_where_they_are_deleted() {
    let key = format!(
        "-----BEGIN {} KEY-----\n{}\n-----END",
        "OPENSSH PRIVATE",
        "b3BlbnNzaC1rZXkt".repeat(4)
    );
    let given = Given::layers(&[
        &[
            file("root/.ssh/id_rsa", 100, 0o600),
            file("root/.npmrc", 10, 0o600),
            file("app/.env", 10, 0o600),
            file("etc/shadow", 10, 0o600),
        ],
        &[gone("root/.ssh/id_rsa"), file("app/settings.yml", 50, 0o644)],
    ]);
    let mut paths = wanted(&given.tree);
    paths.sort();
    let expected = [
        (0, "app/.env"),
        (0, "etc/shadow"),
        (0, "root/.npmrc"),
        (0, "root/.ssh/id_rsa"),
        (1, "app/settings.yml"),
    ];
    assert_eq!(
        paths,
        expected.map(|(layer, path)| (layer, path.as_bytes().to_vec()))
    );
    let given = given
        .with(0, "root/.ssh/id_rsa", &key)
        .with(0, "root/.npmrc", "registry=https://r/\n")
        .with(0, "app/.env", "# x\nexport DB_PASSWORD=hunter2\n")
        .with(0, "etc/shadow", "root:*:1::::::\nme::1::::::\n")
        .with(1, "app/settings.yml", "url: postgres://me:hunter22@db/x\n");
    let found = given.found();
    let rows: Vec<_> = found
        .iter()
        .map(|finding| match &finding.place {
            Place::File { layer, path } => (
                finding.rule.name,
                *layer,
                String::from_utf8_lossy(path).into_owned(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    let row = |rule, layer, path: &str| (rule, layer, path.to_owned());
    assert_eq!(
        rows,
        [
            row("secret-file", 0, "app/.env"),
            row("empty-password", 0, "etc/shadow"),
            row("secret-file", 0, "root/.ssh/id_rsa"),
            row("secret-file", 1, "app/settings.yml"),
        ]
    );
    assert!(
        found[2].message.contains("a later layer deletes"),
        "{}",
        found[2].message
    );
    assert!(!format!("{found:?}").contains("hunter"));
}
