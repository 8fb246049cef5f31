//! Layer archives: a reader for tar files nobody vouches for, and a deterministic writer.
//!
//! ```
//! # fn main() -> Result<(), havre_oci::layer::LayerError> {
//! use havre_oci::layer::{Entry, Limits, Reader, Segment};
//! # let tar: &[u8] = &[0; 1024];
//! let mut recipe = Vec::new();
//! let mut reader = Reader::new(tar, Limits::default(), |segment: Segment<'_>| {
//!     if let Segment::Raw(bytes) = segment { recipe.extend_from_slice(bytes) }
//!     Ok(())
//! });
//! let mut entry = Entry::default();            // buffers are reused from entry to entry
//! while reader.next_entry(&mut entry)? {
//!     while let Some(_chunk) = reader.next_chunk()? { /* write it */ }
//! }
//! reader.finish()?;                            // reads to the end of the input: needed for its digest
//! # Ok(())
//! # }
//! ```
//!
//! **Segments.** In order and without gaps, the segments are the archive: `Raw` bytes as they are, and for every
//! `Payload { len }` the `len` stored bytes of the entry that [`Reader::next_entry`] returns next. Only regular files that are
//! no whiteouts have a payload segment (also of length 0: none is reported then); whatever data other entries carry is raw.
//!
//! **Sparse files** have [`Entry::stored`]. [`Reader::next_piece`] tells holes from what is stored, [`Reader::next_chunk`] fills
//! them with zeros. The writer writes every byte.

mod entry;
mod error;
mod header;
mod limits;
mod path;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use entry::{Class, Entry, Kind};
pub use error::LayerError;
pub use limits::Limits;
pub use reader::{Contents, Piece, Reader, Segment};
pub use sparse::Stored;
pub use writer::{TarWriter, encode_header, padding};
