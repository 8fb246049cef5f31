use super::*;

fn open(root: &Path) -> Volumes {
    Volumes::open(Arc::new(Store::open(root).expect("store")), Events::new()).expect("volumes")
}

fn named(name: &str) -> CreateVolume {
    CreateVolume {
        name: name.to_owned(),
        ..CreateVolume::default()
    }
}

#[tokio::test]
async fn a_volume_lives_through_a_restart_and_litter_does_not() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let data = volumes.create(named("data")).await.unwrap();
    fs::write(Path::new(&data.mountpoint).join("file"), "12345").unwrap();
    fs::create_dir_all(root.path().join("volumes/half/_data")).unwrap();
    drop(volumes);
    let volumes = open(root.path());
    assert_eq!(volumes.inspect("data").await.unwrap(), data);
    assert_eq!(volumes.usage()[0].size, 5);
    assert!(!root.path().join("volumes/half").exists());
}

#[tokio::test]
async fn used_volumes_stay() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    volumes.create(named("data")).await.unwrap();
    volumes.hold("data", "c0ffee");
    let error = volumes.remove("data", false, None).await.unwrap_err();
    assert_eq!(error.to_string(), "remove data: volume is in use - [c0ffee]");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    volumes.release("c0ffee");
    volumes.remove("data", false, None).await.unwrap();
    assert_eq!(
        volumes.remove("data", false, None).await.unwrap_err().to_string(),
        "get data: no such volume"
    );
    volumes.remove("data", true, None).await.unwrap();
    assert!(!root.path().join("volumes/data").exists());
}

#[tokio::test]
async fn prune_takes_anonymous_ones_unless_asked_for_all() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    volumes.create(named("kept")).await.unwrap();
    let anonymous = volumes.create(CreateVolume::default()).await.unwrap();
    assert!(anonymous.anonymous && anonymous.name.len() == 64);
    let pruned = volumes.prune(Filters::new(), None).await.unwrap();
    assert_eq!(pruned.names, [anonymous.name]);
    let pruned = volumes
        .prune(Filters::new().with("all", "1"), None)
        .await
        .unwrap();
    assert_eq!(pruned.names, ["kept"]);
}

#[tokio::test]
async fn bad_requests() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    for name in ["a", "../x", "a/b", "-ab", ".."] {
        assert_eq!(
            volumes.create(named(name)).await.unwrap_err().kind(),
            ErrorKind::InvalidParameter,
            "{name}"
        );
    }
    let driver = CreateVolume {
        driver: "nfs".into(),
        ..named("data")
    };
    assert_eq!(
        volumes.create(driver).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let options = CreateVolume {
        driver_options: [("type".into(), "tmpfs".into())].into(),
        ..named("data")
    };
    let error = volumes.create(options).await.unwrap_err();
    assert_eq!(
        (error.to_string(), error.kind()),
        (
            "create data: missing required option: \"device\"".to_owned(),
            ErrorKind::InvalidParameter
        )
    );
    assert!(!root.path().join("volumes/data").exists());
}

/// A volume that shows a directory of the host, with a file in it. Mounts: needs root.
async fn bound(volumes: &Volumes, host: &Path) -> Volume {
    fs::create_dir_all(host).unwrap();
    fs::write(host.join("precious"), "12345").unwrap();
    let options = [
        ("type", "none"),
        ("o", "bind"),
        ("device", host.to_str().unwrap()),
    ];
    let request = CreateVolume {
        driver_options: options
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..named("shown")
    };
    volumes.create(request).await.unwrap()
}

#[tokio::test]
async fn a_device_is_mounted_from_the_first_user_to_the_last() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(&root.path().join("store"));
    let volume = bound(&volumes, &root.path().join("host")).await;
    let seen = || Path::new(&volume.mountpoint).join("precious").exists();
    assert!(!seen());
    for container in ["a", "b", "b"] {
        volumes.mount("shown", container).unwrap();
        assert!(seen());
    }
    volumes.unmount_all("a");
    assert!(seen());
    // Unmounted by somebody else meanwhile.
    super::mounted::unmount(Path::new(&volume.mountpoint)).unwrap();
    volumes.mount("shown", "a").unwrap();
    assert!(seen());
    volumes.unmount_all("b");
    volumes.unmount_all("b");
    assert!(seen());
    volumes.unmount_all("a");
    assert!(!seen());
    assert_eq!(volumes.usage().len(), 0, "its bytes are not the store's");
    assert_eq!(volumes.size(&volume), 0);
}

#[tokio::test]
async fn nothing_is_deleted_through_a_mount() {
    let root = tempfile::tempdir().unwrap();
    let host = root.path().join("host");
    let volumes = open(&root.path().join("store"));
    let volume = bound(&volumes, &host).await;
    assert!(
        volumes
            .prunable(&Filters::new().with("all", "1"))
            .unwrap()
            .is_empty()
    );
    volumes.mount("shown", "a").unwrap();
    // As after the death of a daemon: mounted, and nobody knows for whom.
    drop(volumes);
    let volumes = open(&root.path().join("store"));
    let file = Path::new(&volume.mountpoint).join("precious");
    assert!(file.exists());
    volumes.remove("shown", false, None).await.unwrap();
    volumes.0.store.wait_for_trash();
    assert_eq!(fs::read_to_string(host.join("precious")).unwrap(), "12345");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_new_daemon_knows_what_is_mounted_for_whom() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(&root.path().join("store"));
    let volume = bound(&volumes, &root.path().join("host")).await;
    let seen = || Path::new(&volume.mountpoint).join("precious").exists();
    volumes.mount("shown", "a").unwrap();
    drop(volumes);
    let volumes = open(&root.path().join("store"));
    volumes.hold("shown", "a");
    volumes.hold("shown", "b");
    volumes.recover_mounts(|id| id == "a");
    assert!(seen());
    volumes.mount("shown", "b").unwrap();
    volumes.unmount_all("b");
    assert!(seen());
    volumes.recover_mounts(|_| false);
    assert!(!seen());
}

#[tokio::test]
async fn lists_are_filtered() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    volumes
        .create(CreateVolume {
            labels: [("tier".into(), "db".into())].into(),
            ..named("data")
        })
        .await
        .unwrap();
    volumes.create(named("logs")).await.unwrap();
    volumes.hold("logs", "c0ffee");
    let names = async |filters: Filters| -> Vec<String> {
        volumes
            .list(filters)
            .await
            .unwrap()
            .into_iter()
            .map(|volume| volume.name)
            .collect()
    };
    assert_eq!(names(Filters::new()).await, ["data", "logs"]);
    assert_eq!(names(Filters::new().with("dangling", "true")).await, ["data"]);
    assert_eq!(names(Filters::new().with("dangling", "false")).await, ["logs"]);
    assert_eq!(names(Filters::new().with("label", "tier=db")).await, ["data"]);
    assert_eq!(names(Filters::new().with("name", "og")).await, ["logs"]);
    assert!(volumes.list(Filters::new().with("size", "1")).await.is_err());
}
