//! The layer reader, whatever the bytes: the segments it reports are the archive, and its entries are written and read
//! again as the same.
#![no_main]

use std::cell::RefCell;

use havre_oci::layer::{Entry, Kind, Limits, Piece, Reader, Segment, encode_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let rebuilt = RefCell::new(Vec::new());
    let mut reader = Reader::new(bytes, Limits::default(), |segment| {
        if let Segment::Raw(raw) = segment {
            rebuilt.borrow_mut().extend_from_slice(raw);
        }
        Ok(())
    });
    let mut entry = Entry::default();
    let mut entries = Vec::new();
    loop {
        match reader.next_entry(&mut entry) {
            Ok(true) => entries.push(entry.clone()),
            Ok(false) => break,
            Err(_) => return,
        }
        let mut size = 0;
        let mut stored = 0;
        loop {
            match reader.next_piece() {
                Ok(Some(Piece::Data(chunk))) => {
                    rebuilt.borrow_mut().extend_from_slice(chunk);
                    size += chunk.len() as u64;
                    stored += chunk.len() as u64;
                }
                Ok(Some(Piece::Hole(len))) => {
                    assert!(len > 0);
                    size += len;
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert_eq!((size, stored), (entry.size, entry.stored_size()));
        assert!(size <= Limits::default().size);
    }
    for entry in &entries {
        again(entry);
    }
    if let Ok((_, length)) = reader.finish() {
        assert_eq!(length, bytes.len() as u64);
        assert_eq!(*rebuilt.borrow(), bytes);
    }
});

fn again(entry: &Entry) {
    for path in [&entry.path, &entry.target].into_iter().take(1 + usize::from(entry.kind == Kind::Hardlink)) {
        let fine = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        assert!(path.is_empty() || path.split(|byte| *byte == b'/').all(fine), "{entry:?}");
    }
    assert!(entry.mode <= 0o7777 && entry.mtime_nanos < 1_000_000_000, "{entry:?}");
    assert!(entry.kind == Kind::File || entry.size == 0, "{entry:?}");
    if let Some(pieces) = &entry.stored {
        assert!(pieces.windows(2).all(|pair| pair[0].offset + pair[0].len < pair[1].offset), "{entry:?}");
        assert!(pieces.iter().all(|piece| piece.len > 0 && piece.offset + piece.len <= entry.size), "{entry:?}");
    }
    // Written, it is a file like any other.
    let entry = &Entry { stored: None, ..entry.clone() };
    let mut header = Vec::new();
    encode_header(entry, &mut header);
    let mut reader = Reader::new(&header[..], Limits::default(), |_| Ok(()));
    let mut read = Entry::default();
    assert!(reader.next_entry(&mut read).expect("what was written can be read"));
    let sorted = |entry: &Entry| {
        let mut entry = entry.clone();
        entry.xattrs.sort();
        entry
    };
    assert_eq!(sorted(&read), sorted(entry));
}
