//! JSON values kept for other parts of the program.

use rusqlite::{Connection, OptionalExtension, Row};

use super::Meta;
use crate::{Result, StoreError};

/// A JSON value kept for another part of the program: a container, a volume, a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it is: `container`, `volume`, `network`.
    pub kind: String,
    /// Unique in its kind.
    pub id: String,
    /// Unique in its kind where there is one.
    pub name: Option<String>,
    /// The JSON text.
    pub body: String,
}

const COLUMNS: &str = "kind, id, name, body";

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        kind: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        body: row.get(3)?,
    })
}

/// The id of the document that has the name, if it isn't `id` itself.
fn holder(transaction: &Connection, kind: &str, name: &str, id: &str) -> rusqlite::Result<Option<String>> {
    transaction
        .prepare_cached("SELECT id FROM documents WHERE kind = ?1 AND name = ?2 AND id <> ?3")?
        .query_row([kind, name, id], |row| row.get(0))
        .optional()
}

fn not_found<T>(kind: &str, id: &str) -> Result<T> {
    Err(StoreError::DocumentNotFound {
        kind: kind.to_owned(),
        id: id.to_owned(),
    })
}

impl Meta {
    /// Inserts a document. Its id and its name must be free in its kind.
    pub fn put_document(&self, kind: &str, id: &str, name: Option<&str>, body: &str) -> Result<()> {
        self.write("insert a document", |transaction| {
            let known = "SELECT 1 FROM documents WHERE kind = ?1 AND id = ?2";
            if transaction.prepare_cached(known)?.exists([kind, id])? {
                return Ok(Err(StoreError::DocumentExists {
                    kind: kind.to_owned(),
                    id: id.to_owned(),
                }));
            }
            if let Some(name) = name
                && let Some(holder) = holder(transaction, kind, name, id)?
            {
                return Ok(Err(StoreError::NameTaken {
                    name: name.to_owned(),
                    holder,
                }));
            }
            transaction
                .prepare_cached("INSERT INTO documents (kind, id, name, body) VALUES (?1, ?2, ?3, ?4)")?
                .execute((kind, id, name, body))?;
            Ok(Ok(()))
        })
    }

    /// Replaces the body of a document that exists.
    pub fn update_document(&self, kind: &str, id: &str, body: &str) -> Result<()> {
        self.write_reserved("update a document", |transaction| {
            let updated = transaction
                .prepare_cached("UPDATE documents SET body = ?3 WHERE kind = ?1 AND id = ?2")?
                .execute([kind, id, body])?;
            Ok(if updated > 0 { Ok(()) } else { not_found(kind, id) })
        })
    }

    /// Gives a document another name, which must be free; and another body at the same time, if given.
    pub fn rename_document(&self, kind: &str, id: &str, name: &str, body: Option<&str>) -> Result<()> {
        self.write("rename a document", |transaction| {
            if let Some(holder) = holder(transaction, kind, name, id)? {
                return Ok(Err(StoreError::NameTaken {
                    name: name.to_owned(),
                    holder,
                }));
            }
            let updated = transaction
                .prepare_cached(
                    "UPDATE documents SET name = ?3, body = coalesce(?4, body) WHERE kind = ?1 AND id = ?2",
                )?
                .execute((kind, id, name, body))?;
            Ok(if updated > 0 { Ok(()) } else { not_found(kind, id) })
        })
    }

    /// The document, if it is there.
    pub fn find_document(&self, kind: &str, id: &str) -> Result<Option<Document>> {
        self.read("find a document", |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM documents WHERE kind = ?1 AND id = ?2"
                ))?
                .query_row([kind, id], document)
                .optional()
        })
    }

    /// The document with this name, if there is one.
    pub fn find_document_by_name(&self, kind: &str, name: &str) -> Result<Option<Document>> {
        self.read("find a document", |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM documents WHERE kind = ?1 AND name = ?2"
                ))?
                .query_row([kind, name], document)
                .optional()
        })
    }

    /// All documents of a kind, oldest first.
    pub fn documents(&self, kind: &str) -> Result<Vec<Document>> {
        self.read("list documents", |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM documents WHERE kind = ?1 ORDER BY seq"
                ))?
                .query_map([kind], document)?
                .collect()
        })
    }

    /// Deletes a document; whether there was one.
    pub fn delete_document(&self, kind: &str, id: &str) -> Result<bool> {
        self.write_reserved("delete a document", |transaction| {
            let deleted = transaction
                .prepare_cached("DELETE FROM documents WHERE kind = ?1 AND id = ?2")?
                .execute([kind, id])?;
            Ok(Ok(deleted > 0))
        })
    }
}
