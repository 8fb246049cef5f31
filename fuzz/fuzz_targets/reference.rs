//! What parses prints a full and a short form that parse to the same reference.
#![no_main]

use havre_oci::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(reference) = Reference::parse(text) else { return };
    assert_eq!(Reference::parse(&reference.canonical()).as_ref(), Ok(&reference));
    assert_eq!(Reference::parse(&reference.familiar()).as_ref(), Ok(&reference));
    let repository = reference.without_tag();
    assert_eq!(Reference::parse(&reference.familiar_name()), Ok(repository));
    let tagged = reference.with_default_tag();
    assert!(tagged.tag().is_some() || tagged.digest().is_some());
});
