//! A registry of its own for each test, with people.

#![allow(dead_code, reason = "each test file uses a part")]

use havre_hub::{AccountName, Actor, Hub, NewAccount, Settings};
use havre_oci::{Descriptor, Digest, Manifest, media_type};
use havre_registry_store::{Identifier, RegistryStore, RepositoryName};

pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct Registry {
    pub(crate) hub: Hub,
    pub(crate) store: RegistryStore,
    folder: tempfile::TempDir,
}

pub(crate) fn name(text: &str) -> AccountName {
    text.parse().expect("a name")
}

pub(crate) fn repository(text: &str) -> RepositoryName {
    text.parse().expect("a name")
}

pub(crate) fn account(called: &str) -> NewAccount {
    NewAccount {
        name: called.to_owned(),
        password: PASSWORD.to_owned(),
        ..NewAccount::default()
    }
}

impl Registry {
    /// With the people `me`, `you` and `other`, and the administrator `boss`.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = RegistryStore::open(folder.path()).expect("a store");
        let hub = Hub::open(&store, settings).expect("a hub");
        for called in ["boss", "me", "other", "you"] {
            let who = NewAccount {
                admin: called == "boss",
                ..account(called)
            };
            hub.create_account(&Actor::system(), &who).expect("an account");
        }
        Self { hub, store, folder }
    }

    /// Another one, without anybody.
    pub(crate) fn bare(&self) -> Hub {
        let store = RegistryStore::open(&self.folder.path().join("bare")).expect("a store");
        Hub::open(&store, Settings::default()).expect("a hub")
    }

    /// Another process of the same registry.
    pub(crate) fn replica(&self) -> Hub {
        Hub::open(&self.store, self.hub.settings().clone()).expect("a hub")
    }

    pub(crate) fn actor(&self, called: &str) -> Actor {
        self.hub.authenticate(called, PASSWORD, None).expect("somebody")
    }

    pub(crate) fn blob(&self, to: &str, bytes: &[u8]) {
        let to = repository(to);
        let digest = Digest::sha256_of(bytes);
        let upload = self
            .store
            .begin_upload(&to, digest.algorithm())
            .expect("an upload");
        let mut appending = self.store.append(&to, &upload.id, None).expect("the upload");
        appending.write(bytes).expect("written");
        appending.finish(&digest).expect("a blob");
    }

    pub(crate) fn put(&self, to: &str, under: &str, manifest: &[u8], kind: &str) -> Digest {
        let under: Identifier = under.parse().expect("a tag or digest");
        let put = self
            .store
            .put_manifest(&repository(to), &under, Some(kind), manifest);
        put.expect("a manifest").digest
    }

    /// Pushes an image of one layer past all rules.
    pub(crate) fn push(&self, to: &str, tag: &str, layer: &[u8]) -> Digest {
        self.blob(to, b"{}");
        self.blob(to, layer);
        let manifest = Manifest::oci(
            Descriptor::of(media_type::OCI_CONFIG, b"{}"),
            vec![Descriptor::of(media_type::OCI_LAYER, layer)],
        );
        self.put(to, tag, &manifest.to_bytes(), media_type::OCI_MANIFEST)
    }

    /// Lets a tag be as old as that.
    pub(crate) fn age(&self, of: &str, tag: &str, days: i64) {
        let at = havre_database::now() - days * 24 * 3600 * 1000;
        let database = self.store.database();
        let changed = database.writing(|connection| {
            connection.execute(
                "UPDATE tags SET updated = $1 WHERE repository = $2 AND name = $3",
                &[at.into(), of.into(), tag.into()],
            )
        });
        assert_eq!(changed.expect("a tag"), 1);
    }
}
