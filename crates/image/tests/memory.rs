//! What a pull of a large layer takes of memory. The only test of its process, since it measures that. Needs root.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::Write as _;

use havre_image::{PullOptions, Silent};
use havre_oci::{Descriptor, Digester, ImageConfig, Manifest, Platform, Reference, media_type};
use support::Bench;
use support::registry::FakeRegistry;

const FILE: u64 = 256 << 20;
/// The promise: whatever the layer, its worker takes no more.
const LIMIT: u64 = 64 << 20;

/// A value of `/proc/self/status` in bytes.
fn status(key: &str) -> u64 {
    let text = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<u64>().unwrap() * 1024
}

/// Compresses and hashes an archive of one large file as it is written.
fn layer() -> (Vec<u8>, havre_oci::Digest) {
    let mut digester = Digester::sha256();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut write = |bytes: &[u8]| {
        digester.update(bytes);
        encoder.write_all(bytes).unwrap();
    };
    let mut header = tar::Header::new_gnu();
    header.set_path("large").unwrap();
    header.set_mode(0o644);
    header.set_size(FILE);
    header.set_cksum();
    write(header.as_bytes());
    let mut piece = vec![0; 1 << 20];
    for turn in 0..FILE >> 20 {
        for (index, byte) in piece.iter_mut().enumerate().step_by(61) {
            *byte = ((index as u64 * turn) >> 8) as u8;
        }
        write(&piece);
    }
    write(&[0; 1024]);
    (encoder.finish().unwrap(), digester.finish())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_layer_takes_little_memory() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let (blob, diff_id) = layer();
    assert!(blob.len() > 8 << 20, "{} bytes are no download", blob.len());
    let mut config = ImageConfig::new(&Platform::host());
    config.rootfs.kind = "layers".into();
    config.rootfs.diff_ids.push(diff_id);
    let config = config.to_bytes();
    let manifest = Manifest::oci(
        Descriptor::of(media_type::OCI_CONFIG, &config),
        vec![Descriptor::of(media_type::OCI_LAYER_GZIP, &blob)],
    );
    // The registry lives in this process: what it holds is there before the measurement.
    registry.blob("large", config.into());
    registry.blob("large", blob.into());
    registry.manifest("large", "1", media_type::OCI_MANIFEST, manifest.to_bytes());
    // Sets the peak to what there is now (proc(5)).
    fs_err::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let name = Reference::parse(&format!("{}/large:1", registry.host())).unwrap();
    bench
        .images
        .pull(&name, &PullOptions::default(), &Silent)
        .await
        .unwrap();
    let taken = status("VmHWM").saturating_sub(before);
    assert!(taken < LIMIT, "{} MiB were taken", taken >> 20);
}
