//! Keys that tokens are signed with. They are in the database, so every process of a registry knows those of the others. A key
//! signs for a month; then the next does, and what it signed is good until it ends by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use havre_database::{Connection, Database, DatabaseError, now};
use havre_registry_token::{Algorithm, PrivateKey};

use crate::audit::{Change, note};
use crate::secret::id;
use crate::{Actor, Hub, HubError, Result};

/// How long a key signs.
const SIGNS: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long it is known after that: longer than any token lasts.
const KNOWN: Duration = Duration::from_secs(2 * 24 * 3600);
/// Keys that are not known are looked for so often, whatever is asked.
const LOOKED_FOR: Duration = Duration::from_secs(5);

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) private: PrivateKey,
    created: i64,
}

impl Key {
    /// Whether new tokens are signed with it.
    fn signs(&self, algorithm: Algorithm) -> bool {
        self.private.algorithm() == algorithm && self.created > before(SIGNS)
    }
}

/// The keys of a registry, the newest first.
#[derive(Debug)]
pub(crate) struct Keys {
    algorithm: Algorithm,
    known: RwLock<Vec<Arc<Key>>>,
    read: Mutex<Instant>,
}

impl Keys {
    pub(crate) fn open(database: &dyn Database, algorithm: Algorithm) -> Result<Self> {
        Ok(Self {
            algorithm,
            known: RwLock::new(current(database, algorithm)?),
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
        let keys = current(database, self.algorithm)?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The key that signs now.
    pub(crate) fn signing(&self, database: &dyn Database) -> Result<Arc<Key>> {
        let signing = |keys: Vec<Arc<Key>>| keys.into_iter().find(|key| key.signs(self.algorithm));
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

/// The keys there are, the newest first; a new one, if none of the algorithm signs any more.
fn current(database: &dyn Database, algorithm: Algorithm) -> Result<Vec<Arc<Key>>> {
    let one_signs = |keys: &[Arc<Key>]| keys.iter().any(|key| key.signs(algorithm));
    let keys = database.reading(stored)?;
    if one_signs(&keys) {
        return Ok(keys);
    }
    // Takes its time, for which nobody else waits.
    let new = generate(algorithm)?;
    database.writing(|connection| {
        // One process makes it, the others find it.
        connection.lock("hub.keys")?;
        let keys = stored(connection)?;
        if one_signs(&keys) {
            return Ok(keys);
        }
        add(connection, &new)?;
        stored(connection)
    })
}

fn generate(algorithm: Algorithm) -> Result<PrivateKey> {
    PrivateKey::generate(algorithm).map_err(|_| HubError::Failed("make a key for tokens"))
}

fn add(connection: &mut dyn Connection, key: &PrivateKey) -> Result<()> {
    connection.execute(
        "DELETE FROM keys WHERE created <= $1",
        &[before(SIGNS + KNOWN).into()],
    )?;
    connection.execute(
        "INSERT INTO keys (id, private, created, algorithm) VALUES ($1, $2, $3, $4)",
        &[
            id()?.into(),
            STANDARD.encode(key.as_pkcs8()).into(),
            now().into(),
            key.algorithm().name().into(),
        ],
    )?;
    Ok(())
}

fn stored(connection: &mut dyn Connection) -> Result<Vec<Arc<Key>>> {
    let rows = connection.query(
        "SELECT id, private, created, algorithm FROM keys WHERE created > $1 ORDER BY created DESC, id",
        &[before(SIGNS + KNOWN).into()],
    )?;
    let keys = rows.iter().map(|row| {
        let broken = || DatabaseError::not_a("a key");
        let private = STANDARD.decode(row.text(1)?).map_err(|_| broken())?;
        let algorithm = row.text(3)?.parse().map_err(|_| broken())?;
        Ok(Arc::new(Key {
            id: row.text(0)?,
            private: PrivateKey::from_pkcs8(algorithm, private).map_err(|_| broken())?,
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
        let new = generate(self.0.settings.algorithm)?;
        self.writing(|connection| {
            connection.lock("hub.keys")?;
            if forget {
                connection.execute("DELETE FROM keys", &[])?;
            }
            add(connection, &new)?;
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
