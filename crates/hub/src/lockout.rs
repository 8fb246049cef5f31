//! Guessing passwords does not pay: after some wrong ones in a row an account takes none for a while, and neither does an address
//! that tried many. Tokens cannot be guessed and go on working, so nobody stops an account's robots by failing at its door.

use std::net::IpAddr;

use havre_database::{Connection, Value, now};

use crate::pulls::network;
use crate::{Hub, HubError, Result};

/// An address may fail so many times as often as an account: many people may share it.
const SHARED: u32 = 10;

/// What failures are counted by.
fn subjects(name: &str, address: Option<IpAddr>) -> Vec<(String, u32)> {
    let mut subjects = vec![(format!("account {name}"), 1)];
    if let Some(address) = address {
        subjects.push((network(address), SHARED));
    }
    subjects
}

impl Hub {
    /// An error if no password is taken now for this name or from this address; else whether the account failed before.
    pub(crate) fn must_not_be_locked(&self, name: &str, address: Option<IpAddr>) -> Result<bool> {
        let settings = self.settings();
        let lockout = i64::try_from(settings.lockout.as_millis()).unwrap_or(i64::MAX);
        self.reading(|connection| {
            let mut failed = false;
            for (subject, shared) in subjects(name, address) {
                let row = connection.query_one(
                    "SELECT count, last FROM failures WHERE subject = $1",
                    &[subject.into()],
                )?;
                let Some(row) = row else { continue };
                failed |= shared == 1;
                let until = row.integer(1)?.saturating_add(lockout);
                let most = i64::from(settings.failures.saturating_mul(shared));
                if row.integer(0)? >= most && now() < until {
                    let seconds = (until - now()).max(0) as u64 / 1000 + 1;
                    return Err(HubError::Locked { seconds });
                }
            }
            Ok(failed)
        })
    }

    /// Counts a wrong password.
    pub(crate) fn count_failure(
        &self,
        connection: &mut dyn Connection,
        name: &str,
        address: Option<IpAddr>,
    ) -> Result<()> {
        let lockout = i64::try_from(self.settings().lockout.as_millis()).unwrap_or(i64::MAX);
        for (subject, _) in subjects(name, address) {
            // What is long ago counts no more.
            connection.execute(
                "INSERT INTO failures (subject, count, last) VALUES ($1, 1, $2) ON CONFLICT (subject) DO UPDATE SET
                     count = CASE WHEN failures.last < $3 THEN 1 ELSE failures.count + 1 END, last = excluded.last",
                &[
                    Value::from(subject),
                    now().into(),
                    now().saturating_sub(lockout).into(),
                ],
            )?;
        }
        Ok(())
    }

    /// Forgets what went wrong at an account. What came from an address stays: one right password there may be the guesser's own.
    pub(crate) fn forget_failures(&self, connection: &mut dyn Connection, name: &str) -> Result<()> {
        let subject = format!("account {name}");
        connection.execute("DELETE FROM failures WHERE subject = $1", &[subject.into()])?;
        Ok(())
    }
}
