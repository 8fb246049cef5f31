//! Manifests, indexes and configurations: real ones are read, wrong ones refused.

use havre_oci::{
    Descriptor, Document, DocumentError, ImageConfig, MAX_DOCUMENT_SIZE, Manifest, Platform, media_type,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(value: &Value, content_type: Option<&str>) -> Result<Document, DocumentError> {
    Document::parse(&serde_json::to_vec(value).expect("json"), content_type)
}

fn descriptor(media_type: &str, name: &str) -> Value {
    serde_json::to_value(Descriptor::of(media_type, name.as_bytes())).expect("json")
}

fn manifest(media_type: Option<&str>) -> Value {
    let mut value = json!({
        "schemaVersion": 2,
        "config": descriptor(media_type::OCI_CONFIG, "config"),
        "layers": [descriptor(media_type::OCI_LAYER_GZIP, "one"), descriptor(media_type::OCI_LAYER_ZSTD, "two")],
    });
    if let Some(media_type) = media_type {
        value["mediaType"] = media_type.into();
    }
    value
}

#[test]
fn the_media_type_inside_decides_then_the_header_then_the_fields() {
    for (inside, served, expected) in [
        (
            Some(media_type::DOCKER_MANIFEST),
            None,
            media_type::DOCKER_MANIFEST,
        ),
        (
            None,
            Some(media_type::DOCKER_MANIFEST),
            media_type::DOCKER_MANIFEST,
        ),
        (None, Some("application/json"), media_type::OCI_MANIFEST),
        (None, None, media_type::OCI_MANIFEST),
        (
            Some(media_type::OCI_MANIFEST),
            Some("text/plain; charset=utf-8"),
            media_type::OCI_MANIFEST,
        ),
        (
            Some(media_type::OCI_MANIFEST),
            Some("application/vnd.oci.image.manifest.v1+json; x=y"),
            media_type::OCI_MANIFEST,
        ),
    ] {
        let document = parse(&manifest(inside), served).unwrap();
        assert_eq!(document.media_type(), expected);
        let Document::Manifest(manifest) = document else {
            panic!("not a manifest")
        };
        assert_eq!(manifest.layers.len(), 2);
    }
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": null});
    assert!(matches!(parse(&index, None), Ok(Document::Index(index)) if index.manifests.is_empty()));
}

#[test]
fn indexes() {
    let mut entry = descriptor(media_type::OCI_MANIFEST, "m");
    entry["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8", "os.features": null});
    let index = json!({"schemaVersion": 2, "manifests": [entry], "annotations": null});
    let Document::Index(index) = parse(&index, None).unwrap() else {
        panic!("not an index")
    };
    assert_eq!(index.media_type, media_type::OCI_INDEX);
    assert!(Platform::new("linux", "arm64").select(&index).is_some());
    assert!(Platform::new("linux", "riscv64").select(&index).is_none());
}

#[test]
fn refusals() {
    let error = |value: Value, served| parse(&value, served).unwrap_err();
    assert!(matches!(error(json!([]), None), DocumentError::Json(_)));
    let schema1 = json!({"schemaVersion": 1, "name": "x", "fsLayers": []});
    let message = error(schema1, Some(media_type::DOCKER_SCHEMA1_SIGNED)).to_string();
    assert!(
        message.contains("manifest.v1+prettyjws\" is no longer supported"),
        "{message}"
    );
    assert!(matches!(
        error(json!({}), None),
        DocumentError::SchemaVersion { version: 0 }
    ));
    let mut both = manifest(None);
    both["manifests"] = json!([]);
    assert!(matches!(error(both, None), DocumentError::Ambiguous));
    let served = Some(media_type::OCI_INDEX);
    assert!(matches!(
        error(manifest(Some(media_type::OCI_MANIFEST)), served),
        DocumentError::MediaTypeMismatch { .. }
    ));
    assert!(matches!(
        error(manifest(Some("application/x")), None),
        DocumentError::MediaType { .. }
    ));

    let mut bad = manifest(None);
    for (field, value) in [
        ("digest", json!("sha256:xyz")),
        ("digest", json!("../../etc/passwd")),
        ("size", json!(-1)),
        ("size", json!("12")),
        ("size", json!(1.5)),
        ("size", json!(null)),
    ] {
        bad["layers"][0] = descriptor(media_type::OCI_LAYER, "l");
        bad["layers"][0][field] = value;
        assert!(
            matches!(error(bad.clone(), None), DocumentError::Json(_)),
            "{bad}"
        );
    }
    bad["layers"][0] = descriptor(media_type::OCI_LAYER, "l");
    bad["layers"][0]["size"] = json!(u64::MAX);
    assert!(matches!(error(bad, None), DocumentError::Size { .. }));

    let mut many = manifest(None);
    many["layers"] = json!(vec![descriptor(media_type::OCI_LAYER, "l"); 501]);
    assert!(matches!(
        error(many, None),
        DocumentError::TooManyLayers { count: 501 }
    ));

    let huge = vec![b' '; MAX_DOCUMENT_SIZE as usize + 1];
    assert!(matches!(
        Document::parse(&huge, None),
        Err(DocumentError::TooLarge { .. })
    ));
    let deep = "[".repeat(100_000);
    assert!(Document::parse(deep.as_bytes(), None).is_err());
}

#[test]
fn written_manifests_are_read_back() {
    let config = Descriptor::of(media_type::DOCKER_CONFIG, b"c");
    let written = Manifest::docker(config, vec![Descriptor::of(media_type::DOCKER_LAYER_GZIP, b"l")]);
    let document = Document::parse(&written.to_bytes(), Some(media_type::DOCKER_MANIFEST)).unwrap();
    assert_eq!(document, Document::Manifest(written));
}

#[test]
fn configurations_of_docker() {
    let id = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let value = json!({
        "architecture": "amd64", "os": "linux", "created": "2024-05-01T10:11:12.123456789Z",
        "author": null, "docker_version": "20.10.24", "container_config": {"Cmd": ["x"]},
        "config": {
            "Hostname": "", "AttachStdin": false, "User": "", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/bin"],
            "Cmd": ["bash"], "Entrypoint": null, "Volumes": null, "WorkingDir": "/srv", "Labels": null, "OnBuild": null,
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30000000000u64, "Retries": 3}, "Shell": ["/bin/sh", "-c"],
        },
        "history": [{"created": "2024-05-01T10:11:12+02:00", "created_by": "/bin/sh -c #(nop) ADD", "empty_layer": true}],
        "rootfs": {"type": "layers", "diff_ids": [id]},
    });
    let config = ImageConfig::parse(&serde_json::to_vec(&value).unwrap()).unwrap();
    assert_eq!(config.platform(), Platform::new("linux", "amd64"));
    assert_eq!(config.config.cmd.as_deref(), Some(&["bash".to_owned()][..]));
    assert_eq!(config.config.entrypoint, None);
    assert_eq!(
        config.config.healthcheck.as_ref().unwrap().interval,
        30_000_000_000
    );
    assert_eq!(config.config.exposed_ports.keys().collect::<Vec<_>>(), ["80/tcp"]);
    assert!(config.history[0].empty_layer);
    assert_eq!(config.rootfs.diff_ids[0].as_str(), id);
    assert_eq!(config.other["docker_version"], "20.10.24");
    assert!(config.config.other.contains_key("Hostname"));
    let again: Value = serde_json::from_slice(&config.to_bytes()).unwrap();
    assert_eq!(again["container_config"]["Cmd"][0], "x");
    assert_eq!(again["config"]["AttachStdin"], false);
    assert_eq!(ImageConfig::parse(&config.to_bytes()).unwrap(), config);
}

#[test]
fn hostile_configurations() {
    for value in [
        json!(null),
        json!({"rootfs": {"type": "windows"}}),
        json!({"rootfs": {"type": "layers", "diff_ids": ["sha256:../.."]}}),
        json!({"config": {"Env": "A=b"}}),
        json!({"created": "yesterday"}),
    ] {
        assert!(
            ImageConfig::parse(&serde_json::to_vec(&value).unwrap()).is_err(),
            "{value}"
        );
    }
    let sparse = ImageConfig::parse(b"{}").unwrap();
    assert_eq!(sparse.platform(), Platform::new("linux", "amd64"));
    assert!(sparse.rootfs.diff_ids.is_empty());
    let text_command =
        ImageConfig::parse(br#"{"config":{"Cmd":"sh"},"rootfs":null,"history":null}"#).unwrap();
    assert_eq!(text_command.config.cmd, Some(vec!["sh".into()]));
    assert!(ImageConfig::parse(&vec![b' '; (8 << 20) + 1]).is_err());
}

proptest! {
    #[test]
    fn anything_parses_or_fails(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Document::parse(&bytes, None);
        let _ = ImageConfig::parse(&bytes);
    }
}
