//! The table `[storage]`.

use havre_image::{KeepCompressed, Packing};
use havre_oci::Compression;
use havre_store::{LayerForm, StoreOptions, Verify};
use serde::Deserialize;

use crate::containers::parse_bytes;
use crate::{EngineError, Result};

/// Bytes of compressed layers that `keep-compressed = "quota"` keeps unless told otherwise.
const QUOTA: u64 = 10 << 30;

/// How layers lie on the disk, what becomes of compressed ones, and how layers are compressed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct StorageSettings {
    /// A form of layers: `auto`, `file`, `file-buffered`, `loop`, `loop-4k` or `directories`.
    pub layers: Option<String>,
    /// `off`, or `read`: the kernel verifies layers at every read.
    pub verify: Option<String>,
    /// `never`, `quota` or `always`.
    pub keep_compressed: Option<String>,
    /// A size, with `keep-compressed = "quota"` only.
    pub compressed_quota: Option<String>,
    /// `gzip` or `zstd`.
    pub compression: Option<String>,
    /// On the scale of the format.
    pub compression_level: Option<i32>,
}

fn wrong<T>(key: &str, value: &dyn std::fmt::Display, expected: &str) -> Result<T> {
    Err(EngineError::invalid(format!(
        "storage.{key}: invalid value {value}: expected {expected}"
    )))
}

impl StorageSettings {
    /// What the store is told.
    pub fn store_options(&self) -> Result<StoreOptions> {
        let layers = match &self.layers {
            None => LayerForm::Auto,
            Some(name) => match name.parse() {
                Ok(form) => form,
                Err(_) => return wrong("layers", name, &LayerForm::ALL.map(LayerForm::name).join(", ")),
            },
        };
        let verify = match &self.verify {
            None => Verify::Off,
            Some(name) => match Verify::ALL.into_iter().find(|verify| verify.name() == name) {
                Some(verify) => verify,
                None => return wrong("verify", name, &Verify::ALL.map(Verify::name).join(" or ")),
            },
        };
        Ok(StoreOptions { layers, verify })
    }

    /// What becomes of the compressed form of a layer that was pulled, loaded or pushed.
    pub fn keep(&self) -> Result<KeepCompressed> {
        let quota = match &self.compressed_quota {
            None => QUOTA,
            Some(text) => match parse_bytes(text).filter(|bytes| *bytes > 0) {
                Some(bytes) => bytes,
                None => return wrong("compressed-quota", text, "a size such as 10GB"),
            },
        };
        let keep = match self.keep_compressed.as_deref() {
            None | Some("never") => KeepCompressed::Never,
            Some("quota") => KeepCompressed::Quota(quota),
            Some("always") => KeepCompressed::Always,
            Some(other) => return wrong("keep-compressed", &other, "never, quota or always"),
        };
        if self.compressed_quota.is_some() && !matches!(keep, KeepCompressed::Quota(_)) {
            return Err(EngineError::invalid(
                "storage.compressed-quota has a meaning with keep-compressed = \"quota\" only".to_owned(),
            ));
        }
        Ok(keep)
    }

    /// How a push compresses layers that were made here.
    pub fn packing(&self) -> Result<Packing> {
        let (compression, levels) = match self.compression.as_deref() {
            None | Some("gzip") => (Compression::Gzip, 1..=9),
            Some("zstd") => (Compression::Zstd, 1..=19),
            Some(other) => return wrong("compression", &other, "gzip or zstd"),
        };
        let mut packing = Packing::of(compression);
        if let Some(level) = self.compression_level {
            if !levels.contains(&level) {
                let expected = format!("{} to {}", levels.start(), levels.end());
                return wrong("compression-level", &level, &expected);
            }
            packing.level = level;
        }
        Ok(packing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConfigFile;

    #[test]
    fn compressed_layers_are_not_kept_unless_asked() {
        let storage = |text: &str| ConfigFile::parse_toml(&format!("[storage]\n{text}")).map(|c| c.storage);
        let keep = |text: &str| storage(text).unwrap().keep().unwrap();
        assert_eq!(keep(""), KeepCompressed::Never);
        assert_eq!(keep("keep-compressed = \"always\""), KeepCompressed::Always);
        assert_eq!(
            keep("keep-compressed = \"quota\""),
            KeepCompressed::Quota(10 << 30)
        );
        assert_eq!(
            keep("keep-compressed = \"quota\"\ncompressed-quota = \"500MB\""),
            KeepCompressed::Quota(500 << 20)
        );
        for (text, said) in [
            ("keep-compressed = \"some\"", "never, quota or always"),
            (
                "keep-compressed = \"quota\"\ncompressed-quota = \"much\"",
                "a size such as 10GB",
            ),
            ("compressed-quota = \"1GB\"", "keep-compressed = \"quota\" only"),
            ("compression = \"lzma\"", "gzip or zstd"),
            ("compression-level = 10", "1 to 9"),
            ("compression = \"zstd\"\ncompression-level = 20", "1 to 19"),
        ] {
            let error = storage(text).unwrap_err().to_string();
            assert!(error.contains("storage.") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn forms_of_layers_have_names() {
        let layers = |text: &str| {
            let config = ConfigFile::parse_toml(&format!("[storage]\n{text}"))?;
            config.storage.store_options().map(|options| options.layers)
        };
        assert_eq!(layers("").unwrap(), LayerForm::Auto);
        for form in LayerForm::ALL {
            assert_eq!(layers(&format!("layers = \"{form}\"")).unwrap(), form);
        }
        let error = layers("layers = \"tar\"").unwrap_err().to_string();
        assert!(
            error.contains("storage.layers") && error.contains("directories"),
            "{error}"
        );
    }

    #[test]
    fn reads_are_verified_when_asked() {
        let verify = |text: &str| {
            let config = ConfigFile::parse_toml(&format!("[storage]\n{text}"))?;
            config.storage.store_options().map(|options| options.verify)
        };
        assert_eq!(verify("").unwrap(), Verify::Off);
        assert_eq!(verify("verify = \"off\"").unwrap(), Verify::Off);
        assert_eq!(verify("verify = \"read\"").unwrap(), Verify::Read);
        let error = verify("verify = \"always\"").unwrap_err().to_string();
        assert!(
            error.contains("storage.verify") && error.contains("off or read"),
            "{error}"
        );
    }

    #[test]
    fn layers_made_here_are_gzip_unless_asked() {
        let packing = |text: &str| {
            let config = ConfigFile::parse_toml(&format!("[storage]\n{text}")).unwrap();
            config.storage.packing().unwrap()
        };
        assert_eq!(packing(""), Packing::of(Compression::Gzip));
        assert_eq!(packing("compression = \"zstd\""), Packing::of(Compression::Zstd));
        assert_eq!(packing("compression-level = 9").level, 9);
    }
}
