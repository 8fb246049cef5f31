//! All forms of layers of a store, and which of them new layers get.

use std::path::{Path, PathBuf};

use havre_sys::erofs::Backing;

use super::erofs::probe;
use super::{Directory, Erofs, Form, Snapshotter};
use crate::{LayerForm, Probe, Result, StoreError};

/// The snapshotters of a store.
#[derive(Debug)]
pub(crate) struct Forms {
    directory: Directory,
    tar: Erofs,
    aligned: Erofs,
    probe: Probe,
}

/// What is tried, best first.
const CANDIDATES: [LayerForm; 4] = [
    LayerForm::File,
    LayerForm::FileBuffered,
    LayerForm::Loop,
    LayerForm::LoopAligned,
];

fn backing(form: LayerForm) -> Option<Backing> {
    match form {
        LayerForm::File => Some(Backing::File { direct: true }),
        LayerForm::FileBuffered => Some(Backing::File { direct: false }),
        LayerForm::Loop | LayerForm::LoopAligned => Some(Backing::Loop),
        LayerForm::Auto | LayerForm::Directories => None,
    }
}

impl Forms {
    /// Finds out what works, by mounting tiny images in `scratch`, an existing directory of the store.
    pub(crate) fn probe(wanted: LayerForm, scratch: &Path) -> Result<Self> {
        let mut failures = Vec::new();
        let mut works = |form: LayerForm| {
            let aligned = form == LayerForm::LoopAligned;
            let outcome = backing(form).map(|backing| probe::attempt(scratch, backing, aligned));
            match outcome {
                Some(Err(error)) => {
                    failures.push(format!("{form}: {}", chain(&error)));
                    false
                }
                _ => true,
            }
        };
        let chosen = match wanted {
            LayerForm::Auto => CANDIDATES
                .into_iter()
                .find(|form| works(*form))
                .unwrap_or(LayerForm::Directories),
            LayerForm::Directories => LayerForm::Directories,
            form if works(form) => form,
            form => {
                return Err(StoreError::LayerForm {
                    form,
                    reason: failures.join("; "),
                });
            }
        };
        // Layers that are files already are mounted as new ones are, else by the best that works.
        let is_tar = |form: LayerForm| !matches!(form, LayerForm::LoopAligned | LayerForm::Directories);
        let of_tars = match (wanted, chosen) {
            (_, form) if is_tar(form) => Some(form),
            // All were tried.
            (LayerForm::Auto, _) => None,
            _ => CANDIDATES.into_iter().find(|form| is_tar(*form) && works(*form)),
        };
        let of_aligned = match (wanted, chosen, of_tars) {
            (_, LayerForm::LoopAligned, _) => Some(LayerForm::LoopAligned),
            (_, _, Some(form)) => Some(form),
            (LayerForm::Auto, _, None) => None,
            _ => Some(LayerForm::LoopAligned).filter(|form| works(*form)),
        };
        let reason = match (wanted, failures.is_empty()) {
            (LayerForm::Auto, true) => "probed: the kernel mounts it".to_owned(),
            (LayerForm::Auto, false) => format!("probed; {}", failures.join("; ")),
            _ => format!("configured: layers = \"{wanted}\""),
        };
        let why_not = failures.join("; ");
        Ok(Self {
            directory: Directory,
            tar: Erofs::tar(of_tars.and_then(backing).ok_or_else(|| why_not.clone())),
            aligned: Erofs::aligned(of_aligned.and_then(backing).ok_or(why_not)),
            probe: Probe { form: chosen, reason },
        })
    }

    /// What was found out.
    pub(crate) fn result(&self) -> &Probe {
        &self.probe
    }

    /// What writes new layers.
    pub(crate) fn writer(&self) -> &dyn Snapshotter {
        self.writer_of(self.probe.form)
    }

    /// What writes layers of a form; [`LayerForm::Auto`] is the chosen one.
    pub(crate) fn writer_of(&self, form: LayerForm) -> &dyn Snapshotter {
        match form {
            LayerForm::Auto => self.writer_of(self.probe.form),
            LayerForm::Directories => &self.directory,
            LayerForm::LoopAligned => &self.aligned,
            LayerForm::File | LayerForm::FileBuffered | LayerForm::Loop => &self.tar,
        }
    }

    /// Whether a layer that lies on the disk like this needs nothing done to be of the form `wanted`.
    pub(crate) fn is_of(&self, wanted: LayerForm, form: &Form) -> bool {
        match wanted {
            LayerForm::Auto => self.is_of(self.probe.form, form),
            LayerForm::Directories => *form == Form::Directory,
            LayerForm::LoopAligned => matches!(form, Form::Aligned(_)),
            LayerForm::File | LayerForm::FileBuffered | LayerForm::Loop => matches!(form, Form::Tar(_)),
        }
    }

    /// Why layers of a form couldn't be mounted.
    pub(crate) fn why_not(&self, form: LayerForm) -> Option<&str> {
        match form {
            LayerForm::Auto => self.why_not(self.probe.form),
            LayerForm::Directories => None,
            LayerForm::LoopAligned => self.aligned.why_not(),
            LayerForm::File | LayerForm::FileBuffered | LayerForm::Loop => self.tar.why_not(),
        }
    }

    /// What writes new layers, if they are file systems.
    pub(crate) fn images(&self) -> Option<&Erofs> {
        match self.probe.form {
            LayerForm::Auto | LayerForm::Directories => None,
            LayerForm::LoopAligned => Some(&self.aligned),
            LayerForm::File | LayerForm::FileBuffered | LayerForm::Loop => Some(&self.tar),
        }
    }

    /// What writes layers that are directories.
    pub(crate) fn directory(&self) -> &dyn Snapshotter {
        &self.directory
    }

    /// What knows layers of this form.
    pub(crate) fn of(&self, form: &Form) -> &dyn Snapshotter {
        match form {
            Form::Directory => &self.directory,
            Form::Tar(_) => &self.tar,
            Form::Aligned(_) => &self.aligned,
        }
    }

    /// See [`Snapshotter::attach`].
    pub(crate) fn attach(&self, layer: &Path, form: &Form) -> Result<PathBuf> {
        self.of(form).attach(layer, form)
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
