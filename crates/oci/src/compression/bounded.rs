//! Counting what goes in and stopping when too much comes out.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{CompressionError, Limits};

/// Counts the compressed bytes that a decoder took.
pub(super) struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R) -> (Self, Arc<AtomicU64>) {
        let count = Arc::new(AtomicU64::new(0));
        (
            Self {
                inner,
                count: Arc::clone(&count),
            },
            count,
        )
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Enforces [`Limits`] on what a decoder gives.
pub(super) struct Bounded<R> {
    inner: R,
    input: Arc<AtomicU64>,
    output: u64,
    limits: Limits,
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, input: Arc<AtomicU64>, limits: Limits) -> Self {
        Self {
            inner,
            input,
            output: 0,
            limits,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.output += n as u64;
        let Limits {
            output,
            ratio,
            ratio_from,
        } = self.limits;
        if self.output > output {
            return Err(CompressionError::Output { limit: output }.into());
        }
        if self.output > ratio_from {
            let input = self.input.load(Ordering::Relaxed);
            if self.output > input.saturating_mul(ratio) {
                return Err(CompressionError::Ratio { limit: ratio }.into());
            }
        }
        Ok(n)
    }
}
