//! Many small images as one archive of `docker save`: a layer of its own each.

use std::{io, path::Path};

use fs_err as fs;
use havre_oci::{
    Digest,
    layer::{Entry, Kind, TarWriter},
};
use serde_json::json;

use crate::Outcome;

/// Writes `count` images; their references.
pub(super) fn write(archive: &Path, count: usize) -> Outcome<Vec<String>> {
    let mut out = TarWriter::new(io::BufWriter::new(fs::File::create(archive)?));
    let mut manifests = Vec::new();
    let mut names = Vec::new();
    for number in 0..count {
        let mut layer = TarWriter::new(Vec::new());
        add(&mut layer, "number", number.to_string().as_bytes())?;
        let layer = layer.finish()?;
        let diff_id = Digest::sha256_of(&layer);
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "bench"}],
        }))?;
        let config_name = format!("{}.json", Digest::sha256_of(&config).hex());
        let layer_name = format!("{}.tar", diff_id.hex());
        let name = format!("bench/small:{number}");
        add(&mut out, &layer_name, &layer)?;
        add(&mut out, &config_name, &config)?;
        manifests.push(json!({"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}));
        names.push(name);
    }
    add(&mut out, "manifest.json", &serde_json::to_vec(&manifests)?)?;
    out.finish()?.into_inner()?.into_file().sync_all()?;
    Ok(names)
}

fn add<W: io::Write>(archive: &mut TarWriter<W>, name: &str, content: &[u8]) -> Outcome {
    let entry = Entry {
        path: name.into(),
        kind: Kind::File,
        mode: 0o644,
        size: content.len() as u64,
        ..Entry::default()
    };
    Ok(archive.entry(&entry, &mut &content[..])?)
}
