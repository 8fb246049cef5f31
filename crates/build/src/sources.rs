//! Images named as cache sources (`--cache-from`): their history says by which steps their layers came to be, so a step
//! that the next line of such a history describes is done already. As in Docker's classic builder, the images are those
//! that are here; nothing is pulled for it.

use havre_oci::{Digest, History, ImageConfig};
use jiff::Timestamp;

use crate::state::State;

/// The images, in the order they were named.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

#[derive(Debug)]
struct Source {
    layers: Vec<Digest>,
    history: Vec<History>,
}

/// A step that an image has behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// The layers after it.
    pub(crate) layers: Vec<Digest>,
    pub(crate) created: Timestamp,
}

impl Sources {
    pub(crate) fn add(&mut self, config: ImageConfig) {
        self.0.push(Source {
            layers: config.rootfs.diff_ids,
            history: config.history,
        });
    }

    /// Looks for an image that came to be by the steps of `state` and then by the one that its history would call
    /// `created_by`. That text names everything a step depends on but what came before: of a copy the digest of its
    /// files, of a command its arguments.
    pub(crate) fn find(&self, state: &State, created_by: &str) -> Option<Done> {
        self.0.iter().find_map(|source| source.next(state, created_by))
    }
}

impl Source {
    fn next(&self, state: &State, created_by: &str) -> Option<Done> {
        let past = &state.config.history;
        let (same, rest) = self.history.split_at_checked(past.len())?;
        let alike =
            |(a, b): (&History, &History)| a.created_by == b.created_by && a.empty_layer == b.empty_layer;
        let next = rest.first().filter(|next| next.created_by == created_by)?;
        if !self.layers.starts_with(&state.layers) || !same.iter().zip(past).all(alike) {
            return None;
        }
        let mut layers = state.layers.clone();
        if !next.empty_layer {
            layers.push(self.layers.get(layers.len())?.clone());
        }
        Some(Done {
            layers,
            created: next.created.unwrap_or_else(Timestamp::now),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use havre_oci::Platform;

    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::sha256_of(text.as_bytes())
    }

    fn config(steps: &[(&str, bool)]) -> ImageConfig {
        let mut config = ImageConfig::new(&Platform::host());
        for (created_by, empty_layer) in steps {
            if !empty_layer {
                config.rootfs.diff_ids.push(digest(created_by));
            }
            config.history.push(History {
                created: Some(Timestamp::UNIX_EPOCH),
                author: String::new(),
                created_by: (*created_by).to_owned(),
                comment: String::new(),
                empty_layer: *empty_layer,
            });
        }
        config
    }

    fn state(steps: &[(&str, bool)]) -> State {
        let config = config(steps);
        State {
            layers: config.rootfs.diff_ids.clone(),
            config,
            key: digest("key"),
            base: digest("base"),
            args: BTreeMap::new(),
            cmd_set: false,
            image: None,
            changed: false,
        }
    }

    #[test]
    fn what_the_history_says_next_is_done() {
        let mut sources = Sources::default();
        sources.add(config(&[("base", false), ("RUN other", false)]));
        sources.add(config(&[
            ("base", false),
            ("ENV", true),
            ("RUN a", false),
            ("COPY b", false),
        ]));
        let layers = |done: Option<Done>| done.map(|done| done.layers);
        let begun = state(&[("base", false)]);
        assert_eq!(layers(sources.find(&begun, "ENV")), Some(vec![digest("base")]));
        assert_eq!(
            layers(sources.find(&begun, "RUN a")),
            None,
            "something lies between"
        );
        let further = state(&[("base", false), ("ENV", true), ("RUN a", false)]);
        assert_eq!(
            layers(sources.find(&further, "COPY b")),
            Some(vec![digest("base"), digest("RUN a"), digest("COPY b")])
        );
        assert_eq!(layers(sources.find(&further, "COPY c")), None);
        // The same words on other layers are another step.
        let mut elsewhere = state(&[("base", false), ("ENV", true), ("RUN a", false)]);
        elsewhere.layers[1] = digest("made anew");
        assert_eq!(layers(sources.find(&elsewhere, "COPY b")), None);
        let complete = state(&[
            ("base", false),
            ("ENV", true),
            ("RUN a", false),
            ("COPY b", false),
        ]);
        assert_eq!(layers(sources.find(&complete, "anything")), None);
    }
}
