//! `wait`

use super::{Containers, WaitCondition, Waiter};
use crate::Result;

impl Containers {
    /// Registered when this returns; see [`Waiter::outcome`].
    pub async fn wait(&self, name: &str, condition: WaitCondition) -> Result<Waiter> {
        Ok(Waiter {
            receiver: self.find(name)?.wait(condition),
        })
    }
}
