//! The layer reader: whatever the bytes, the recorded segments add up to what was read.
#![no_main]

use havre_oci::layer::{Entry, Limits, Reader, Segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut recorded = 0;
    let mut reader = Reader::new(bytes, Limits::default(), |segment| {
        recorded += match segment {
            Segment::Raw(raw) => raw.len() as u64,
            Segment::Payload { len } => len,
        };
        Ok(())
    });
    let mut entry = Entry::default();
    loop {
        match reader.next_entry(&mut entry) {
            Ok(true) => while matches!(reader.next_chunk(), Ok(Some(_))) {},
            Ok(false) => break,
            Err(_) => return,
        }
    }
    if let Ok((_, length)) = reader.finish() {
        assert_eq!(recorded, length);
    }
});
