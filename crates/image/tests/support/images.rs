//! Images made and moved without a registry.

use std::io::Cursor;

use futures_util::StreamExt as _;
use havre_image::{ImageError, ImportOptions, SaveOptions, Silent};
use havre_oci::{Digest, Reference};

use super::{Bench, registry, tar};

pub(crate) fn parse(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

pub(crate) async fn import(bench: &Bench, name: &str, seed: u64) -> Digest {
    let data = registry::content(100_000, seed);
    let options = ImportOptions {
        reference: Some(parse(name)),
        changes: vec!["CMD [\"sh\"]".into(), format!("LABEL seed={seed}")],
        ..ImportOptions::default()
    };
    let input = Cursor::new(tar(&[("data", &data), ("bin/sh", b"#!")]));
    bench.images.import(input, options, &Silent).await.unwrap()
}

pub(crate) async fn save(bench: &Bench, names: &[&str]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut stream = Box::pin(
        bench
            .images
            .save(&names, &SaveOptions::default())
            .await
            .unwrap()
            .into_stream(),
    );
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

pub(crate) async fn load(bench: &Bench, archive: Vec<u8>) -> Result<Vec<String>, ImageError> {
    let loaded = bench
        .images
        .load(Cursor::new(archive), Vec::new(), &Silent)
        .await?;
    Ok(loaded.iter().map(havre_image::Loaded::line).collect())
}
