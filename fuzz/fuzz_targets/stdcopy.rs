//! The frame decoder gives the same frames however its input is cut.
#![no_main]

use havre_api::stdcopy::Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (cut, bytes) = input;
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut decoder = Decoder::new();
        let mut output = Vec::new();
        for piece in pieces {
            if decoder.feed(piece, |stream, payload| output.extend(payload.iter().map(|byte| (stream as u8, *byte)))).is_err() {
                return None;
            }
        }
        Some(output)
    };
    let whole = read(&mut std::iter::once(bytes.as_slice()));
    let pieces = read(&mut bytes.chunks(usize::from(cut) + 1));
    if let (Some(whole), Some(pieces)) = (whole, pieces) {
        assert_eq!(whole, pieces);
    }
});
