//! Targets that are kept in the database.

use havre_database::{Row, now};

use crate::{Action, EventsError, Outbox, Result, Target, TargetUrl};

/// A webhook as it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebhook {
    pub name: String,
    pub url: TargetUrl,
    /// Signs what is sent; without, one is made.
    pub secret: Option<String>,
    pub actions: Vec<Action>,
    pub repository: Option<String>,
    pub private: bool,
}

/// A webhook that is there, by what may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub name: String,
    pub url: TargetUrl,
    pub actions: Vec<Action>,
    pub repository: Option<String>,
    /// It may be at an address that only this network has.
    pub private: bool,
    /// In milliseconds since 1970.
    pub created: i64,
}

const COLUMNS: &str = "name, url, secret, actions, repository, private, created";

/// With its secret.
fn read(row: &Row) -> Result<(Webhook, String)> {
    let actions = row.text(3)?;
    let actions: Result<Vec<Action>> = actions.split_whitespace().map(str::parse).collect();
    let webhook = Webhook {
        name: row.text(0)?,
        url: row.text(1)?.parse()?,
        actions: actions?,
        repository: row.text_or_null(4)?,
        private: row.integer(5)? != 0,
        created: row.integer(6)?,
    };
    Ok((webhook, row.text(2)?))
}

impl Outbox {
    /// Makes a webhook; its secret.
    pub fn add_webhook(&self, webhook: &NewWebhook) -> Result<String> {
        let is_name = |text: &str| {
            (1..=64).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if !is_name(&webhook.name) {
            return Err(EventsError::Name(webhook.name.clone()));
        }
        let secret = match &webhook.secret {
            Some(secret) => secret.clone(),
            None => rand::random::<[u8; 24]>()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        };
        let actions: Vec<String> = webhook.actions.iter().map(ToString::to_string).collect();
        self.database().writing(|connection| {
            let added = connection.execute(
                "INSERT INTO webhooks (name, url, secret, actions, repository, private, created)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                &[
                    webhook.name.as_str().into(),
                    webhook.url.as_str().into(),
                    secret.as_str().into(),
                    actions.join(" ").into(),
                    webhook.repository.as_deref().into(),
                    i64::from(webhook.private).into(),
                    now().into(),
                ],
            )?;
            match added {
                0 => Err(EventsError::NameTaken(webhook.name.clone())),
                _ => Ok(secret.clone()),
            }
        })
    }

    /// All webhooks, by name.
    pub fn webhooks(&self) -> Result<Vec<Webhook>> {
        let rows = self.webhook_rows()?;
        Ok(rows.into_iter().map(|(webhook, _)| webhook).collect())
    }

    /// Takes a webhook away, with what was not delivered yet.
    pub fn remove_webhook(&self, name: &str) -> Result<()> {
        self.database().writing(|connection| {
            if connection.execute("DELETE FROM webhooks WHERE name = $1", &[name.into()])? == 0 {
                return Err(EventsError::WebhookUnknown(name.to_owned()));
            }
            connection.execute(
                "DELETE FROM deliveries WHERE target = $1 AND due IS NOT NULL",
                &[name.into()],
            )?;
            Ok(())
        })
    }

    fn webhook_rows(&self) -> Result<Vec<(Webhook, String)>> {
        let rows = self.database().reading(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM webhooks ORDER BY name");
            Ok::<_, EventsError>(connection.query(&sql, &[])?)
        })?;
        rows.iter().map(read).collect()
    }

    /// Whoever wants to know: those of the configuration, and webhooks.
    pub(crate) fn targets(&self) -> Result<Vec<Target>> {
        let webhooks = self.webhook_rows()?.into_iter().map(|(webhook, secret)| Target {
            name: webhook.name,
            url: webhook.url,
            headers: Vec::new(),
            secret: Some(secret),
            actions: webhook.actions,
            repository: webhook.repository,
            ignored: Vec::new(),
            private: webhook.private,
        });
        Ok(self.configured().iter().cloned().chain(webhooks).collect())
    }
}
