//! JSON documents of a streamed answer.

use std::marker::PhantomData;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::call::broken;
use crate::error::CliError;

/// No single progress line or event is larger.
const MAX_LINE: usize = 16 << 20;

/// Reads documents separated by line ends (or by nothing, as some engines do).
pub(crate) struct JsonLines<T> {
    request: String,
    body: Incoming,
    buffer: Vec<u8>,
    ended: bool,
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    pub(super) fn new(request: String, body: Incoming) -> Self {
        Self {
            request,
            body,
            buffer: Vec::new(),
            ended: false,
            kind: PhantomData,
        }
    }

    /// The next document; `None` at the end. Safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, CliError> {
        loop {
            if let Some((document, used)) = self.take()? {
                self.buffer.drain(..used);
                return Ok(Some(document));
            }
            if self.ended {
                return match self.buffer.iter().all(u8::is_ascii_whitespace) {
                    true => Ok(None),
                    false => Err(self.protocol("the stream ends in the middle of a document".to_owned())),
                };
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(frame) => {
                    if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                    if self.buffer.len() > MAX_LINE {
                        return Err(self.protocol(format!("a document larger than {MAX_LINE} bytes")));
                    }
                }
            }
        }
    }

    fn take(&self) -> Result<Option<(T, usize)>, CliError> {
        let mut documents = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<T>();
        match documents.next() {
            None => Ok(None),
            Some(Ok(document)) => Ok(Some((document, documents.byte_offset()))),
            Some(Err(error)) if error.is_eof() => Ok(None),
            Some(Err(error)) => Err(self.protocol(error.to_string())),
        }
    }

    fn protocol(&self, reason: String) -> CliError {
        CliError::Protocol {
            request: self.request.clone(),
            reason,
        }
    }
}
