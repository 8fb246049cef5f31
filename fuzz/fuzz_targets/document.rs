//! Manifests, indexes and image configurations from arbitrary bytes.
#![no_main]

use havre_oci::{Document, ImageConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Document::Manifest(manifest)) = Document::parse(bytes, None) {
        let again = Document::parse(&manifest.to_bytes(), None).expect("what was written can be read");
        assert!(matches!(again, Document::Manifest(_)));
    }
    let _ = ImageConfig::parse(bytes);
});
