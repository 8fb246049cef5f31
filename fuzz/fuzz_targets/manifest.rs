//! Manifests, indexes and image configurations: what was read is written and read again as the same.
#![no_main]

use havre_oci::{Document, ImageConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for served in [
        None,
        Some("application/vnd.oci.image.manifest.v1+json"),
        Some("application/vnd.docker.distribution.manifest.list.v2+json"),
        Some("application/json; charset=utf-8"),
    ] {
        let Ok(document) = Document::parse(bytes, served) else { continue };
        let written = match &document {
            Document::Manifest(manifest) => manifest.to_bytes(),
            Document::Index(index) => index.to_bytes(),
        };
        let again = Document::parse(&written, served).expect("what was written can be read");
        assert_eq!(again, document);
    }
    if let Ok(config) = ImageConfig::parse(bytes) {
        let written = config.to_bytes();
        let again = ImageConfig::parse(&written).expect("what was written can be read");
        assert_eq!(again.to_bytes(), written);
    }
});
