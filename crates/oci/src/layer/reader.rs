//! The archive reader.

use std::io::{self, Read};

use super::header::{self, BLOCK, Header};
use super::pax::Pax;
use super::sparse::{self, Lines, Stored};
use super::{Class, Entry, Kind, LayerError, Limits};

/// A piece of the archive, see the [module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    Raw(&'a [u8]),
    Payload { len: u64 },
}

/// A piece of a file's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes as they are, at least one.
    Data(&'a [u8]),
    /// So many zeros that are not stored, at least one.
    Hole(u64),
}

/// What holes are filled with.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Large enough that a decoder and a hasher work on full pieces, small enough to stay in the second-level cache.
const BUFFER: usize = 256 << 10;

/// Reads entries from an uncompressed archive, reporting its segments to `record`.
///
/// Understood are v7, POSIX (ustar and pax), GNU and star archives. After an error the reader must not be used again.
pub struct Reader<R, F> {
    input: R,
    record: F,
    limits: Limits,
    buffer: Box<[u8]>,
    /// The bytes of the buffer that were read but not consumed.
    start: usize,
    end: usize,
    /// Bytes consumed.
    position: u64,
    /// How far the current file was read, where what it stores there ends, and its size.
    at: u64,
    run: u64,
    size: u64,
    /// What a sparse file stores behind that, the next piece last.
    pieces: Vec<Stored>,
    /// Padding behind the payload.
    padding: usize,
    /// Bytes of all holes.
    holes: u64,
    entries: u64,
    ended: bool,
    plain: bool,
    // Extensions that apply to the next entry, and room to put them together; kept to be used again.
    pax: Pax,
    long_name: Vec<u8>,
    long_link: Vec<u8>,
    extension: Vec<u8>,
    name: Vec<u8>,
}

impl<R: Read, F: FnMut(Segment<'_>) -> io::Result<()>> Reader<R, F> {
    /// Reads `input` in large pieces; it needs no buffer of its own.
    pub fn new(input: R, limits: Limits, record: F) -> Self {
        Self {
            input,
            record,
            limits,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            position: 0,
            at: 0,
            run: 0,
            size: 0,
            pieces: Vec::new(),
            padding: 0,
            holes: 0,
            entries: 0,
            ended: false,
            plain: false,
            pax: Pax::default(),
            long_name: Vec::new(),
            long_link: Vec::new(),
            extension: Vec::new(),
            name: Vec::new(),
        }
    }

    /// Whether names have no meaning, as in archives that are no layers: a `.wh.x` is a file called so, with contents.
    pub fn with_plain_names(mut self, plain: bool) -> Self {
        self.plain = plain;
        self
    }

    /// Moves on to the next entry, skipping what was not read of the current one's payload. `false` at the end.
    pub fn next_entry(&mut self, entry: &mut Entry) -> Result<bool, LayerError> {
        self.skip_payload()?;
        self.pax.clear();
        self.long_name.clear();
        self.long_link.clear();
        loop {
            let offset = self.position;
            let Some(block) = self.header()? else {
                return Ok(false);
            };
            let header = Header(&block);
            if !header.checksum_matches() {
                return Err(LayerError::Header {
                    offset,
                    what: "wrong checksum",
                });
            }
            let size = header
                .number(header::SIZE)
                .and_then(|size| u64::try_from(size).ok());
            let size = size.ok_or(LayerError::Header {
                offset,
                what: "invalid size",
            })?;
            match header.flag() {
                b'x' => {
                    self.extension("extended header", size)?;
                    let (pax, data) = (&mut self.pax, &self.extension);
                    pax.read(data).map_err(|what| {
                        header.name_into(&mut self.name);
                        LayerError::Pax {
                            path: LayerError::show(&self.name),
                            what,
                        }
                    })?;
                }
                // Global headers carry comments (git archive); Docker ignores them as well.
                b'g' => self.extension("global extended header", size)?,
                b'L' => {
                    self.extension("long name", size)?;
                    take_text(&self.extension, &mut self.long_name);
                }
                b'K' => {
                    self.extension("long link name", size)?;
                    take_text(&self.extension, &mut self.long_link);
                }
                flag => {
                    self.entries += 1;
                    if self.entries > self.limits.entries {
                        return Err(LayerError::TooManyEntries {
                            limit: self.limits.entries,
                        });
                    }
                    self.fill_entry(entry, &header, flag, size, offset)?;
                    return Ok(true);
                }
            }
        }
    }

    /// The next piece of the current entry's contents, borrowed from the reader's buffer, holes filled with zeros; `None` when
    /// they are complete.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, LayerError> {
        Ok(self
            .advance(ZEROS.len() as u64, u64::MAX)?
            .map(|piece| match piece {
                Piece::Data(bytes) => bytes,
                Piece::Hole(len) => &ZEROS[..len as usize],
            }))
    }

    /// The next piece of the current entry's contents; `None` when they are complete.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, LayerError> {
        self.advance(u64::MAX, u64::MAX)
    }

    /// The next bytes of the current entry's contents, holes filled with zeros; 0 when they are complete.
    fn read_contents(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let most = buffer.len() as u64;
        Ok(match self.advance(most, most)? {
            None => 0,
            Some(Piece::Data(bytes)) => {
                buffer[..bytes.len()].copy_from_slice(bytes);
                bytes.len()
            }
            Some(Piece::Hole(len)) => {
                buffer[..len as usize].fill(0);
                len as usize
            }
        })
    }

    /// The next piece, a hole in parts of at most `hole` bytes, stored ones in parts of at most `data`.
    fn advance(&mut self, hole: u64, data: u64) -> Result<Option<Piece<'_>>, LayerError> {
        if self.at == self.run {
            if self.at == self.size {
                return Ok(None);
            }
            match self.pieces.last() {
                Some(piece) if piece.offset == self.at => {
                    self.run = self.at + piece.len;
                    self.pieces.pop();
                }
                next => {
                    let end = next.map_or(self.size, |piece| piece.offset);
                    let len = (end - self.at).min(hole);
                    self.at += len;
                    self.run = self.at;
                    return Ok(Some(Piece::Hole(len)));
                }
            }
        }
        if self.start == self.end && self.fill()? == 0 {
            return Err(LayerError::Truncated { what: "a file" });
        }
        let (available, left) = (self.end - self.start, (self.run - self.at).min(data));
        let len = usize::try_from(left).map_or(available, |left| left.min(available));
        let chunk = &self.buffer[self.start..self.start + len];
        self.start += len;
        self.position += len as u64;
        self.at += len as u64;
        Ok(Some(Piece::Data(chunk)))
    }

    /// The current entry's contents, holes filled with zeros.
    pub fn contents(&mut self) -> Contents<'_, R, F> {
        Contents(self)
    }

    /// How many bytes of the archive were consumed.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads what is left, to the end of the input, and gives the input back with the archive's length.
    pub fn finish(mut self) -> Result<(R, u64), LayerError> {
        let mut entry = Entry::default();
        while !self.ended && self.next_entry(&mut entry)? {}
        let mut trailer = 0;
        loop {
            if self.start == self.end && self.fill()? == 0 {
                return Ok((self.input, self.position));
            }
            let len = self.end - self.start;
            trailer += len as u64;
            if trailer > self.limits.trailer {
                let limit = self.limits.trailer;
                return Err(LayerError::Extension {
                    what: "data after the end",
                    size: trailer,
                    limit,
                });
            }
            self.consume_raw(len)?;
        }
    }

    /// Passes over what is left of the current entry's contents: what was read ahead is dropped, and `skip` is told how many
    /// bytes of the input to pass over.
    pub fn skip_contents(
        &mut self,
        skip: impl FnOnce(&mut R, u64) -> io::Result<()>,
    ) -> Result<(), LayerError> {
        let stored: u64 = self.pieces.drain(..).map(|piece| piece.len).sum();
        let left = self.run - self.at + stored;
        (self.at, self.run) = (self.size, self.size);
        let buffered = left.min((self.end - self.start) as u64);
        self.start += buffered as usize;
        if left > buffered {
            skip(&mut self.input, left - buffered).map_err(LayerError::Read)?;
        }
        self.position += left;
        Ok(())
    }

    fn skip_payload(&mut self) -> Result<(), LayerError> {
        while self.next_piece()?.is_some() {}
        let padding = std::mem::take(&mut self.padding);
        if padding > 0 {
            // Docker's client ends a context so when it puts in a Dockerfile from elsewhere: with the last file's last byte.
            let there = self.require(padding)?;
            self.consume_raw(there)?;
        }
        Ok(())
    }

    /// The next header block; `None` at the end of the archive: two zero blocks, or the end of the input.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, LayerError> {
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.block()? else {
            self.ended = true;
            return Ok(None);
        };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        let offset = self.position;
        if self.block()?.is_some_and(|second| second != [0; BLOCK]) {
            return Err(LayerError::Header {
                offset,
                what: "entry after a zero block",
            });
        }
        self.ended = true;
        Ok(None)
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerError> {
        match self.require(BLOCK)? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(LayerError::Truncated { what: "a header" }),
        }
        let mut block = [0; BLOCK];
        block.copy_from_slice(&self.buffer[self.start..self.start + BLOCK]);
        self.consume_raw(BLOCK)?;
        Ok(Some(block))
    }

    /// Reads data that describes rather than is a file into [`Self::extension`].
    fn extension(&mut self, what: &'static str, size: u64) -> Result<(), LayerError> {
        self.extension.clear();
        self.raw_data(what, size, true)
    }

    /// Consumes `size` bytes and their padding as raw segments.
    fn raw_data(&mut self, what: &'static str, size: u64, keep: bool) -> Result<(), LayerError> {
        let limit = self.limits.extension;
        if size > limit {
            return Err(LayerError::Extension { what, size, limit });
        }
        let mut left = size;
        let mut padded = size.next_multiple_of(BLOCK as u64);
        while padded > 0 {
            if self.start == self.end && self.fill()? == 0 {
                return Err(LayerError::Truncated { what });
            }
            let available = (self.end - self.start) as u64;
            let len = available.min(padded);
            let data = left.min(len);
            if keep {
                self.extension
                    .extend_from_slice(&self.buffer[self.start..self.start + data as usize]);
            }
            self.consume_raw(len as usize)?;
            left -= data;
            padded -= len;
        }
        Ok(())
    }

    fn fill_entry(
        &mut self,
        entry: &mut Entry,
        header: &Header<'_>,
        flag: u8,
        size: u64,
        offset: u64,
    ) -> Result<(), LayerError> {
        let invalid = |what| LayerError::Header { offset, what };
        if !self.pax.sparse.name.is_empty() {
            std::mem::swap(&mut self.name, &mut self.pax.sparse.name);
        } else if !self.long_name.is_empty() {
            std::mem::swap(&mut self.name, &mut self.long_name);
        } else if !self.pax.path.is_empty() {
            std::mem::swap(&mut self.name, &mut self.pax.path);
        } else {
            header.name_into(&mut self.name);
        }
        entry.kind = match flag {
            0 if self.name.ends_with(b"/") => Kind::Dir,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => {
                let number = |field, bits: u32| {
                    let number = if header.has_extended_fields() {
                        header.number(field)
                    } else {
                        Some(0)
                    };
                    number
                        .and_then(|n| u32::try_from(n).ok())
                        .filter(|n| n >> bits == 0)
                };
                let major = number(header::MAJOR, 12).ok_or(invalid("invalid device number"))?;
                let minor = number(header::MINOR, 20).ok_or(invalid("invalid device number"))?;
                if flag == b'3' {
                    Kind::Char { major, minor }
                } else {
                    Kind::Block { major, minor }
                }
            }
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            _ => {
                let path = LayerError::show(&self.name);
                return Err(LayerError::Type {
                    path,
                    flag: char::from(flag),
                });
            }
        };
        entry.set_path(&self.name, self.plain)?;
        entry.set_target(if !self.long_link.is_empty() {
            &self.long_link
        } else if !self.pax.link.is_empty() {
            &self.pax.link
        } else {
            header.text(header::LINK)
        })?;

        let id = |noted: Option<u32>, field| {
            noted.or_else(|| {
                let number = header.number(field)?;
                u32::try_from(number).ok().filter(|id| *id != u32::MAX)
            })
        };
        entry.uid = id(self.pax.uid, header::UID).ok_or(invalid("invalid user"))?;
        entry.gid = id(self.pax.gid, header::GID).ok_or(invalid("invalid group"))?;
        let mode = header.number(header::MODE).ok_or(invalid("invalid mode"))?;
        entry.mode = (mode & 0o7777) as u32;
        (entry.mtime, entry.mtime_nanos) = match self.pax.mtime {
            Some(time) => time,
            None => (header.number(header::MTIME).ok_or(invalid("invalid time"))?, 0),
        };
        entry.xattrs.clear();
        entry.xattrs.append(&mut self.pax.xattrs);

        // Only regular files are followed by data, whatever the headers of others say.
        let mut stored = if entry.kind == Kind::File {
            self.pax.size.unwrap_or(size)
        } else {
            0
        };
        entry.size = stored;
        entry.stored = None;
        if flag == b'S' || self.pax.sparse.any {
            let (size, map) = self.sparse(header, flag, &mut stored)?;
            self.holes = self.holes.saturating_add(size.saturating_sub(stored));
            (entry.size, entry.stored) = (size, Some(map));
        }
        let limit = self.limits.size;
        let end = self
            .position
            .checked_add(stored)
            .and_then(|end| end.checked_add(self.holes));
        if end.is_none_or(|end| end > limit) {
            return Err(LayerError::TooLarge { limit });
        }
        if entry.class == Class::Normal {
            (self.at, self.run, self.size) = (0, entry.size, entry.size);
            if let Some(map) = &entry.stored {
                self.run = 0;
                self.pieces.clear();
                self.pieces.extend(map.iter().rev());
            }
            self.padding = super::padding(stored).len();
            if stored > 0 {
                (self.record)(Segment::Payload { len: stored }).map_err(LayerError::Record)?;
            }
        } else {
            (entry.size, entry.stored) = (0, None);
            self.raw_data("contents of a whiteout", stored, false)?;
        }
        Ok(())
    }

    /// The size of a sparse file, and which pieces of it are the `stored` bytes that follow. A map that follows is read, and
    /// `stored` then is what is left.
    fn sparse(
        &mut self,
        header: &Header<'_>,
        flag: u8,
        stored: &mut u64,
    ) -> Result<(u64, Vec<Stored>), LayerError> {
        let path = LayerError::show(&self.name);
        let refused = |what| LayerError::Sparse {
            path: path.clone(),
            what,
        };
        let limit = self.limits.extension;
        let mut read = 0;
        let more = |read: &mut u64| {
            *read += BLOCK as u64;
            let what = "map of a sparse file";
            let size = *read;
            (size <= limit)
                .then_some(())
                .ok_or(LayerError::Extension { what, size, limit })
        };
        let mut numbers = std::mem::take(&mut self.pax.sparse.numbers);
        let size = if flag == b'S' {
            numbers.clear();
            if !header.is_gnu() {
                return Err(refused("only GNU archives have such entries"));
            }
            let mut follows = sparse::pairs(header.0, true, &mut numbers).map_err(refused)?;
            while follows {
                more(&mut read)?;
                let block = self.block()?.ok_or(LayerError::Truncated { what: "a header" })?;
                follows = sparse::pairs(&block, false, &mut numbers).map_err(refused)?;
            }
            sparse::real_size(header)
        } else {
            if !matches!(flag, b'0' | 0 | b'7') {
                return Err(refused("it is no file"));
            }
            if self.pax.sparse.is_map_in_contents().map_err(refused)? {
                numbers.clear();
                let mut lines = Lines::default();
                let mut complete = false;
                while !complete {
                    *stored = stored
                        .checked_sub(BLOCK as u64)
                        .ok_or_else(|| refused("its map is cut off"))?;
                    more(&mut read)?;
                    let block = self.block()?.ok_or(LayerError::Truncated { what: "a file" })?;
                    complete = lines.take(&block, &mut numbers).map_err(refused)?;
                }
            }
            self.pax.sparse.size
        };
        let size = size.ok_or_else(|| refused("its size is missing"))?;
        let pieces = sparse::pieces(&numbers, size, *stored).map_err(refused)?;
        Ok((size, pieces))
    }

    /// Reports `len` buffered bytes as raw and consumes them.
    fn consume_raw(&mut self, len: usize) -> Result<(), LayerError> {
        let bytes = &self.buffer[self.start..self.start + len];
        (self.record)(Segment::Raw(bytes)).map_err(LayerError::Record)?;
        self.start += len;
        self.position += len as u64;
        let limit = self.limits.size;
        if self.position > limit {
            Err(LayerError::TooLarge { limit })
        } else {
            Ok(())
        }
    }

    /// Makes `len` bytes available in one piece; fewer only at the end of the input. Returns how many there are, up to
    /// `len`.
    fn require(&mut self, len: usize) -> Result<usize, LayerError> {
        while self.end - self.start < len {
            if self.buffer.len() - self.start < len {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.fill()? == 0 {
                break;
            }
        }
        Ok((self.end - self.start).min(len))
    }

    /// Reads more into the buffer behind what is there. 0 at the end of the input.
    fn fill(&mut self) -> Result<usize, LayerError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(n) => {
                    self.end += n;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(LayerError::Read(e)),
            }
        }
    }
}

/// What is left of an entry's contents. What is not read is passed over by the reader.
pub struct Contents<'r, R, F>(&'r mut Reader<R, F>);

impl<R: Read, F: FnMut(Segment<'_>) -> io::Result<()>> Read for Contents<'_, R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.0.read_contents(buffer).map_err(|error| match error {
            LayerError::Read(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }
}

/// The text of a GNU long name, which ends with a zero byte.
fn take_text(data: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&data[..data.iter().position(|&b| b == 0).unwrap_or(data.len())]);
}
