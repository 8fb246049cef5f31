//! An archive on its way into a layer that keeps the contents of its files in another order: what is not contents goes into the
//! recipe, from which the archive is put together again.

use std::cell::RefCell;
use std::io::{self, BufRead, Read};

use havre_oci::layer::{Entry, Piece, Reader, Segment};

use super::recipe::RecipeWriter;
use super::{archive_error, archive_limits};
use crate::{ApplyError, Limits, StoreError};

/// The contents of the entry an archive has come to.
pub(super) trait Contents {
    /// The next piece; `None` when they are complete.
    fn next(&mut self) -> Result<Option<Piece<'_>>, ApplyError>;
}

impl<R: Read, F: FnMut(Segment<'_>) -> io::Result<()>> Contents for Reader<R, F> {
    fn next(&mut self) -> Result<Option<Piece<'_>>, ApplyError> {
        self.next_piece().map_err(archive_error)
    }
}

/// Calls `each` for every entry of `tar`, whose names have a meaning unless they are `plain`. It gets the recipe, where it notes
/// what becomes of stored contents before it reads them; the recipe comes back at the end of the archive.
pub(super) fn read(
    mut tar: &mut dyn BufRead,
    recipe: RecipeWriter,
    limits: &Limits,
    plain: bool,
    mut each: impl FnMut(&mut Entry, &RefCell<RecipeWriter>, &mut dyn Contents) -> Result<(), ApplyError>,
) -> Result<RecipeWriter, ApplyError> {
    let recipe = RefCell::new(recipe);
    let failure: RefCell<Option<StoreError>> = RefCell::new(None);
    let reader = Reader::new(&mut tar, archive_limits(limits), |segment: Segment<'_>| {
        let Segment::Raw(bytes) = segment else {
            return Ok(());
        };
        recipe.borrow_mut().raw(bytes).map_err(|error| {
            *failure.borrow_mut() = Some(error);
            io::Error::other("the recipe cannot be written")
        })
    });
    let mut reader = reader.with_plain_names(plain);
    let mut apply = || {
        let mut entry = Entry::default();
        while reader.next_entry(&mut entry).map_err(archive_error)? {
            each(&mut entry, &recipe, &mut reader)?;
        }
        Ok(())
    };
    let done = apply().and_then(|()| reader.finish().map(drop).map_err(archive_error));
    // What the recipe met is the cause of what the reader reports.
    if let Some(error) = failure.into_inner() {
        return Err(error.into());
    }
    done?;
    Ok(recipe.into_inner())
}
