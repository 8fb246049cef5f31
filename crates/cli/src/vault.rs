//! Credentials in an encrypted file beside `config.json`, for those who have no credential helper.
//!
//! `havre-credentials` holds all of them under one key: AES-256-GCM (RFC 5116), a new nonce at each writing. The key is
//! random and stays in the kernel's keyring, or it comes from a passphrase: PBKDF2 (RFC 8018) with HMAC-SHA-256.
//! `config.json` keeps an empty entry for each, which says that there is something.

mod keyring;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::config_file::private_directory;
use crate::contexts::read_bounded;
use crate::credentials::Credentials;
use crate::error::CliError;
use crate::printer::Printer;

/// Where a passphrase may be given.
pub(crate) const PASSPHRASE: &str = "HAVRE_CREDENTIALS_PASSPHRASE";
/// The file of a passphrase.
const PASSPHRASE_FILE: &str = "HAVRE_CREDENTIALS_PASSPHRASE_FILE";
const KEY: usize = 32;
const SALT: usize = 16;
/// As OWASP's password storage cheat sheet has it for PBKDF2 with SHA-256.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");
const VERSION: u32 = 1;

/// The file.
#[derive(Debug, Deserialize, Serialize)]
struct Sealed {
    version: u32,
    /// Names the key in the keyring.
    id: String,
    /// Of the passphrase; none where the key is random. In base64, as the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    nonce: String,
    content: String,
}

/// What the file holds.
type Content = BTreeMap<String, Credentials>;

/// The encrypted file of a configuration directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vault {
    path: PathBuf,
}

/// A key, and how it is found again.
struct Found {
    id: String,
    salt: Option<[u8; SALT]>,
    key: [u8; KEY],
}

/// Why the content cannot be had.
enum Locked {
    /// No key, and why.
    NoKey(&'static str),
    /// The key is another one, or the file is damaged.
    Refused,
}

impl Vault {
    pub(crate) fn new(config: &Path) -> Self {
        Self {
            path: config.join("havre-credentials"),
        }
    }

    /// For people.
    pub(crate) fn path(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// The credentials under a key of `config.json`. Where they cannot be read for want of a key, people are told, and there
    /// are none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Credentials>, CliError> {
        let Some(sealed) = self.read()? else {
            return Ok(None);
        };
        match open(&sealed) {
            Ok((content, _)) => Ok(content.get(name).cloned()),
            Err(Locked::NoKey(reason)) => {
                Printer.warn(&format!(
                    "WARNING: going on without the credentials of {name}: {reason}. Log in or out to end this warning."
                ));
                Ok(None)
            }
            Err(Locked::Refused) => Err(self.refused()),
        }
    }

    /// All credentials, by their keys. Where they cannot be read for want of a key, there are none.
    pub(crate) fn all(&self) -> Result<BTreeMap<String, Credentials>, CliError> {
        match self.read()?.as_ref().map(open) {
            Some(Ok((content, _))) => Ok(content),
            Some(Err(Locked::Refused)) => Err(self.refused()),
            Some(Err(Locked::NoKey(_))) | None => Ok(Content::new()),
        }
    }

    /// Stores credentials; whether that could be done: without a passphrase and a keyring there is no key. Those whose key is
    /// lost go.
    pub(crate) fn put(&self, name: &str, credentials: &Credentials) -> Result<bool, CliError> {
        let (mut content, found) = match self.read()?.as_ref().map(open) {
            Some(Ok((content, found))) => (content, Some(found)),
            Some(Err(Locked::Refused)) => return Err(self.refused()),
            Some(Err(Locked::NoKey(_))) | None => (Content::new(), None),
        };
        let Some(found) = found.map_or_else(new_key, |found| Ok(Some(found)))? else {
            return Ok(false);
        };
        content.insert(name.to_owned(), credentials.clone());
        self.write(&content, &found)?;
        Ok(true)
    }

    /// Forgets credentials. A file that cannot be opened is of no use to anybody, and stays as it is.
    pub(crate) fn remove(&self, name: &str) -> Result<(), CliError> {
        let Some(sealed) = self.read()? else {
            return Ok(());
        };
        let Ok((mut content, found)) = open(&sealed) else {
            return Ok(());
        };
        if content.remove(name).is_none() {
            return Ok(());
        }
        match content.is_empty() {
            true => {
                fs::remove_file(&self.path)?;
                keyring::forget(&found.id);
                Ok(())
            }
            false => self.write(&content, &found),
        }
    }

    fn refused(&self) -> CliError {
        CliError::Invalid(format!(
            "{} cannot be opened: another passphrase, or the file is damaged; set {PASSPHRASE} to the one it was made with, or remove the file and log in again",
            self.path()
        ))
    }

    fn read(&self) -> Result<Option<Sealed>, CliError> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes = read_bounded(&self.path.to_string_lossy(), file)?;
        let sealed: Sealed = serde_json::from_slice(&bytes)
            .map_err(|error| CliError::Invalid(format!("{}: {error}", self.path())))?;
        match sealed.version {
            VERSION => Ok(Some(sealed)),
            other => Err(CliError::Invalid(format!(
                "{}: version {other} is not known; it is of a newer program",
                self.path()
            ))),
        }
    }

    fn write(&self, content: &Content, found: &Found) -> Result<(), CliError> {
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        let mut bytes = serde_json::to_vec(content).map_err(io::Error::from)?;
        cipher(&found.key)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&found.id),
                &mut bytes,
            )
            .map_err(|_| io::Error::other("cannot encrypt credentials"))?;
        let sealed = Sealed {
            version: VERSION,
            id: found.id.clone(),
            salt: found.salt.map(|salt| STANDARD.encode(salt)),
            nonce: STANDARD.encode(nonce),
            content: STANDARD.encode(bytes),
        };
        let text = serde_json::to_vec(&sealed).map_err(io::Error::from)?;
        if let Some(directory) = self.path.parent() {
            private_directory(directory)?;
        }
        Ok(havre_sys::atomic::write(&self.path, &text, 0o600)?)
    }
}

fn cipher(key: &[u8; KEY]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes"))
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| io::Error::other("no random numbers"))
}

/// The content of a file, and its key.
fn open(sealed: &Sealed) -> Result<(Content, Found), Locked> {
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| Locked::Refused);
    let salt = match &sealed.salt {
        Some(salt) => Some(decode(salt)?.try_into().map_err(|_| Locked::Refused)?),
        None => None,
    };
    let found = Found {
        key: key_of(&sealed.id, salt.as_ref())?,
        id: sealed.id.clone(),
        salt,
    };
    let nonce = Nonce::try_assume_unique_for_key(&decode(&sealed.nonce)?).map_err(|_| Locked::Refused)?;
    let mut bytes = decode(&sealed.content)?;
    let plain = cipher(&found.key)
        .open_in_place(nonce, Aad::from(&sealed.id), &mut bytes)
        .map_err(|_| Locked::Refused)?;
    let content = serde_json::from_slice(plain).map_err(|_| Locked::Refused)?;
    Ok((content, found))
}

/// The key of a file: what the keyring has, or else of the passphrase that is given.
fn key_of(id: &str, salt: Option<&[u8; SALT]>) -> Result<[u8; KEY], Locked> {
    if let Some(key) = keyring::get(id) {
        return Ok(key);
    }
    let Some(salt) = salt else {
        return Err(Locked::NoKey(
            "their key has left the kernel's keyring, as it does when the machine restarts",
        ));
    };
    let given = passphrase().map_err(Locked::NoKey)?.ok_or(Locked::NoKey(
        "their passphrase is not given: HAVRE_CREDENTIALS_PASSPHRASE, or its file in HAVRE_CREDENTIALS_PASSPHRASE_FILE",
    ))?;
    let key = derived(&given, salt);
    // Deriving takes its time; commands that follow find it here.
    keyring::put(id, &key);
    Ok(key)
}

/// A new key: of the passphrase, or random and in the keyring; `None` where there is neither.
fn new_key() -> Result<Option<Found>, CliError> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let given = passphrase().map_err(|reason| CliError::Invalid(reason.to_owned()))?;
    if let Some(passphrase) = given {
        let mut salt = [0; SALT];
        fill(&mut salt)?;
        let key = derived(&passphrase, &salt);
        // Kept for commands that are not given it.
        keyring::put(&id, &key);
        let salt = Some(salt);
        return Ok(Some(Found { id, salt, key }));
    }
    let mut key = [0; KEY];
    fill(&mut key)?;
    let kept = keyring::put(&id, &key) && keyring::get(&id) == Some(key);
    Ok(kept.then_some(Found { id, salt: None, key }))
}

fn derived(passphrase: &str, salt: &[u8; SALT]) -> [u8; KEY] {
    let mut key = [0; KEY];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        salt,
        passphrase.as_bytes(),
        &mut key,
    );
    key
}

/// The passphrase that is given, if one is.
fn passphrase() -> Result<Option<String>, &'static str> {
    if let Ok(text) = std::env::var(PASSPHRASE)
        && !text.is_empty()
    {
        return Ok(Some(text));
    }
    match std::env::var_os(PASSPHRASE_FILE).filter(|path| !path.is_empty()) {
        None => Ok(None),
        Some(path) => match fs::read_to_string(PathBuf::from(path)) {
            Ok(text) if !text.trim_end_matches(['\r', '\n']).is_empty() => {
                Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
            Ok(_) => Err("the file HAVRE_CREDENTIALS_PASSPHRASE_FILE names is empty"),
            Err(_) => Err("the file HAVRE_CREDENTIALS_PASSPHRASE_FILE names cannot be read"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            username: "me".to_owned(),
            password: "secret".to_owned(),
            identity_token: String::new(),
        }
    }

    #[test]
    fn what_is_sealed_comes_back_only_with_its_key_and_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::new(directory.path());
        let salt = [7; SALT];
        let found = Found {
            id: "0123".to_owned(),
            salt: Some(salt),
            key: derived("correct horse", &salt),
        };
        let content = Content::from([("r.example".to_owned(), credentials())]);
        vault.write(&content, &found).unwrap();
        let text = fs::read_to_string(directory.path().join("havre-credentials")).unwrap();
        assert!(!text.contains("secret") && !text.contains("r.example"), "{text}");
        let mode = fs::metadata(directory.path().join("havre-credentials"))
            .unwrap()
            .permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);

        let sealed = vault.read().unwrap().unwrap();
        let opened = |key: &[u8; KEY], sealed: &Sealed| {
            let mut bytes = STANDARD.decode(&sealed.content).unwrap();
            let nonce = Nonce::try_assume_unique_for_key(&STANDARD.decode(&sealed.nonce).unwrap()).unwrap();
            let plain = cipher(key).open_in_place(nonce, Aad::from(&sealed.id), &mut bytes);
            plain
                .ok()
                .map(|plain| serde_json::from_slice::<Content>(plain).unwrap())
        };
        assert_eq!(opened(&found.key, &sealed), Some(content));
        assert_eq!(opened(&derived("wrong horse", &salt), &sealed), None);
        let other = Sealed {
            id: "4567".to_owned(),
            ..sealed
        };
        assert_eq!(opened(&found.key, &other), None, "the id is sealed, too");
    }

    #[test]
    fn a_file_of_another_time_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("havre-credentials");
        let vault = Vault::new(directory.path());
        assert!(vault.get("r.example").unwrap().is_none());
        for (text, reason) in [
            ("{", "EOF"),
            (r#"{"version":2,"id":"","nonce":"","content":""}"#, "version 2"),
        ] {
            fs::write(&path, text).unwrap();
            let error = vault.get("r.example").unwrap_err().to_string();
            assert!(
                error.contains("havre-credentials") && error.contains(reason),
                "{error}"
            );
        }
    }
}
