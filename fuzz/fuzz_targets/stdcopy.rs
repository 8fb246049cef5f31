//! The frame decoder gives the same frames however its input is cut. The first byte says how.
#![no_main]

use havre_api::stdcopy::{Decoder, Stream, encode};
use libfuzzer_sys::fuzz_target;

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<(Stream, u8)>, Option<bool>) {
    let mut decoder = Decoder::new();
    let mut output = Vec::new();
    for piece in pieces {
        let fed = decoder.feed(piece, |stream, payload| output.extend(payload.iter().map(|byte| (stream, *byte))));
        if fed.is_err() {
            return (output, None);
        }
    }
    (output, Some(decoder.is_complete()))
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = decode(std::iter::once(bytes));
    assert_eq!(whole, decode(bytes.chunks(usize::from(*cut) + 1)));
    // What came out goes in again.
    let mut wire = Vec::new();
    for (stream, byte) in &whole.0 {
        encode(*stream, &[*byte], &mut wire);
    }
    assert_eq!(decode(std::iter::once(&wire[..])), (whole.0, Some(true)));
});
