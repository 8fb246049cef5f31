//! Lists of tags as they are sent, kept while they are right: those who look for new tags ask for all of them, over and over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use havre_registry_store::RepositoryName;
use http::{HeaderValue, header};

/// Bytes of lists that are kept in all.
const MOST: usize = 8 << 20;
/// Shorter ones are read as quickly.
const LEAST: usize = 1 << 10;

/// A repository, behind which tag, how many.
pub(super) type Key = (RepositoryName, String, usize);

/// A page of a list, as JSON.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) body: Bytes,
    /// Where the next one is.
    pub(super) next: Option<HeaderValue>,
}

impl From<List> for Response {
    fn from(list: List) -> Self {
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut response = ([json], list.body).into_response();
        if let Some(next) = list.next {
            response.headers_mut().insert(header::LINK, next);
        }
        response
    }
}

/// Pages with the version of the tags that they are of.
#[derive(Debug, Default)]
pub(crate) struct Rendered(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lists: HashMap<Key, (i64, List)>,
    bytes: usize,
}

impl Rendered {
    pub(super) fn get(&self, key: &Key) -> Option<(i64, List)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lists.get(key).cloned()
    }

    /// Keeps a page in the place of what was one before.
    pub(super) fn keep(&self, key: Key, version: i64, list: List) -> List {
        let size = list.body.len();
        if size < LEAST {
            return list;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + size > MOST {
            *kept = Kept::default();
        }
        kept.bytes += size;
        if let Some((_, old)) = kept.lists.insert(key, (version, list.clone())) {
            kept.bytes -= old.body.len();
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_an_end() {
        let rendered = Rendered::default();
        let key = |number: usize| ("app".parse().expect("a name"), String::new(), number);
        let list = |size: usize| List {
            body: vec![b'x'; size].into(),
            next: None,
        };
        rendered.keep(key(1), 7, list(LEAST - 1));
        assert!(rendered.get(&key(1)).is_none());
        for number in 0..100 {
            rendered.keep(key(number), 7, list(MOST / 10));
            assert!(rendered.0.lock().expect("a lock").bytes <= MOST);
        }
        let (version, kept) = rendered.get(&key(99)).expect("the last one");
        assert_eq!((version, kept.body.len()), (7, MOST / 10));
        rendered.keep(key(99), 8, list(LEAST));
        let kept = rendered.0.lock().expect("a lock");
        assert_eq!(
            kept.bytes,
            kept.lists
                .values()
                .map(|(_, list)| list.body.len())
                .sum::<usize>()
        );
    }
}
