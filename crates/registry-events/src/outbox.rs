//! What is yet to be told, and what was.

use std::sync::Arc;

use havre_database::{Database, Row, now};

use crate::event::MEDIA_TYPE;
use crate::schema::SCHEMA;
use crate::{Event, EventsError, Result, Target, signature};

/// Milliseconds for which what is being sent is nobody else's.
const HOLD: i64 = 60_000;
/// Milliseconds until the second attempt; each waits twice as long as the one before.
const FIRST_WAIT: i64 = 5_000;
const LONGEST_WAIT: i64 = 6 * 60 * 60 * 1000;
/// Milliseconds after which it is given up.
const PATIENCE: i64 = 3 * 24 * 60 * 60 * 1000;
/// Milliseconds for which the log is kept.
const KEPT: i64 = 7 * 24 * 60 * 60 * 1000;
/// The most of an answer that is kept, in bytes.
const MOST_ANSWER: usize = 500;

/// What is yet to be told, and what was.
#[derive(Clone, Debug)]
pub struct Outbox {
    database: Arc<dyn Database>,
    configured: Arc<[Target]>,
}

/// Something to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    pub id: String,
    pub target: Target,
    pub body: String,
    /// How often it was tried before.
    pub attempts: i64,
}

impl Sending {
    /// What is sent along, names in lower case.
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![
            ("content-type".to_owned(), MEDIA_TYPE.to_owned()),
            ("x-havre-delivery".to_owned(), self.id.clone()),
        ];
        if let Some(secret) = &self.target.secret {
            let signed = signature(secret, self.body.as_bytes());
            headers.push(("x-havre-signature-256".to_owned(), signed));
        }
        headers.extend(self.target.headers.iter().cloned());
        headers
    }
}

/// What became of something that was to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub id: String,
    pub target: String,
    /// What happened, in few words.
    pub about: String,
    /// In milliseconds since 1970.
    pub created: i64,
    pub attempts: i64,
    pub state: State,
    /// What was answered last, or why nothing was.
    pub answer: String,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is sent next at this time, in milliseconds since 1970.
    Waiting {
        due: i64,
    },
    Delivered,
    /// Too often in vain.
    GivenUp,
}

impl Outbox {
    /// Over a registry's database, with the targets of its configuration.
    pub fn open(database: Arc<dyn Database>, configured: Vec<Target>) -> Result<Self> {
        SCHEMA.prepare(&*database)?;
        Ok(Self {
            database,
            configured: configured.into(),
        })
    }

    pub(crate) fn database(&self) -> &dyn Database {
        &*self.database
    }

    pub(crate) fn configured(&self) -> &[Target] {
        &self.configured
    }

    /// Whether anybody wants to know anything.
    pub fn is_wanted(&self) -> Result<bool> {
        Ok(!self.targets()?.is_empty())
    }

    /// Notes something for everybody who wants to know; how many these are.
    pub fn put(&self, event: &Event) -> Result<usize> {
        let targets = self.targets()?;
        let wanting: Vec<&Target> = targets.iter().filter(|target| target.wants(event)).collect();
        if wanting.is_empty() {
            return Ok(0);
        }
        let (body, about) = (event.body(), about(event));
        self.database().writing(|connection| {
            for target in &wanting {
                connection.execute(
                    "INSERT INTO deliveries (id, target, about, body, created, attempts, due)
                     VALUES ($1, $2, $3, $4, $5, 0, $5)",
                    &[
                        crate::event::new_id().into(),
                        target.name.as_str().into(),
                        about.as_str().into(),
                        body.as_str().into(),
                        now().into(),
                    ],
                )?;
            }
            Ok::<_, EventsError>(())
        })?;
        Ok(wanting.len())
    }

    /// Takes what is to be sent now, at most `limit`. What is not [told](Self::told) of within a minute is taken again.
    pub fn due(&self, limit: usize) -> Result<Vec<Sending>> {
        // Mostly there is nothing, and nobody who writes shall wait for that.
        let some = self.database().reading(|connection| {
            let some = "SELECT 1 FROM deliveries WHERE due <= $1 LIMIT 1";
            Ok::<_, EventsError>(connection.query_one(some, &[now().into()])?.is_some())
        })?;
        if !some {
            return Ok(Vec::new());
        }
        let targets = self.targets()?;
        let rows = self.database().writing(|connection| {
            connection.lock("deliveries")?;
            let rows = connection.query(
                "SELECT id, target, body, attempts FROM deliveries WHERE due <= $1 ORDER BY due, id LIMIT $2",
                &[now().into(), (limit as i64).into()],
            )?;
            for row in &rows {
                connection.execute(
                    "UPDATE deliveries SET due = $1, attempts = attempts + 1 WHERE id = $2",
                    &[(now() + HOLD).into(), row.text(0)?.into()],
                )?;
            }
            Ok::<_, EventsError>(rows)
        })?;
        let mut due = Vec::new();
        for row in &rows {
            let (id, name) = (row.text(0)?, row.text(1)?);
            match targets.iter().find(|target| target.name == name) {
                Some(target) => due.push(Sending {
                    id,
                    target: target.clone(),
                    body: row.text(2)?,
                    attempts: row.integer(3)?,
                }),
                None => self.end(&id, None, "nobody of that name wants to know any more")?,
            }
        }
        Ok(due)
    }

    /// Notes what came of sending something: the status and text of an answer, or why there was none.
    pub fn told(&self, sending: &Sending, answer: Result<(u16, String), String>) -> Result<()> {
        let (status, text) = match answer {
            Ok((status, text)) => (Some(status), text),
            Err(reason) => (None, reason),
        };
        let text: String = text
            .chars()
            .filter(|c| !c.is_control())
            .take(MOST_ANSWER)
            .collect();
        if status.is_some_and(|status| (200..300).contains(&status)) {
            return self.end(&sending.id, status, &text);
        }
        self.database().writing(|connection| {
            let row = connection.query_one(
                "SELECT created FROM deliveries WHERE id = $1",
                &[sending.id.as_str().into()],
            )?;
            let Some(created) = row.map(|row| row.integer(0)).transpose()? else {
                return Ok(());
            };
            let wait = FIRST_WAIT << sending.attempts.clamp(0, 20);
            let due = now() + wait.min(LONGEST_WAIT);
            let again = due < created + PATIENCE;
            connection.execute(
                "UPDATE deliveries SET due = $1, status = $2, answer = $3, ended = $4 WHERE id = $5",
                &[
                    again.then_some(due).into(),
                    status.map(i64::from).into(),
                    text.as_str().into(),
                    (!again).then(now).into(),
                    sending.id.as_str().into(),
                ],
            )?;
            Ok::<_, EventsError>(())
        })
    }

    fn end(&self, id: &str, status: Option<u16>, text: &str) -> Result<()> {
        self.database().writing(|connection| {
            connection.execute(
                "UPDATE deliveries SET due = NULL, status = $1, answer = $2, ended = $3 WHERE id = $4",
                &[status.map(i64::from).into(), text.into(), now().into(), id.into()],
            )?;
            Ok::<_, EventsError>(())
        })
    }

    /// The last deliveries, the newest first; to one target, if it is named.
    pub fn deliveries(&self, target: Option<&str>, limit: usize) -> Result<Vec<Delivery>> {
        let rows = self.database().reading(|connection| {
            Ok::<_, EventsError>(connection.query(
                "SELECT id, target, about, created, attempts, due, status, answer FROM deliveries
                 WHERE $1 = '' OR target = $1 ORDER BY created DESC, id LIMIT $2",
                &[target.unwrap_or_default().into(), (limit as i64).into()],
            )?)
        })?;
        rows.iter().map(delivery).collect()
    }

    /// Lets something be sent again at once.
    pub fn redeliver(&self, id: &str) -> Result<bool> {
        self.database().writing(|connection| {
            let again = connection.execute(
                "UPDATE deliveries SET due = $1, created = $1, ended = NULL, attempts = 0 WHERE id = $2",
                &[now().into(), id.into()],
            )?;
            Ok(again > 0)
        })
    }

    /// Forgets what was over long ago.
    pub fn sweep(&self) -> Result<u64> {
        self.database().writing(|connection| {
            Ok(connection.execute(
                "DELETE FROM deliveries WHERE ended <= $1",
                &[(now() - KEPT).into()],
            )?)
        })
    }
}

/// `push team/app:1`
fn about(event: &Event) -> String {
    let subject = &event.subject;
    let what = match (&subject.tag, &subject.digest) {
        (Some(tag), _) => format!(":{tag}"),
        (None, Some(digest)) => format!("@{digest}"),
        (None, None) => String::new(),
    };
    format!("{} {}{what}", event.action, subject.repository)
}

fn delivery(row: &Row) -> Result<Delivery> {
    let (due, status) = (row.integer_or_null(5)?, row.integer_or_null(6)?);
    let state = match (due, status) {
        (Some(due), _) => State::Waiting { due },
        (None, Some(200..300)) => State::Delivered,
        (None, _) => State::GivenUp,
    };
    let text = row.text_or_null(7)?.unwrap_or_default();
    Ok(Delivery {
        id: row.text(0)?,
        target: row.text(1)?,
        about: row.text(2)?,
        created: row.integer(3)?,
        attempts: row.integer(4)?,
        state,
        answer: match status {
            Some(status) => format!("{status} {text}").trim_end().to_owned(),
            None => text,
        },
    })
}
