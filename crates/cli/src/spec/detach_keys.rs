//! The key sequence that leaves a container running.

use super::SpecError;

/// `ctrl-p,ctrl-q` unless told otherwise.
pub(crate) const DEFAULT: &str = "ctrl-p,ctrl-q";

/// A sequence of bytes to watch for in what is typed.
#[derive(Clone, Debug)]
pub(crate) struct DetachKeys {
    sequence: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// Reads `a`, `ctrl-a`, `ctrl-@`, joined by commas.
    pub(crate) fn parse(text: &str) -> Result<Self, SpecError> {
        let text = if text.is_empty() { DEFAULT } else { text };
        let mut sequence = Vec::new();
        for key in text.split(',') {
            let unknown = || {
                SpecError::value(format!(
                    "invalid detach keys ({text}): Unknown character: '{key}'"
                ))
            };
            let byte = match key.as_bytes() {
                [byte] => *byte,
                _ => match key.strip_prefix("ctrl-").map(str::as_bytes).ok_or_else(unknown)? {
                    [letter @ b'a'..=b'z'] => letter - b'a' + 1,
                    b"@" => 0,
                    b"[" => 27,
                    b"\\" => 28,
                    b"]" => 29,
                    b"^" => 30,
                    b"_" => 31,
                    _ => return Err(unknown()),
                },
            };
            sequence.push(byte);
        }
        Ok(Self { sequence, matched: 0 })
    }

    /// What of `typed` is for the container, and whether the sequence is complete. Part of a sequence is held back
    /// until the next key decides.
    pub(crate) fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte == self.sequence[self.matched] {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    self.matched = 0;
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.sequence[..self.matched]);
            self.matched = 0;
            if *byte == self.sequence[0] {
                self.matched = 1;
            } else {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_detaches_and_all_else_passes() {
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(keys.filter(b"ls\n"), (b"ls\n".to_vec(), false));
        assert_eq!(keys.filter(&[b'a', 16]), (b"a".to_vec(), false));
        assert_eq!(keys.filter(b"b"), (vec![16, b'b'], false));
        assert_eq!(keys.filter(&[16, 16, 17, b'x']), (vec![16], true));
        let mut single = DetachKeys::parse("ctrl-]").unwrap();
        assert_eq!(single.filter(&[b'a', 29]), (b"a".to_vec(), true));
    }

    #[test]
    fn unknown_keys_are_refused() {
        for wrong in ["ctrl-p,", "ctrl-", "ctrl-1", "shift-a", "ab"] {
            assert!(DetachKeys::parse(wrong).is_err(), "{wrong}");
        }
    }
}
