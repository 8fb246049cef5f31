//! What package managers know, read from an image's own files.

use std::collections::BTreeMap;
use std::io::Write;

use havre_explore::packages::{DATABASES, Manager, Packages, read_apk, read_dpkg, read_rpm};
use havre_explore::{Kind, shown};
use rusqlite::{Connection, OpenFlags};

use crate::error::CliError;
use crate::explore::Subject;
use crate::session::Session;

/// No list of packages is larger, in bytes.
const MAX_DATABASE: u64 = 512 << 20;

/// Packages by manager; managers that are not used are not there.
pub(super) async fn read(
    session: &Session,
    subject: &Subject,
) -> Result<BTreeMap<Manager, Packages>, CliError> {
    let tree = &subject.tree;
    let merged = tree.merged();
    let mut found: BTreeMap<Manager, Packages> = BTreeMap::new();
    for (path, manager) in DATABASES {
        let Some(node) = tree.find(path.as_bytes()).filter(|node| merged.is_present(*node)) else {
            continue;
        };
        // Parts of dpkg's list, as images without dpkg have them.
        let parts = tree.children(node).filter(|part| merged.is_present(*part));
        let parts = parts.filter(|part| !tree.name(*part).ends_with(b".md5sums"));
        for file in std::iter::once(node).chain(parts) {
            let Some(version) = merged
                .version(tree, file)
                .filter(|version| version.kind == Kind::File)
            else {
                continue;
            };
            let path = tree.path(file);
            let told =
                |reason: String| CliError::Invalid(format!("{}: /{}: {reason}", subject.name, shown(&path)));
            if version.size > MAX_DATABASE {
                return Err(told(format!(
                    "a list of packages of {} bytes is too large",
                    version.size
                )));
            }
            let bytes = subject
                .contents
                .read(session, version.layer, &path, MAX_DATABASE)
                .await?;
            let packages = found.entry(manager).or_default();
            match manager {
                Manager::Dpkg => read_dpkg(&bytes, packages),
                Manager::Apk => read_apk(&bytes, packages),
                Manager::Rpm => read_rpm_database(&bytes, packages).map_err(told)?,
            }
        }
    }
    Ok(found)
}

/// RPM's list is an SQLite file, of which nothing is believed: only the rows of a table are read.
fn read_rpm_database(bytes: &[u8], packages: &mut Packages) -> Result<(), String> {
    let told = |error: rusqlite::Error| format!("no list of packages of RPM: {error}");
    let mut file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    file.write_all(bytes).map_err(|error| error.to_string())?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(file.path(), flags).map_err(told)?;
    database
        .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;")
        .map_err(told)?;
    // A view of that name could make us compute whatever it says.
    let table = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'Packages'";
    let tables: i64 = database.query_row(table, [], |row| row.get(0)).map_err(told)?;
    if tables != 1 {
        return Err("no list of packages of RPM: the table Packages is missing".to_owned());
    }
    let mut rows = database.prepare("SELECT blob FROM Packages").map_err(told)?;
    let mut rows = rows.query([]).map_err(told)?;
    while let Some(row) = rows.next().map_err(told)? {
        let header = row
            .get_ref(0)
            .and_then(|value| Ok(value.as_blob()?))
            .map_err(told)?;
        if !read_rpm(header, packages) {
            return Err("no list of packages of RPM: a header cannot be read".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> Vec<u8> {
        let texts = [(1000_u32, name), (1001, "1.2"), (1002, "3.el9")];
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, text) in texts {
            for number in [tag, 6, data.len() as u32, 1] {
                index.extend_from_slice(&number.to_be_bytes());
            }
            data.extend_from_slice(text.as_bytes());
            data.push(0);
        }
        let counts = [texts.len() as u32, data.len() as u32]
            .map(u32::to_be_bytes)
            .concat();
        [counts, index, data].concat()
    }

    fn database(statements: &str, names: &[&str]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rpmdb.sqlite");
        let database = Connection::open(&path).unwrap();
        database.execute_batch(statements).unwrap();
        for name in names {
            database
                .execute("INSERT INTO Packages (blob) VALUES (?)", [header(name)])
                .unwrap();
        }
        drop(database);
        fs_err::read(&path).unwrap()
    }

    #[test]
    fn packages_of_rpm() {
        let table = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)";
        let mut packages = Packages::new();
        read_rpm_database(&database(table, &["bash", "glibc"]), &mut packages).unwrap();
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["bash", "glibc"]);
        assert_eq!(packages["bash"], "1.2-3.el9");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let endless = "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS (SELECT 1 UNION ALL SELECT blob FROM n) SELECT blob FROM n";
        let text = "CREATE TABLE Packages (blob BLOB); INSERT INTO Packages VALUES ('text')";
        let mut packages = Packages::new();
        for (bytes, told) in [
            (database(endless, &[]), "the table Packages is missing"),
            (database(text, &[]), "no list of packages of RPM"),
            (b"no database at all".repeat(100), "no list of packages of RPM"),
        ] {
            let error = read_rpm_database(&bytes, &mut packages).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
