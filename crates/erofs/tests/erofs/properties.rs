//! Random sequences of entries: what is read back from the image is what a plain model of a directory tree holds, with both
//! block sizes; and the same entries always give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{DATA_END, Leaf, Op, apply, directory, image, listed, op};
use havre_erofs::read::{Content, Entry, Image, Limits, ReadError};
use havre_erofs::{BlockSize, Metadata, Options, Tree};
use proptest::prelude::*;

fn check(ops: &[Op], block: BlockSize) -> Result<(), TestCaseError> {
    let options = Options {
        block,
        ..Options::default()
    };
    let build = || {
        let (root, mut tree) = (directory(), Tree::new(options));
        for op in ops {
            apply(&root, &mut tree, op)?;
        }
        Ok::<_, TestCaseError>((root, tree))
    };
    let (root, tree) = build()?;
    let bytes = image(tree);
    prop_assert!(bytes == image(build()?.1), "other bytes from the same entries");
    let mut expected = Vec::new();
    listed(&mut Vec::new(), &root, &mut expected);

    let read = Image::open(bytes.as_slice(), bytes.len() as u64, Limits::default()).unwrap();
    prop_assert_eq!(read.block_size(), block);
    prop_assert_eq!(read.metadata_offset(), DATA_END);
    let mut found = Vec::new();
    read.walk(|entry| {
        found.push(entry.clone());
        Ok::<(), ReadError>(())
    })
    .unwrap();
    // The kernel's order within a directory is that of bytes; so is the model's.
    let mut nids = BTreeMap::new();
    for (found, (expected, inode)) in found.iter().zip(&expected) {
        let known = *nids.entry(*inode).or_insert(found.nid);
        prop_assert_eq!(
            found.nid,
            known,
            "{:?} is another inode",
            String::from_utf8_lossy(&found.path)
        );
        let expected = Entry {
            nid: found.nid,
            ..expected.clone()
        };
        prop_assert_eq!(found, &expected);
        let alone = read.find(&found.path).unwrap();
        prop_assert_eq!(alone.as_ref(), Some(found));
    }
    prop_assert_eq!(found.len(), expected.len());
    let different: BTreeSet<_> = found.iter().map(|entry| entry.nid).collect();
    prop_assert_eq!(different.len(), nids.len(), "two inodes with one number");
    prop_assert_eq!(read.inodes(), different.len() as u64);
    prop_assert_eq!(read.find(b"a/nothing here").unwrap(), None);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_read_is_what_was_added(
        ops in prop::collection::vec(op(), 0..60),
        block in prop_oneof![Just(BlockSize::B512), Just(BlockSize::B4096)],
    ) {
        check(&ops, block)?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Directories of many blocks.
    #[test]
    fn large_directories(
        names in prop::collection::btree_set("[a-z.-]{1,40}", 0..600),
        block in prop_oneof![Just(BlockSize::B512), Just(BlockSize::B4096)],
    ) {
        let names = names.into_iter().filter(|name| name != "." && name != "..");
        let ops: Vec<Op> = names
            .map(|name| Op::Leaf(vec![b"dir".to_vec(), name.into_bytes()], Leaf::Fifo, Metadata::default(), Vec::new()))
            .collect();
        check(&ops, block)?;
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Images that are damaged anywhere are read or refused, in bounded time.
    #[test]
    fn damaged_images_are_read_or_refused(
        ops in prop::collection::vec(op(), 1..30),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let (root, mut tree) = (directory(), Tree::new(Options::default()));
        for op in &ops {
            apply(&root, &mut tree, op)?;
        }
        let mut bytes = image(tree);
        let metadata = DATA_END as usize;
        let len = bytes.len() - metadata;
        for (at, byte) in damage {
            bytes[metadata + at.index(len)] = byte;
        }
        let limits = Limits { entries: 1000, extents: 1000 };
        let read = Image::open(bytes.as_slice(), bytes.len() as u64, limits).unwrap();
        let _ = read.walk(|entry| {
            if let Content::File { size, extents } = &entry.content {
                assert_eq!(extents.iter().map(|extent| extent.len).sum::<u64>(), *size);
            }
            Ok::<(), ReadError>(())
        });
        let _ = read.find(b"a/b/c");
    }
}
