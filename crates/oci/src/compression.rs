//! Compression of layers and archives: recognised by content, bounded when undone.

mod bounded;
mod encoder;
mod fast;
mod packed;
mod piece;
mod pool;

use std::io::{self, BufReader, Cursor, Read};

use bounded::{Bounded, Counted};
pub use encoder::{Encoder, encoder};
pub use packed::{Packed, packed};
pub use pool::Pool;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    /// Only undone, never made: `docker load`, `docker import` and `ADD` take it.
    Bzip2,
    /// Only undone, never made.
    Xz,
}

/// How many first bytes [`Compression::detect`] wants to see.
pub const DETECT_LEN: usize = 6;

/// Compressed bytes are read in pieces of this size.
const BUFFER: usize = 256 << 10;
/// The largest zstd window that is honoured, 2^27 = 128 MiB: what the `zstd` tool itself allows unasked.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// The memory an xz stream may ask for.
const XZ_MEMORY: u64 = 256 << 20;

/// How much may come out of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in total.
    pub output: u64,
    /// Bytes out per byte in, checked once more than [`ratio_from`](Self::ratio_from) bytes came out.
    pub ratio: u64,
    pub ratio_from: u64,
}

impl Default for Limits {
    /// 1 TiB in total; 200 times the input once past 128 MiB. Real layers stay below 30.
    fn default() -> Self {
        Self {
            output: 1 << 40,
            ratio: 200,
            ratio_from: 128 << 20,
        }
    }
}

/// Why a decoder stopped. It travels inside [`io::Error`]; [`CompressionError::of`] finds it there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    #[error("decompressed data exceeds the limit of {limit} bytes")]
    Output { limit: u64 },
    #[error(
        "decompressed data is more than {limit} times its compressed size: refusing a decompression bomb"
    )]
    Ratio { limit: u64 },
    #[error("cannot compress as {0:?}")]
    EncodeUnsupported(Compression),
}

impl CompressionError {
    /// The typed cause inside an I/O error of a decoder, if it is one of ours.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<CompressionError> for io::Error {
    fn from(error: CompressionError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl Compression {
    /// Recognises the compression of what starts with `head` (give at least [`DETECT_LEN`] bytes if there are as many).
    pub fn detect(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            // A frame, or a skippable frame in front of one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}

/// Undoes `compression`. Reads with large buffers of its own; read from it in large pieces.
///
/// All members of a gzip file and all frames of a zstd one are read, and checksums are verified. Truncated input is an
/// error ([`io::ErrorKind::UnexpectedEof`]).
pub fn decoder<'a, R: Read + Send + 'a>(
    reader: R,
    compression: Compression,
    limits: Limits,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let (counted, count) = Counted::new(reader);
    if compression == Compression::None {
        return Ok(Box::new(Bounded::new(
            counted,
            count,
            Limits {
                ratio: u64::MAX,
                ..limits
            },
        )));
    }
    let input = BufReader::with_capacity(BUFFER, counted);
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(Bounded::new(
            flate2::bufread::MultiGzDecoder::new(input),
            count,
            limits,
        )),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(Bounded::new(decoder, count, limits))
        }
        Compression::Bzip2 => Box::new(Bounded::new(
            bzip2::bufread::MultiBzDecoder::new(input),
            count,
            limits,
        )),
        Compression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(Bounded::new(
                liblzma::bufread::XzDecoder::new_stream(input, stream),
                count,
                limits,
            ))
        }
    })
}

/// Looks at the first bytes and undoes what they show.
pub fn detecting_decoder<'a, R: Read + Send + 'a>(
    mut reader: R,
    limits: Limits,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut head = Vec::with_capacity(DETECT_LEN);
    reader.by_ref().take(DETECT_LEN as u64).read_to_end(&mut head)?;
    let compression = Compression::detect(&head);
    Ok((
        compression,
        decoder(Cursor::new(head).chain(reader), compression, limits)?,
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use proptest::prelude::*;

    fn compress(data: &[u8], compression: Compression) -> Vec<u8> {
        let mut encoder = encoder(Vec::new(), compression, None).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn expand(data: &[u8], limits: Limits) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        detecting_decoder(data, limits)?.1.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn foreign_formats() {
        // `printf 'hello\n' | bzip2 -c` and `| xz -c`
        let bzip2 = b"BZh91AY&SY\xc1\xc0\x80\xe2\x00\x00\x01\x41\x00\x00\x10\x02\x44\xa0\x00\x30\xcd\x00\xc3\x46\x29\x97\x17\x72\x45\x38\x50\x90\xc1\xc0\x80\xe2";
        assert_eq!(expand(bzip2, Limits::default()).unwrap(), b"hello\n");
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&b"hello\n"[..], 6)
            .read_to_end(&mut xz)
            .unwrap();
        assert_eq!(Compression::detect(&xz), Compression::Xz);
        assert_eq!(expand(&xz, Limits::default()).unwrap(), b"hello\n");
        assert!(encoder(Vec::new(), Compression::Xz, None).is_err());
    }

    #[test]
    fn detection() {
        assert_eq!(Compression::detect(b""), Compression::None);
        assert_eq!(Compression::detect(b"\x1f\x8b"), Compression::None);
        assert_eq!(Compression::detect(b"BZh0"), Compression::None);
        assert_eq!(
            Compression::detect(b"\x50\x2a\x4d\x18\x04\x00"),
            Compression::Zstd
        );
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let both = [compress(b"one ", compression), compress(b"two", compression)].concat();
            assert_eq!(
                expand(&both, Limits::default()).unwrap(),
                b"one two",
                "{compression:?}"
            );
        }
    }

    #[test]
    fn truncation_is_an_error() {
        let data: Vec<u8> = (0..100_000u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        for compression in [Compression::Gzip, Compression::Zstd] {
            let whole = compress(&data, compression);
            for len in [10, whole.len() / 2, whole.len() - 1] {
                let error = expand(&whole[..len], Limits::default()).unwrap_err();
                assert_eq!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof,
                    "{compression:?} {len}: {error}"
                );
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let mut gzip = compress(&[b'x'; 5000], Compression::Gzip);
        let crc = gzip.len() - 8;
        gzip[crc] ^= 1;
        assert!(expand(&gzip, Limits::default()).is_err());
    }

    #[test]
    fn gzip_is_deterministic() {
        let gzip = compress(b"hello", Compression::Gzip);
        assert_eq!(gzip, compress(b"hello", Compression::Gzip));
        assert_eq!(
            gzip[..10],
            [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
            "no time, no name"
        );
    }

    #[test]
    fn a_gibibyte_of_zeros_in_a_mebibyte_is_refused() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut encoder = encoder(Vec::new(), compression, None).unwrap();
            let zeros = vec![0; 1 << 20];
            for _ in 0..1024 {
                encoder.write_all(&zeros).unwrap();
            }
            let bomb = encoder.finish().unwrap();
            assert!(bomb.len() < 2 << 20);
            let mut out = detecting_decoder(&bomb[..], Limits::default()).unwrap().1;
            let error = io::copy(&mut out, &mut io::sink()).unwrap_err();
            assert_eq!(
                CompressionError::of(&error),
                Some(&CompressionError::Ratio { limit: 200 })
            );
        }
    }

    #[test]
    fn output_is_bounded_exactly() {
        let limits = |output| Limits {
            output,
            ..Limits::default()
        };
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let data = compress(&[b'a'; 1000], compression);
            assert_eq!(expand(&data, limits(1000)).unwrap().len(), 1000);
            let error = expand(&data, limits(999)).unwrap_err();
            assert_eq!(
                CompressionError::of(&error),
                Some(&CompressionError::Output { limit: 999 })
            );
        }
    }

    proptest! {
        #[test]
        fn round_trip(data in proptest::collection::vec(any::<u8>(), 0..5000), which in 0..3) {
            let compression = [Compression::None, Compression::Gzip, Compression::Zstd][which as usize];
            let packed = compress(&data, compression);
            let mut out = Vec::new();
            decoder(&packed[..], compression, Limits::default()).unwrap().read_to_end(&mut out).unwrap();
            prop_assert_eq!(out, data);
        }

        #[test]
        fn garbage_never_panics(data in proptest::collection::vec(any::<u8>(), 0..300), which in 0..4) {
            let head: &[u8] = [&b"\x1f\x8b\x08"[..], b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0"][which as usize];
            let _ = expand(&[head, &data].concat(), Limits { output: 1 << 20, ..Limits::default() });
        }
    }
}
