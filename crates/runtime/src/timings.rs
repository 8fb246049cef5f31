//! Where the time of one operation goes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Takes the times of an operation's stages, on whatever threads they run; or nothing, when nobody asked.
#[derive(Clone, Debug, Default)]
pub struct Timings(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    begin: Instant,
    stages: Mutex<Vec<Stage>>,
}

/// A part of an operation. Stages may lie within others and beside each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What was done, in lower case.
    pub name: &'static str,
    /// From the operation's beginning to the stage's.
    pub after: Duration,
    /// How long it took.
    pub took: Duration,
}

impl Timings {
    /// Takes times, beginning now.
    pub fn on() -> Self {
        Self(Some(Arc::new(Recorder {
            begin: Instant::now(),
            stages: Mutex::default(),
        })))
    }

    /// Takes none.
    pub fn off() -> Self {
        Self(None)
    }

    /// Does `work` as a stage.
    pub fn stage<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let Some(recorder) = &self.0 else {
            return work();
        };
        let began = Instant::now();
        let result = work();
        recorder
            .stages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Stage {
                name,
                after: began.duration_since(recorder.begin),
                took: began.elapsed(),
            });
        result
    }

    /// What was taken so far, in the order of beginning, the longer first of those that begin together.
    pub fn stages(&self) -> Vec<Stage> {
        let Some(recorder) = &self.0 else {
            return Vec::new();
        };
        let mut stages = recorder
            .stages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        stages.sort_by_key(|stage| (stage.after, std::cmp::Reverse(stage.took)));
        stages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_come_in_order_of_beginning_with_what_is_within_after() {
        let timings = Timings::on();
        let value = timings.stage("all", || {
            std::thread::scope(|scope| {
                let other = scope.spawn(|| timings.stage("beside", || 1));
                other.join().unwrap() + timings.stage("within", || 2)
            })
        });
        assert_eq!(value, 3);
        let names: Vec<_> = timings.stages().iter().map(|stage| stage.name).collect();
        assert_eq!(names, ["all", "beside", "within"]);
        let [all, _, within] = &timings.stages()[..] else {
            panic!()
        };
        assert!(within.after + within.took <= all.after + all.took);
    }

    #[test]
    fn nothing_is_taken_when_off() {
        let timings = Timings::off();
        assert_eq!(timings.stage("work", || 5), 5);
        assert!(timings.stages().is_empty());
    }
}
