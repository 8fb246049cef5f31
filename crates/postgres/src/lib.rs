//! PostgreSQL (12 and later) as a [`Database`], for registries of several processes.
//!
//! Transactions that write run beside each other at `READ COMMITTED`; what must not is locked by name, with advisory locks.
//! What ends because of others (a deadlock, a connection that was lost before the commit) runs again. Texts compare by bytes,
//! as they do everywhere else: tables are made with the collation `C`, whatever the database's is.

mod connect;
mod value;

use std::time::Duration;

use havre_database::{Connection, Database, DatabaseError, End, Result, Row, Value, Work};
use postgres::error::SqlState;
use postgres::{IsolationLevel, Statement};

use crate::connect::Connector;
use crate::value::{Parameter, row};

/// How often a transaction runs before others have had their way too often.
const ATTEMPTS: u32 = 20;
/// How long to wait for a connection of the pool.
const PATIENCE: Duration = Duration::from_secs(30);

/// A database of a PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    pool: r2d2::Pool<Connector>,
}

fn failed(action: &'static str) -> impl FnOnce(postgres::Error) -> DatabaseError {
    move |error| DatabaseError::Failed {
        action,
        reason: reason(&error),
    }
}

/// All of what went wrong: the library says just the outermost.
fn reason(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", reason(source)),
        None => error.to_string(),
    }
}

/// Whether the same may go well another time.
fn is_passing(error: &postgres::Error) -> bool {
    let passing = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    error.is_closed() || error.code().is_some_and(|code| passing.contains(code))
}

impl Postgres {
    /// Connects to `url` (`postgresql://USER:PASSWORD@HOST/DATABASE` or `host=… user=…`), with up to so many connections. What
    /// a server says it is by TLS is checked against the system's certificates.
    pub fn open(url: &str, connections: u32) -> Result<Self> {
        let connector = Connector::new(url)?;
        // What is wrong is said at once, not after all the pool's attempts.
        drop(connector.connect().map_err(failed("connect to the database"))?);
        let pool = r2d2::Pool::builder()
            .max_size(connections)
            .min_idle(Some(1))
            .test_on_check_out(false)
            .connection_timeout(PATIENCE)
            .build_unchecked(connector);
        Ok(Self { pool })
    }

    fn run(&self, writes: bool, work: Work<'_>) -> Result<()> {
        for attempt in 1.. {
            let mut connected = self.pool.get().map_err(|error| DatabaseError::Failed {
                action: "connect to the database",
                reason: error.to_string(),
            })?;
            let level = match writes {
                true => IsolationLevel::ReadCommitted,
                false => IsolationLevel::RepeatableRead,
            };
            let connected = &mut *connected;
            let begun = connected
                .client
                .build_transaction()
                .isolation_level(level)
                .read_only(!writes)
                .start();
            let transaction = match begun {
                Ok(transaction) => transaction,
                Err(error) if is_passing(&error) && attempt < ATTEMPTS => {
                    wait(attempt);
                    continue;
                }
                Err(error) => return Err(failed("begin a transaction")(error)),
            };
            let mut within = Within {
                transaction,
                statements: &mut connected.statements,
                passing: false,
            };
            let end = work(&mut within);
            if within.passing && attempt < ATTEMPTS {
                let _ = within.transaction.rollback();
                wait(attempt);
                continue;
            }
            return match end {
                End::RollBack => {
                    // A connection that cannot even do that has rolled back.
                    let _ = within.transaction.rollback();
                    Ok(())
                }
                End::Commit => match within.transaction.commit() {
                    Err(error) if !error.is_closed() && is_passing(&error) && attempt < ATTEMPTS => {
                        wait(attempt);
                        continue;
                    }
                    ended => ended.map_err(failed("commit a transaction")),
                },
            };
        }
        unreachable!("the last attempt returns")
    }
}

/// Longer each time, and not at the same time as others.
fn wait(attempt: u32) {
    let most = 5_u64 << attempt.min(8);
    std::thread::sleep(Duration::from_millis(rand::random_range(most / 2..=most)));
}

impl Database for Postgres {
    fn write(&self, work: Work<'_>) -> Result<()> {
        self.run(true, work)
    }

    fn read(&self, work: Work<'_>) -> Result<()> {
        self.run(false, work)
    }
}

struct Within<'a> {
    transaction: postgres::Transaction<'a>,
    statements: &'a mut connect::Statements,
    /// Something failed that may go well another time.
    passing: bool,
}

impl Within<'_> {
    fn noted(&mut self, action: &'static str, error: postgres::Error) -> DatabaseError {
        self.passing |= is_passing(&error);
        failed(action)(error)
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let defines = sql.starts_with("CREATE TABLE") || sql.starts_with("ALTER TABLE");
        let statement = match defines {
            true => self.transaction.prepare(&by_bytes(sql))?,
            false => self.transaction.prepare(sql)?,
        };
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// A definition of tables whose texts compare by bytes.
fn by_bytes(sql: &str) -> String {
    sql.replace(" TEXT", " TEXT COLLATE \"C\"")
}

impl Connection for Within<'_> {
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64> {
        let parameters: Vec<Parameter<'_>> = values.iter().map(Parameter).collect();
        let parameters: Vec<_> = parameters.iter().map(Parameter::as_sql).collect();
        let done = self
            .prepared(sql)
            .and_then(|statement| self.transaction.execute(&statement, &parameters));
        done.map_err(|error| self.noted("write to the database", error))
    }

    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        let parameters: Vec<Parameter<'_>> = values.iter().map(Parameter).collect();
        let parameters: Vec<_> = parameters.iter().map(Parameter::as_sql).collect();
        let done = self
            .prepared(sql)
            .and_then(|statement| self.transaction.query(&statement, &parameters));
        let rows = done.map_err(|error| self.noted("read the database", error))?;
        rows.iter().map(row).collect()
    }

    fn lock(&mut self, name: &str) -> Result<()> {
        let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        self.query(sql, &[name.into()]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_compare_by_bytes() {
        assert_eq!(
            super::by_bytes("CREATE TABLE t (a TEXT NOT NULL, b BIGINT, c TEXT)"),
            "CREATE TABLE t (a TEXT COLLATE \"C\" NOT NULL, b BIGINT, c TEXT COLLATE \"C\")"
        );
    }
}
