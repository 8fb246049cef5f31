use std::sync::Arc;

use super::*;
use crate::containers::{BindOptions, TmpfsOptions, VolumeOptions};
use crate::{ErrorKind, Events};

struct World {
    volumes: Volumes,
    table: Table,
    /// Last: the store is closed before it goes.
    root: tempfile::TempDir,
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(havre_store::Store::open(&root.path().join("store")).unwrap());
    World {
        volumes: Volumes::open(store, Events::new()).unwrap(),
        table: Table::default(),
        root,
    }
}

impl World {
    fn resolve(&self, config: Config, host: HostConfig) -> Result<Vec<MountRecord>> {
        resolve("c0ffee", &config, &host, &self.table, &self.volumes)
    }

    fn binds(&self, binds: &[&str]) -> Result<Vec<MountRecord>> {
        let binds = binds.iter().map(|bind| (*bind).to_owned()).collect();
        self.resolve(
            Config::default(),
            HostConfig {
                binds,
                ..HostConfig::default()
            },
        )
    }

    fn mount(&self, mount: Mount) -> Result<Vec<MountRecord>> {
        self.resolve(
            Config::default(),
            HostConfig {
                mounts: vec![mount],
                ..HostConfig::default()
            },
        )
    }
}

#[test]
fn short_forms() {
    let world = world();
    let source = world.root.path().join("made").display().to_string();
    let mounts = world
        .binds(&[
            &format!("{source}:/b/../x:ro,rshared"),
            "data:/data:nocopy",
            "/anonymous",
        ])
        .unwrap();
    let [anonymous, data, bind] = mounts.as_slice() else {
        panic!("{mounts:?}")
    };
    assert!(anonymous.owned && anonymous.copy && anonymous.point.name.len() == 64);
    assert_eq!(
        (data.point.name.as_str(), data.copy, data.owned),
        ("data", false, false)
    );
    assert_eq!((bind.point.destination.as_str(), bind.point.rw), ("/x", false));
    assert_eq!(bind.point.propagation, "rshared");
    assert!(Path::new(&source).is_dir(), "a missing source is made");
    assert_eq!(world.volumes.inspect_users("data"), ["c0ffee"]);
}

#[test]
fn wrong_short_forms() {
    let world = world();
    for (bind, message) in [
        ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        (":/x", "invalid volume specification: ':/x'"),
        ("data:/x:", "invalid volume specification: 'data:/x:'"),
        ("data:relative", "mount path must be absolute"),
        ("data:/", "destination can't be '/'"),
        ("/a:/x:wo", "invalid mode: wo"),
        ("/a:/x:nocopy", "invalid mode: nocopy"),
        ("data:/x:rshared", "invalid mode: rshared"),
        ("./here:/x", "includes invalid characters for a local volume name"),
    ] {
        let error = world.binds(&[bind]).unwrap_err();
        assert!(error.to_string().contains(message), "{bind}: {error}");
        assert_eq!(error.kind(), ErrorKind::InvalidParameter, "{bind}");
    }
    let double = world.binds(&["one:/x", "two:/x/"]).unwrap_err();
    assert_eq!(double.to_string(), "Duplicate mount point: /x");
}

#[test]
fn long_forms() {
    let world = world();
    let missing = Mount {
        kind: MountKind::Bind,
        source: "/does/not/exist".into(),
        target: "/x".into(),
        ..Mount::default()
    };
    assert_eq!(
        world.mount(missing).unwrap_err().to_string(),
        "invalid mount config for type \"bind\": bind source path does not exist: /does/not/exist"
    );
    let tmpfs = Mount {
        kind: MountKind::Tmpfs,
        target: "/t".into(),
        read_only: true,
        tmpfs_options: Some(TmpfsOptions {
            size_bytes: 4096,
            mode: 0o700,
            options: vec![vec!["noexec".into()]],
        }),
        ..Mount::default()
    };
    let mounts = world.mount(tmpfs).unwrap();
    assert_eq!(mounts[0].tmpfs, ["size=4096", "mode=700", "noexec"]);
    assert!(!mounts[0].point.rw);
    let wrong_options = Mount {
        target: "/v".into(),
        bind_options: Some(BindOptions::default()),
        ..Mount::default()
    };
    assert!(
        world
            .mount(wrong_options)
            .unwrap_err()
            .to_string()
            .ends_with("field BindOptions must not be specified")
    );
    let part = |subpath: &str| Mount {
        target: "/v".into(),
        volume_options: Some(VolumeOptions {
            subpath: subpath.into(),
            ..VolumeOptions::default()
        }),
        ..Mount::default()
    };
    assert_eq!(world.mount(part("a/../b")).unwrap()[0].subpath, "a/../b");
    for outside in ["/a", "..", "a/../../b", "./.."] {
        assert_eq!(
            world.mount(part(outside)).unwrap_err().to_string(),
            "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
            "{outside}"
        );
    }
    let image = Mount {
        kind: MountKind::Image,
        target: "/i".into(),
        ..Mount::default()
    };
    assert!(world.mount(image).is_err());
}

#[test]
fn the_images_volumes_give_way() {
    let world = world();
    let config = Config {
        volumes: ["/data".into(), "/other/".into()].into(),
        ..Config::default()
    };
    let host = HostConfig {
        tmpfs: [("/data".to_owned(), "size=1m,rw".to_owned())].into(),
        ..HostConfig::default()
    };
    let mounts = world.resolve(config, host).unwrap();
    assert_eq!(mounts.len(), 2);
    assert_eq!(mounts[0].point.kind, MountKind::Tmpfs);
    assert_eq!(
        (mounts[1].point.kind, mounts[1].point.destination.as_str()),
        (MountKind::Volume, "/other")
    );
    let bad = HostConfig {
        tmpfs: [("/t".to_owned(), "bind".to_owned())].into(),
        ..HostConfig::default()
    };
    assert!(world.resolve(Config::default(), bad).is_err());
}

#[test]
fn paths_are_cleaned() {
    for (path, cleaned) in [
        ("/a//b/./c/../d/", "/a/b/d"),
        ("/..", "/"),
        ("a", "/a"),
        ("/../../x", "/x"),
    ] {
        assert_eq!(clean(path), cleaned);
    }
}
