//! `WORKDIR` makes its directory if the stage hasn't got it.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;

use super::{Outcome, StageRun, blocking, cache, io};
use crate::copy::ensure_directory;
use crate::error::StepError;
use crate::event::{BuildEvent, Step};
use crate::key::Key;
use crate::state::State;

impl StageRun {
    pub(super) async fn workdir_step(&self, step: &Arc<Step>, state: &State) -> Result<Outcome, StepError> {
        let path = state.workdir().to_owned();
        let mut key = Key::new("workdir");
        key.text(state.base.as_str()).texts(&state.layers).text(&path);
        let key = key.finish();
        let created_by = state.nop(&format!("WORKDIR {path}"));
        let (shared, state) = (Arc::clone(&self.shared), state.clone());
        let (outcome, hit) = blocking(move || {
            let cached = match cache::find(&shared, &key, &state.layers)? {
                None => cache::borrow(&shared, &state, &created_by)?,
                found => found,
            };
            let layers = state.layers;
            if let Some((layers, created)) = cached {
                return Ok((
                    Outcome {
                        created_by,
                        key,
                        layers,
                        created,
                    },
                    true,
                ));
            }
            let work = cache::Work::prepare(&shared, &layers)?;
            let there = work
                .root
                .stat(Path::new(&path), true)
                .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory);
            let (mut layers, mut size) = (layers, 0);
            if !there {
                ensure_directory(&work.root, Path::new(&path), (0, 0))
                    .map_err(io("create the working directory"))?;
                let layer = work.commit(&shared)?;
                size = layer.size;
                layers.push(layer.diff_id);
            }
            Ok((cache::put(&shared, &key, layers, size, &created_by)?, false))
        })
        .await?;
        if hit {
            self.reporter.emit(BuildEvent::Cached {
                step: Arc::clone(step),
            });
        }
        Ok(outcome)
    }
}
