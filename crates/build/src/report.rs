//! Events in order, although stages run at the same time.
//!
//! Every stage has a lane. The first unfinished lane's events go out at once, those of later lanes wait until the lanes
//! before them are finished. Output is bounded per lane: a stage that wrote more than its share while it isn't its
//! turn waits, and so does one whose client reads slowly.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::event::{BuildEvent, Step, Stream};

/// Bytes of output a lane may hold back.
const BUDGET: usize = 4 << 20;

type Queued = (BuildEvent, Option<OwnedSemaphorePermit>);

#[derive(Default)]
struct Lane {
    waiting: Vec<Queued>,
    finished: bool,
}

struct Order {
    current: usize,
    lanes: Vec<Lane>,
}

struct Sequencer {
    order: Mutex<Order>,
    out: mpsc::UnboundedSender<Queued>,
}

/// One lane's way out. The lane is finished when it is dropped.
pub(crate) struct Reporter {
    sequencer: Arc<Sequencer>,
    lane: usize,
    budget: Arc<Semaphore>,
}

/// Lanes for a build, and what comes out of them.
pub(crate) fn lanes(count: usize) -> (Vec<Arc<Reporter>>, mpsc::UnboundedReceiver<Queued>) {
    let (out, receiver) = mpsc::unbounded_channel();
    let lanes = (0..count).map(|_| Lane::default()).collect();
    let sequencer = Arc::new(Sequencer {
        order: Mutex::new(Order { current: 0, lanes }),
        out,
    });
    let reporters = (0..count)
        .map(|lane| {
            let budget = Arc::new(Semaphore::new(BUDGET));
            Arc::new(Reporter {
                sequencer: Arc::clone(&sequencer),
                lane,
                budget,
            })
        })
        .collect();
    (reporters, receiver)
}

/// Hands events to the client until every lane is finished. A client that went away is no reason to stop.
pub(crate) async fn forward(
    mut receiver: mpsc::UnboundedReceiver<Queued>,
    events: &mpsc::Sender<BuildEvent>,
) {
    while let Some((event, permit)) = receiver.recv().await {
        let _ = events.send(event).await;
        drop(permit);
    }
}

impl Reporter {
    pub(crate) fn emit(&self, event: BuildEvent) {
        self.queue((event, None));
    }

    /// Blocks while the lane's share is used up. Only from blocking threads.
    pub(crate) fn output(&self, handle: &Handle, step: &Arc<Step>, stream: Stream, data: &[u8]) {
        for piece in data.chunks(64 << 10) {
            let need = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let permit = handle
                .block_on(Arc::clone(&self.budget).acquire_many_owned(need))
                .ok();
            let event = BuildEvent::Output {
                step: Arc::clone(step),
                stream,
                data: Bytes::copy_from_slice(piece),
            };
            self.queue((event, permit));
        }
    }

    fn queue(&self, queued: Queued) {
        let mut order = self
            .sequencer
            .order
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if order.current == self.lane {
            let _ = self.sequencer.out.send(queued);
        } else if let Some(lane) = order.lanes.get_mut(self.lane) {
            lane.waiting.push(queued);
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let mut order = self
            .sequencer
            .order
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let order = &mut *order;
        if let Some(lane) = order.lanes.get_mut(self.lane) {
            lane.finished = true;
        }
        while order.lanes.get(order.current).is_some_and(|lane| lane.finished) {
            order.current += 1;
            if let Some(lane) = order.lanes.get_mut(order.current) {
                for queued in lane.waiting.drain(..) {
                    let _ = self.sequencer.out.send(queued);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(text: &str) -> BuildEvent {
        BuildEvent::Warning {
            message: text.to_owned(),
        }
    }

    #[tokio::test]
    async fn lanes_come_out_one_after_the_other() {
        let (mut reporters, mut receiver) = lanes(3);
        let mut take = || {
            let mut seen = Vec::new();
            while let Ok((event, _)) = receiver.try_recv() {
                if let BuildEvent::Warning { message } = event {
                    seen.push(message);
                }
            }
            seen
        };
        let (third, second, first) = (
            reporters.pop().expect("third"),
            reporters.pop().expect("second"),
            reporters.pop().expect("first"),
        );
        third.emit(warning("3a"));
        first.emit(warning("1a"));
        second.emit(warning("2a"));
        assert_eq!(take(), ["1a"]);
        drop(second);
        first.emit(warning("1b"));
        assert_eq!(take(), ["1b"]);
        drop(first);
        assert_eq!(take(), ["2a", "3a"]);
        third.emit(warning("3b"));
        assert_eq!(take(), ["3b"]);
    }
}
