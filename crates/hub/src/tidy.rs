//! What has ended goes: sessions, tokens, invitations, failures nobody counts any more.

use havre_database::now;

use crate::{Hub, Result};

const DAY: i64 = 24 * 3600 * 1000;

impl Hub {
    /// Removes what has ended some time ago. Called from time to time.
    pub fn tidy(&self) -> Result<()> {
        let lockout = i64::try_from(self.settings().lockout.as_millis()).unwrap_or(i64::MAX);
        self.writing(|connection| {
            for (sql, limit) in [
                ("DELETE FROM sessions WHERE expires <= $1", now()),
                ("DELETE FROM sessions WHERE seen <= $1", now() - 90 * DAY),
                ("DELETE FROM invitations WHERE expires <= $1", now()),
                ("DELETE FROM failures WHERE last <= $1", now().saturating_sub(lockout)),
                ("DELETE FROM tokens WHERE kind = 'refresh' AND used <= $1", now() - 90 * DAY),
                // Their owners see for a while that they have expired.
                ("DELETE FROM tokens WHERE expires <= $1", now() - 30 * DAY),
            ] {
                connection.execute(sql, &[limit.into()])?;
            }
            // What a repository that is gone had.
            for sql in [
                "DELETE FROM stars WHERE NOT EXISTS (SELECT 1 FROM repositories WHERE name = repository)",
                "DELETE FROM pulls WHERE NOT EXISTS
                     (SELECT 1 FROM manifests WHERE manifests.repository = pulls.repository AND manifests.digest = pulls.digest)",
            ] {
                connection.execute(sql, &[])?;
            }
            Ok(())
        })
    }
}
