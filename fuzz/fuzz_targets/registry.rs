//! What a registry is sent or told: names, ranges, manifests, configurations, tokens, addresses of others. What is taken is what it says it is.
#![no_main]

use havre_hub::{Action, Actor, Hub, Scope, Settings};
use havre_oci::Digest;
use havre_registry_cache::UpstreamUrl;
use havre_registry_server::{Config, range};
use havre_registry_store::{Identifier, RegistryStore, RepositoryName, Tag};
use havre_registry_token::{Expected, TrustedKeys};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static STORE: (tempfile::TempDir, RegistryStore, Hub) = {
        let folder = tempfile::tempdir().expect("a folder");
        let store = RegistryStore::open(folder.path()).expect("a registry");
        let hub = Hub::open(&store, Settings::default()).expect("accounts");
        (folder, store, hub)
    };
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    match kind % 7 {
        0 => {
            if let Ok(name) = text.parse::<RepositoryName>() {
                assert_eq!(name.as_str(), text);
                assert!(text.len() <= 255 && !text.split('/').any(|part| matches!(part, "" | "." | "..")));
            }
            if let Ok(tag) = text.parse::<Tag>() {
                assert_eq!(tag.as_str(), text);
                assert!(!text.contains('/') && !text.starts_with('.'));
            }
            let _ = text.parse::<Identifier>();
        }
        1 => {
            let size = bytes.len() as u64 * 7;
            if let range::Wanted::Part(part) = range::wanted(Some(text), size) {
                assert!(part.start < part.end && part.end <= size);
            }
            if let Some(chunk) = range::chunk(text) {
                assert!(chunk.start < chunk.end);
            }
        }
        2 => STORE.with(|(_, store, _)| {
            let name: RepositoryName = "fuzz".parse().expect("a name");
            let by_digest = Identifier::Digest(Digest::sha256_of(bytes));
            // Something without parts at most: there are no blobs here.
            if store.put_manifest(&name, &by_digest, None, bytes).is_ok() {
                assert_eq!(store.manifest(&name, &by_digest).expect("what was taken").1, bytes);
            }
        }),
        3 => STORE.with(|(.., hub)| {
            if let Ok(scope) = text.parse::<Scope>() {
                let issued = hub.issue(&Actor::anonymous(None), &[scope]).expect("a token");
                let said = hub.verify(&issued.token).expect("what was issued");
                let name: RepositoryName = "fuzz".parse().expect("a name");
                assert!(said.account.is_none() && !said.allows(&name, Action::Pull));
                // A token with something else in it is none.
                let mut other = issued.token.clone().into_bytes();
                let at = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % other.len();
                // Bits behind the last of a signature say nothing.
                if at + 1 < other.len() && other[at] != b'A' {
                    other[at] = b'A';
                    assert!(hub.verify(&String::from_utf8(other).expect("text")).is_err());
                }
            }
            assert!(hub.verify(text).is_err());
        }),
        4 => {
            if let Ok(url) = text.parse::<UpstreamUrl>() {
                assert!(!url.to_string().contains(['@', '?', '#', ' ', '%']));
                assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
        5 => {
            let mut trusted = TrustedKeys::default();
            let _ = trusted.add_certificates(bytes);
            let _ = trusted.add_key_set(bytes);
            let expected = Expected {
                issuer: "fuzz",
                audience: "fuzz",
            };
            // Nobody signs with a key that is in the same text.
            assert!(trusted.verify(text, expected).is_err());
        }
        _ => {
            let _ = Config::read(Some(text), []);
            let variables = text.lines().filter_map(|line| line.split_once('='));
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let _ = Config::read(None, variables);
        }
    }
});
