//! Directories of the store that may not grow beyond a size, where its file system has project quotas.
//!
//! A project is taken whose number nothing uses, and let go when the directory is discarded: the files that are still to be
//! deleted then keep its number from being taken again.

use std::path::Path;
use std::sync::PoisonError;

use havre_sys::quota;

use crate::store::Core;
use crate::{Result, Store, StoreError};

/// The numbers of our projects: well above what people write into /etc/projects.
const PROJECTS: std::ops::Range<u32> = 1 << 20..1 << 31;

/// What is limited lies under these names in the directory that is discarded.
const LIMITED: [&str; 2] = ["upper", "_data"];

impl Store {
    /// Whether [`limit`](Self::limit) can be used.
    pub fn has_quotas(&self) -> bool {
        self.core.has_quotas()
    }

    /// Lets the files in these directories, which are new and empty, take so many bytes together at most. Writes beyond it
    /// fail as on a full disk.
    pub fn limit(&self, directories: &[&Path], bytes: u64) -> Result<()> {
        let Some(first) = directories.first() else {
            return Ok(());
        };
        let at = StoreError::at("limit", first);
        let _one = self.core.projects.lock().unwrap_or_else(PoisonError::into_inner);
        let limited = (|| {
            for project in PROJECTS {
                if !quota::is_free(first, project)? {
                    continue;
                }
                quota::limit(first, project, bytes)?;
                for directory in directories {
                    quota::set_project(directory, project)?;
                }
                return Ok(());
            }
            Err(rustix::io::Errno::NOSPC.into())
        })();
        limited.map_err(at)
    }
}

impl Core {
    fn has_quotas(&self) -> bool {
        *self
            .quotas
            .get_or_init(|| quota::has_projects(self.layout.root()))
    }

    /// Before a directory goes: lifts the limit there may be on what is in it.
    pub(crate) fn lift_limit(&self, directory: &Path) {
        if !self.has_quotas() {
            return;
        }
        for limited in LIMITED.map(|name| directory.join(name)) {
            // A project that the whole store belongs to is not ours.
            let whole = quota::project(self.layout.root()).unwrap_or(0);
            match quota::project(&limited) {
                Ok(project) if project != whole && PROJECTS.contains(&project) => {
                    if let Err(error) = quota::limit(&limited, project, 0) {
                        tracing::warn!(path = %limited.display(), %error, "the limit of something removed stays");
                    }
                }
                _ => {}
            }
        }
    }
}
