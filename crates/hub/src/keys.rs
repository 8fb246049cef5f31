//! Keys that tokens are signed with. They are in the database, so every process of a registry knows those of the others. A key
//! signs for a month; then the next does, and what it signed is good until it ends by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use havre_database::{Connection, Database, DatabaseError, now};
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::audit::{Change, note};
use crate::secret::id;
use crate::{Actor, Hub, HubError, Result, es256};

/// How long a key signs.
const SIGNS: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long it is known after that: longer than any token lasts.
const KNOWN: Duration = Duration::from_secs(2 * 24 * 3600);
/// Keys that are not known are looked for so often, whatever is asked.
const LOOKED_FOR: Duration = Duration::from_secs(5);

/// A key.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) encoding: EncodingKey,
    pub(crate) decoding: DecodingKey,
    created: i64,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The keys of a registry, the newest first.
#[derive(Debug)]
pub(crate) struct Keys {
    known: RwLock<Vec<Arc<Key>>>,
    read: Mutex<Instant>,
}

impl Keys {
    pub(crate) fn open(database: &dyn Database) -> Result<Self> {
        es256::install();
        Ok(Self {
            known: RwLock::new(current(database)?),
            read: Mutex::new(Instant::now()),
        })
    }

    fn known(&self) -> Vec<Arc<Key>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn last_read(&self) -> MutexGuard<'_, Instant> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self, database: &dyn Database) -> Result<()> {
        let keys = current(database)?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The key that signs now.
    pub(crate) fn signing(&self, database: &dyn Database) -> Result<Arc<Key>> {
        let signing = |keys: Vec<Arc<Key>>| keys.into_iter().next().filter(|key| signs(key.created));
        if let Some(key) = signing(self.known()) {
            return Ok(key);
        }
        self.refresh(database)?;
        signing(self.known()).ok_or(HubError::Failed("make a key for tokens"))
    }

    /// The key of that name, which another process may just have made.
    pub(crate) fn find(&self, database: &dyn Database, id: &str) -> Option<Arc<Key>> {
        let find = || self.known().into_iter().find(|key| key.id == id);
        if let Some(key) = find() {
            return Some(key);
        }
        {
            let mut read = self.last_read();
            if read.elapsed() < LOOKED_FOR {
                return None;
            }
            *read = Instant::now();
        }
        if let Err(error) = self.refresh(database) {
            tracing::error!(%error, "the keys of tokens cannot be read");
        }
        find()
    }
}

fn before(duration: Duration) -> i64 {
    now().saturating_sub(duration.as_millis() as i64)
}

fn signs(created: i64) -> bool {
    created > before(SIGNS)
}

/// The keys there are, the newest first; a new one, if the newest signs no more.
fn current(database: &dyn Database) -> Result<Vec<Arc<Key>>> {
    let keys = database.reading(stored)?;
    if keys.first().is_some_and(|key| signs(key.created)) {
        return Ok(keys);
    }
    database.writing(|connection| {
        // One process makes it, the others find it.
        connection.lock("hub.keys")?;
        let keys = stored(connection)?;
        if keys.first().is_some_and(|key| signs(key.created)) {
            return Ok(keys);
        }
        add(connection)?;
        stored(connection)
    })
}

fn add(connection: &mut dyn Connection) -> Result<()> {
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let private = private.map_err(|_| HubError::Failed("make a key for tokens"))?;
    connection.execute(
        "DELETE FROM keys WHERE created <= $1",
        &[before(SIGNS + KNOWN).into()],
    )?;
    connection.execute(
        "INSERT INTO keys (id, private, created) VALUES ($1, $2, $3)",
        &[
            id()?.into(),
            STANDARD.encode(private.as_ref()).into(),
            now().into(),
        ],
    )?;
    Ok(())
}

fn stored(connection: &mut dyn Connection) -> Result<Vec<Arc<Key>>> {
    let rows = connection.query(
        "SELECT id, private, created FROM keys WHERE created > $1 ORDER BY created DESC, id",
        &[before(SIGNS + KNOWN).into()],
    )?;
    let keys = rows.iter().map(|row| {
        let broken = || DatabaseError::not_a("a key");
        let private = STANDARD.decode(row.text(1)?).map_err(|_| broken())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &SystemRandom::new());
        let pair = pair.map_err(|_| broken())?;
        Ok(Arc::new(Key {
            id: row.text(0)?,
            encoding: EncodingKey::from_ec_der(&private),
            decoding: DecodingKey::from_ec_der(pair.public_key().as_ref()),
            created: row.integer(2)?,
        }))
    });
    keys.collect()
}

impl Hub {
    /// Lets a new key sign from now on. With `forget` the old ones are not believed any more: every token that was issued is
    /// asked for again. For administrators; it happens once a month by itself.
    pub fn rotate_keys(&self, actor: &Actor, forget: bool) -> Result<()> {
        actor.must_be_admin()?;
        self.writing(|connection| {
            connection.lock("hub.keys")?;
            if forget {
                connection.execute("DELETE FROM keys", &[])?;
            }
            add(connection)?;
            let change = Change::of_registry("keys.rotate", "");
            note(
                connection,
                actor,
                &change.detail(if forget { "forgotten" } else { "" }),
            )
        })?;
        self.0.keys.refresh(&*self.0.database)
    }
}
