//! Cache keys: digests over length-prefixed fields.

use havre_oci::{Algorithm, Digest, Digester};

/// Changes when steps begin to mean something else, so that old records aren't used.
const VERSION: &str = "havre build 2";

/// Collects what decides a step's result.
pub(crate) struct Key(Digester);

impl Key {
    pub(crate) fn new(kind: &str) -> Self {
        let mut key = Key(Digester::new(Algorithm::Sha256));
        key.text(VERSION).text(kind);
        key
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn texts<S: AsRef<str>>(&mut self, texts: &[S]) -> &mut Self {
        self.bytes(&(texts.len() as u64).to_le_bytes());
        for text in texts {
            self.text(text.as_ref());
        }
        self
    }

    pub(crate) fn finish(self) -> Digest {
        self.0.finish()
    }
}
