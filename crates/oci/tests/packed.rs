//! Compressing on several threads: one valid stream, and the same bytes whatever the threads did.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use havre_oci::Compression;
use havre_oci::compression::{self, CompressionError, Limits, Pool, packed};
use proptest::prelude::*;

/// Compressible and incompressible stretches, from a seed.
fn contents(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(length + 4096);
    while bytes.len() < length {
        let run = 1 + (random() % 3000) as usize;
        match random() % 4 {
            0 => bytes.extend((0..run).map(|_| random() as u8)),
            1 => bytes.extend(std::iter::repeat_n(random() as u8, run * 20)),
            2 => bytes.extend((0..run).map(|_| b"etaoin shrdlu"[(random() % 13) as usize])),
            _ => {
                let back = (random() as usize % 100_000).min(bytes.len());
                let from = bytes.len() - back;
                let end = (from + run).min(bytes.len());
                bytes.extend_from_within(from..end);
            }
        }
    }
    bytes.truncate(length);
    bytes
}

/// Gives its bytes in pieces of changing size.
struct Halting<'a> {
    bytes: &'a [u8],
    turn: usize,
}

impl Read for Halting<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.turn = (self.turn * 7 + 13) % 70_001;
        let length = buf.len().min(self.turn + 1).min(self.bytes.len());
        buf[..length].copy_from_slice(&self.bytes[..length]);
        self.bytes = &self.bytes[length..];
        Ok(length)
    }
}

fn pack(data: &[u8], compression: Compression, level: Option<i32>, threads: usize) -> Vec<u8> {
    let mut out = Vec::new();
    packed(data, compression, level, &Pool::new(threads))
        .unwrap()
        .read_to_end(&mut out)
        .unwrap();
    out
}

fn unpack(data: &[u8], compression: Compression) -> Vec<u8> {
    let mut out = Vec::new();
    compression::decoder(data, compression, Limits::default())
        .unwrap()
        .read_to_end(&mut out)
        .unwrap();
    out
}

/// What a program of the system makes of it; `None` where it isn't installed.
fn program(name: &str, input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(name)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{name} refuses it");
    Some(output.stdout)
}

#[test]
fn one_gzip_member() {
    for length in [0, 1, 511, 512 << 10, (512 << 10) + 1, 3_000_000] {
        let data = contents(length, length as u64);
        let bytes = pack(&data, Compression::Gzip, None, 3);
        assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
        // A decoder of a single member reads everything.
        let mut rest = &bytes[..];
        let mut out = Vec::new();
        flate2::bufread::GzDecoder::new(&mut rest)
            .read_to_end(&mut out)
            .unwrap();
        assert!(rest.is_empty(), "{length}: {} bytes follow", rest.len());
        assert!(out == data, "{length}");
    }
}

#[test]
fn programs_read_it() {
    let data = contents(5_000_000, 7);
    for (name, compression) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        for level in [None, Some(1), Some(9)] {
            let bytes = pack(&data, compression, level, 2);
            if let Some(out) = program(name, &bytes) {
                assert!(out == data, "{name} {level:?}");
            }
        }
        if let Some(out) = program(name, &pack(b"", compression, None, 2)) {
            assert!(out.is_empty());
        }
    }
}

#[test]
fn zstd_ends_with_its_table_of_frames() {
    let data = contents(9_000_000, 3);
    let bytes = pack(&data, Compression::Zstd, None, 2);
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let end = bytes.len();
    assert_eq!(number(end - 4), 0x8f92_eab1);
    let count = number(end - 9);
    assert_eq!(count, 9_000_000_usize.div_ceil(2 << 20));
    let table = end - 9 - count * 8;
    assert_eq!(
        (number(table - 8), number(table - 4)),
        (0x184d_2a5e, count * 8 + 9)
    );
    // The third frame by itself.
    let start: usize = (0..2).map(|frame| number(table + frame * 8)).sum();
    let (packed_size, size) = (number(table + 16), number(table + 20));
    let frame = unpack(&bytes[start..start + packed_size], Compression::Zstd);
    assert!(frame == data[4 << 20..(4 << 20) + size]);
}

#[test]
fn streams_share_a_pool() {
    let pool = Pool::new(2);
    let wanted: Vec<_> = (0..6u64)
        .map(|seed| pack(&contents(2_000_000, seed), Compression::Gzip, Some(1), 1))
        .collect();
    std::thread::scope(|scope| {
        for (seed, wanted) in wanted.iter().enumerate() {
            let pool = &pool;
            scope.spawn(move || {
                let data = contents(2_000_000, seed as u64);
                let mut out = Vec::new();
                packed(&data[..], Compression::Gzip, Some(1), pool)
                    .unwrap()
                    .read_to_end(&mut out)
                    .unwrap();
                assert!(out == *wanted);
            });
        }
    });
}

#[test]
fn a_dropped_stream_leaves_the_pool_usable() {
    let pool = Pool::new(2);
    let data = contents(4_000_000, 5);
    for _ in 0..20 {
        let mut stream = packed(&data[..], Compression::Gzip, None, &pool).unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
    }
    let mut out = Vec::new();
    packed(&data[..], Compression::Gzip, None, &pool)
        .unwrap()
        .read_to_end(&mut out)
        .unwrap();
    assert!(unpack(&out, Compression::Gzip) == data);
}

#[test]
fn the_reader_s_failure_is_told() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the disk is gone"));
            }
            self.0 -= 1;
            buf.fill(0);
            Ok(buf.len())
        }
    }
    let mut stream = packed(Failing(5), Compression::Gzip, None, &Pool::new(2)).unwrap();
    let error = io::copy(&mut stream, &mut io::sink()).unwrap_err();
    assert_eq!(error.to_string(), "the disk is gone");
}

#[test]
fn only_what_layers_are_compressed_with() {
    for compression in [Compression::None, Compression::Bzip2, Compression::Xz] {
        let error = packed(&b""[..], compression, None, &Pool::new(1)).unwrap_err();
        assert_eq!(
            CompressionError::of(&error),
            Some(&CompressionError::EncodeUnsupported(compression))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn same_bytes_and_round_trip(
        length in prop_oneof![0usize..4000, 0usize..3_000_000, Just(1 << 20), Just(2 << 20)],
        seed in any::<u64>(),
        level in 0..10,
        gzip in any::<bool>(),
        threads in 2usize..9,
    ) {
        let compression = if gzip { Compression::Gzip } else { Compression::Zstd };
        // Keeps the debug build quick: the highest levels crawl.
        let length = if level > 6 { length / 4 } else { length };
        let data = contents(length, seed);
        let one = pack(&data, compression, Some(level), 1);
        let mut several = Vec::new();
        packed(Halting { bytes: &data, turn: seed as usize % 1000 }, compression, Some(level), &Pool::new(threads))
            .unwrap()
            .read_to_end(&mut several)
            .unwrap();
        prop_assert!(one == several, "{compression:?} level {level} of {length} bytes differs with {threads} threads");
        prop_assert!(unpack(&one, compression) == data);
    }
}
