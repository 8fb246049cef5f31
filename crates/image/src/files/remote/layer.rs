//! A layer of a registry as a tree, read as far as somebody wants to know.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use fs_err as fs;
use havre_oci::compression::{self, Compression};
use havre_oci::layer::{self, Class, Entry, Kind, LayerError, Segment, Stored};
use havre_oci::{Digest, Digester};
use havre_store::{ApplyError, LayerTree, Outline, Store};

use super::blob::{Blob, Part, Whole, Windows, unwrapped};
use super::toc::{Place, Table, TocError};
use crate::ImageError;

/// A blob no larger than this is read whole: that costs no more than to look for something in it.
const SMALL: u64 = 64 << 10;
/// Contents of an archive are asked for to have the next header sooner, unless there are more of them than this.
const NEAR: u64 = 256 << 10;

/// Told how many bytes of a layer were read, and how many it has.
pub type Watch<'a> = dyn FnMut(u64, u64) -> Result<(), ImageError> + 'a;

/// A layer that is not in the store.
pub(crate) struct RemoteLayer {
    store: Arc<Store>,
    blob: Blob,
    form: Form,
    outline: Outline,
    complete: bool,
    /// Of what is known; made when it is asked for.
    tree: Option<Arc<LayerTree>>,
    /// Entries that are known.
    seen: u64,
    /// An archive that was read that far.
    scan: Option<Scan>,
    /// Of contents, by their addresses, if they were asked for.
    digests: HashMap<u64, Digest>,
    /// Contents that were put aside while the archive went by.
    kept: Option<Kept>,
}

impl std::fmt::Debug for RemoteLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RemoteLayer").field(&self.blob).finish()
    }
}

/// How it is read.
enum Form {
    /// Nobody has looked.
    Unknown,
    /// By its table of contents: where files are, by their addresses, and where the last ends.
    Table {
        compression: Compression,
        windows: Arc<Mutex<Windows>>,
        places: HashMap<u64, Place>,
        /// Where contents begin, in order.
        offsets: Vec<u64>,
        end: u64,
    },
    /// An archive that is not compressed, in parts; with the maps of its sparse files.
    Parts {
        windows: Arc<Mutex<Windows>>,
        sparse: HashMap<u64, Vec<Stored>>,
    },
    /// From its beginning.
    Stream,
}

type Recorder = fn(Segment<'_>) -> io::Result<()>;
type Archive = layer::Reader<Input, Recorder>;

/// An archive on its way.
struct Scan {
    archive: Archive,
    /// To be verified at its end.
    whole: Option<Whole>,
    entry: Entry,
    /// The address of contents that come next.
    at: Option<u64>,
    /// Entries that went by.
    passed: u64,
}

enum Input {
    Part(Part),
    Stream(Box<dyn Read + Send>),
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Part(part) => part.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

/// Contents that will be wanted: those of files beneath a path.
struct Kept {
    beneath: Vec<u8>,
    file: Arc<fs::File>,
    end: u64,
    /// Where they are in the file, by their addresses.
    places: HashMap<u64, u64>,
}

/// The contents of a file.
pub(crate) struct Contents {
    layer: Digest,
    size: u64,
    reader: Box<dyn Read + Send>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Contents {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Contents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            io::Error::other(unwrapped(error, |error| ImageError::RemoteLayer {
                digest: self.layer.clone(),
                reason: error.to_string(),
            }))
        })
    }
}

/// What reading the archive is for.
#[derive(Default)]
pub(crate) struct Aim<'a> {
    /// When this is known, the rest doesn't matter.
    pub(crate) path: Option<&'a [u8]>,
    /// The digests of contents are wanted.
    pub(crate) digests: bool,
    /// Contents beneath this path are wanted.
    pub(crate) keep: Option<&'a [u8]>,
}

/// Whether an entry settles what is at `path`: it is that, or on the way to it and no directory.
fn settles(entry: &Entry, path: &[u8]) -> bool {
    let on_the_way = match path.strip_prefix(entry.path.as_slice()) {
        Some([]) | Some([b'/', ..]) => true,
        Some(_) => entry.path.is_empty(),
        None => false,
    };
    on_the_way && entry.class == Class::Normal && entry.kind != Kind::Dir
}

fn is_beneath(path: &[u8], root: &[u8]) -> bool {
    root.is_empty()
        || path
            .strip_prefix(root)
            .is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

impl RemoteLayer {
    pub(super) fn new(store: Arc<Store>, blob: Blob) -> Self {
        Self {
            store,
            blob,
            form: Form::Unknown,
            outline: Outline::default(),
            complete: false,
            tree: None,
            seen: 0,
            scan: None,
            digests: HashMap::new(),
            kept: None,
        }
    }

    /// What ends its reading while it is set, without the lock that a reader holds.
    pub(crate) fn unwanted(&self) -> Arc<AtomicBool> {
        Arc::clone(self.blob.unwanted())
    }

    /// Begins anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(Arc::clone(&self.store), self.blob.clone());
    }

    /// All there is known of it so far.
    pub(crate) fn tree(&mut self) -> Result<Arc<LayerTree>, ImageError> {
        let tree = match self.tree.take() {
            Some(tree) => tree,
            None => {
                let outline = match self.complete {
                    true => std::mem::take(&mut self.outline),
                    false => self.outline.clone(),
                };
                let made = self.store.layers().outline(outline);
                Arc::new(made.map_err(|error| self.applied(error))?)
            }
        };
        Ok(Arc::clone(self.tree.insert(tree)))
    }

    /// The digest of a file's contents, which were asked for when the layer was read.
    pub(crate) fn digest(&mut self, path: &[u8]) -> Result<Option<Digest>, ImageError> {
        Ok(match self.tree()?.address(path)? {
            None => None,
            Some((_, 0)) => Some(Digest::sha256_of(b"")),
            Some((address, _)) => match &self.form {
                Form::Table { places, .. } => places.get(&address).map(|place| place.digest.clone()),
                _ => self.digests.get(&address).cloned(),
            },
        })
    }

    /// Reads on until what `aim` is at is known, or all is.
    pub(crate) fn advance(&mut self, aim: &Aim<'_>, watch: &mut Watch<'_>) -> Result<(), ImageError> {
        if let Some(path) = aim.keep
            && self.kept.as_ref().is_none_or(|kept| kept.beneath != path)
        {
            self.kept = Some(Kept {
                beneath: path.to_vec(),
                file: Arc::new(self.store.layers().scratch()?),
                end: 0,
                places: HashMap::new(),
            });
        }
        if self.complete {
            return Ok(());
        }
        if matches!(self.form, Form::Unknown) {
            self.look()?;
            if self.complete {
                return Ok(());
            }
        }
        let mut scan = match self.scan.take() {
            Some(scan) => scan,
            None => self.open()?,
        };
        let total = self.blob.size();
        loop {
            if scan.at.take().is_some() {
                match scan.entry.size {
                    size if size > NEAR && matches!(self.form, Form::Parts { .. }) && !aim.digests => {
                        let skipped = scan.archive.skip_contents(|input, bytes| match input {
                            Input::Part(part) => {
                                part.skip(bytes);
                                Ok(())
                            }
                            Input::Stream(stream) => {
                                io::copy(&mut stream.take(bytes), &mut io::sink()).map(drop)
                            }
                        });
                        skipped.map_err(|error| self.failed(error))?;
                    }
                    _ => {
                        while scan
                            .archive
                            .next_chunk()
                            .map_err(|error| self.failed(error))?
                            .is_some()
                        {
                            watch(self.blob.read(), total)?;
                        }
                    }
                }
            }
            if !scan
                .archive
                .next_entry(&mut scan.entry)
                .map_err(|error| self.failed(error))?
            {
                let Scan { archive, whole, .. } = scan;
                if !matches!(self.form, Form::Parts { .. }) {
                    archive.finish().map_err(|error| self.failed(error))?;
                }
                if let Some(whole) = whole {
                    whole
                        .verify()
                        .map_err(|error| unwrapped(error, |error| self.broken(&error)))?;
                }
                watch(self.blob.read(), total)?;
                self.complete = true;
                self.tree = None;
                return Ok(());
            }
            scan.passed += 1;
            let address = scan.archive.position();
            let has_contents =
                scan.entry.kind == Kind::File && scan.entry.class == Class::Normal && scan.entry.size > 0;
            if has_contents {
                scan.at = Some(address);
            }
            if scan.passed > self.seen {
                self.seen = scan.passed;
                self.tree = None;
                self.outline
                    .add(&scan.entry, address)
                    .map_err(|error| self.applied(error))?;
                if let (Form::Parts { sparse, .. }, Some(stored)) = (&mut self.form, &scan.entry.stored) {
                    sparse.insert(address, stored.clone());
                }
            }
            if has_contents {
                self.take_contents(&mut scan, address, aim.digests)?;
            }
            watch(self.blob.read(), total)?;
            if aim.path.is_some_and(|path| settles(&scan.entry, path)) {
                self.scan = Some(scan);
                return Ok(());
            }
        }
    }

    /// Puts contents aside, or hashes them, if they are wanted.
    fn take_contents(&mut self, scan: &mut Scan, address: u64, digests: bool) -> Result<(), ImageError> {
        let keep = match &self.kept {
            // In parts they can be had at any time.
            Some(kept) => is_beneath(&scan.entry.path, &kept.beneath) && matches!(self.form, Form::Stream),
            None => false,
        };
        if !digests && !keep {
            return Ok(());
        }
        scan.at = None;
        let mut digester = Digester::sha256();
        let start = self.kept.as_ref().map_or(0, |kept| kept.end);
        let mut end = start;
        while let Some(piece) = scan.archive.next_chunk().map_err(|error| self.failed(error))? {
            if digests {
                digester.update(piece);
            }
            if keep && let Some(kept) = &self.kept {
                kept.file
                    .file()
                    .write_all_at(piece, end)
                    .map_err(ImageError::Input)?;
                end += piece.len() as u64;
            }
        }
        if digests {
            self.digests.insert(address, digester.finish());
        }
        if keep && let Some(kept) = &mut self.kept {
            kept.places.insert(address, start);
            kept.end = end;
        }
        Ok(())
    }

    /// Finds out how it can be read.
    fn look(&mut self) -> Result<(), ImageError> {
        self.form = Form::Stream;
        if self.blob.size() <= SMALL {
            return Ok(());
        }
        let table = Table::of(&self.blob.descriptor);
        let hint = havre_oci::media_type::layer_compression(&self.blob.descriptor.media_type);
        if table.is_none() && hint != Some(Compression::None) {
            return Ok(());
        }
        let mut windows = Windows::new(self.blob.clone());
        let started = windows.begin();
        let compression = match started.map_err(|error| unwrapped(error, |error| self.broken(&error)))? {
            Some(head) => Compression::detect(head),
            None => return Ok(()),
        };
        let windows = Arc::new(Mutex::new(windows));
        match table {
            Some(table) if table.compression() == compression => self.read_table(&table, windows),
            _ if compression == Compression::None => {
                self.form = Form::Parts {
                    windows,
                    sparse: HashMap::new(),
                };
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_table(&mut self, table: &Table, windows: Arc<Mutex<Windows>>) -> Result<(), ImageError> {
        let mut outline = Outline::default();
        let mut places = HashMap::new();
        let mut next = 512_u64;
        let part = |from: u64, end: u64| -> Box<dyn Read + Send> {
            Box::new(Part {
                windows: Arc::clone(&windows),
                position: from,
                end,
                wanted: end - from,
            })
        };
        let mut each = |entry: &Entry, place: Option<Place>| {
            let address = next;
            if let Some(place) = place {
                next = next
                    .checked_add(entry.size)
                    .and_then(|end| end.checked_next_multiple_of(512))
                    .filter(|end| *end < 1 << 40)
                    .ok_or(LayerError::TooLarge { limit: 1 << 40 })?;
                places.insert(address, place);
            }
            outline.add(entry, address).map_err(|error| TocError::Wrong {
                path: String::from_utf8_lossy(&entry.path).into_owned(),
                what: match error {
                    ApplyError::Limit { .. } => "there are too many entries",
                    ApplyError::DanglingHardLink { .. } => "it is a hard link to nothing",
                    _ => "it cannot be there",
                },
            })
        };
        let end = table
            .read(self.blob.size(), &part, &mut each)
            .map_err(|error| match error {
                TocError::Read(error) => unwrapped(error, |error| self.broken(&error)),
                error => self.broken(&error),
            })?;
        let mut offsets: Vec<u64> = places.values().map(|place| place.offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        self.outline = outline;
        self.tree = None;
        self.complete = true;
        self.form = Form::Table {
            compression: table.compression(),
            windows,
            places,
            offsets,
            end,
        };
        Ok(())
    }

    /// The archive from its beginning; what is known of it goes by again.
    fn open(&self) -> Result<Scan, ImageError> {
        let (input, whole) = match &self.form {
            Form::Parts { windows, .. } => {
                let part = Part {
                    windows: Arc::clone(windows),
                    position: 0,
                    end: self.blob.size(),
                    wanted: 0,
                };
                (Input::Part(part), None)
            }
            _ => {
                let whole = self.blob.whole();
                let limits = compression::Limits::default();
                let (_, plain) = compression::detecting_decoder(whole.clone(), limits)
                    .map_err(|error| unwrapped(error, |error| self.broken(&error)))?;
                (Input::Stream(plain), Some(whole))
            }
        };
        let record: Recorder = |_| Ok(());
        Ok(Scan {
            archive: layer::Reader::new(input, layer::Limits::default(), record),
            whole,
            entry: Entry::default(),
            at: None,
            passed: 0,
        })
    }

    /// The contents of the regular file at `path`; [`None`] if there is none.
    pub(crate) fn contents(&mut self, path: &[u8]) -> Result<Option<Contents>, ImageError> {
        let Some((address, size)) = self.tree()?.address(path)? else {
            return Ok(None);
        };
        let reader: Box<dyn Read + Send> = match size {
            0 => Box::new(io::empty()),
            _ => self.at(address, size)?,
        };
        Ok(Some(Contents {
            layer: self.blob.descriptor.digest.clone(),
            size,
            reader,
        }))
    }

    fn at(&mut self, address: u64, size: u64) -> Result<Box<dyn Read + Send>, ImageError> {
        if let Form::Table {
            compression,
            windows,
            places,
            offsets,
            end,
        } = &self.form
        {
            let place = places.get(&address).ok_or(ImageError::Interrupted)?;
            let next = offsets.partition_point(|offset| *offset <= place.offset);
            let next = offsets.get(next).copied().unwrap_or(*end);
            let part = Part {
                windows: Arc::clone(windows),
                position: place.offset,
                end: *end,
                wanted: next - place.offset,
            };
            let limits = compression::Limits {
                output: place.inner.saturating_add(size).saturating_add(1 << 30),
                ..compression::Limits::default()
            };
            let mut plain = compression::decoder(part, *compression, limits)
                .map_err(|error| unwrapped(error, |error| self.broken(&error)))?;
            io::copy(&mut plain.by_ref().take(place.inner), &mut io::sink())
                .map_err(|error| unwrapped(error, |error| self.broken(&error)))?;
            return Ok(Box::new(Checked {
                plain,
                left: size,
                digester: Some(Digester::new(place.digest.algorithm())),
                expected: place.digest.clone(),
            }));
        }
        if let Form::Parts { windows, sparse } = &self.form {
            let part = |from: u64, len: u64| Part {
                windows: Arc::clone(windows),
                position: from,
                end: (from + len).min(self.blob.size()),
                wanted: len,
            };
            return Ok(match sparse.get(&address) {
                None => Box::new(part(address, size)),
                Some(stored) => {
                    let mut reader: Box<dyn Read + Send> = Box::new(io::empty());
                    let (mut at, mut from) = (0, address);
                    for piece in stored {
                        let hole = io::repeat(0).take(piece.offset - at);
                        reader = Box::new(reader.chain(hole).chain(part(from, piece.len)));
                        (at, from) = (piece.offset + piece.len, from + piece.len);
                    }
                    Box::new(reader.chain(io::repeat(0).take(size - at)))
                }
            });
        }
        if let Some(kept) = &mut self.kept {
            if !kept.places.contains_key(&address) && self.complete {
                // It was not known that these would be wanted when they went by.
                self.keep_again()?;
            }
            if let Some(kept) = &self.kept
                && let Some(offset) = kept.places.get(&address)
            {
                return Ok(Box::new(Aside {
                    file: Arc::clone(&kept.file),
                    offset: *offset,
                    left: size,
                }));
            }
        }
        let mut scan = match self.scan.take() {
            Some(scan) if scan.at == Some(address) => scan,
            _ => self.open()?,
        };
        while scan.at != Some(address) {
            if !scan
                .archive
                .next_entry(&mut scan.entry)
                .map_err(|error| self.failed(error))?
            {
                return Err(ImageError::Interrupted);
            }
            scan.at = Some(scan.archive.position());
        }
        Ok(Box::new(Passing(scan.archive)))
    }

    /// Reads the archive once more, for the contents that are wanted.
    fn keep_again(&mut self) -> Result<(), ImageError> {
        let mut scan = self.open()?;
        while scan
            .archive
            .next_entry(&mut scan.entry)
            .map_err(|error| self.failed(error))?
        {
            let address = scan.archive.position();
            let has_contents =
                scan.entry.kind == Kind::File && scan.entry.class == Class::Normal && scan.entry.size > 0;
            if has_contents {
                self.take_contents(&mut scan, address, false)?;
            }
        }
        Ok(())
    }

    fn failed(&self, error: LayerError) -> ImageError {
        match error {
            LayerError::Read(error) => unwrapped(error, |error| self.broken(&error)),
            error => self.broken(&error),
        }
    }

    fn applied(&self, error: ApplyError) -> ImageError {
        match error {
            ApplyError::Store(error) => error.into(),
            error => self.broken(&error),
        }
    }

    fn broken(&self, reason: &dyn std::error::Error) -> ImageError {
        ImageError::RemoteLayer {
            digest: self.blob.descriptor.digest.clone(),
            reason: crate::error::chain(reason),
        }
    }
}

/// Contents whose digest is known.
struct Checked {
    plain: Box<dyn Read + Send>,
    left: u64,
    digester: Option<Digester>,
    expected: Digest,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if room == 0 {
            return Ok(0);
        }
        let count = self.plain.read(&mut buffer[..room])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..count]);
        }
        if self.left == 0
            && let Some(digester) = self.digester.take()
            && digester.finish() != self.expected
        {
            return Err(io::Error::other(
                "the contents of a file are not what its table of contents says",
            ));
        }
        Ok(count)
    }
}

/// Contents that were put aside.
struct Aside {
    file: Arc<fs::File>,
    offset: u64,
    left: u64,
}

impl Read for Aside {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.file().read_at(&mut buffer[..room], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Contents that come next in an archive.
struct Passing(Archive);

impl Read for Passing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.contents().read(buffer)
    }
}
