//! What parses prints a form that parses to the same reference.
#![no_main]

use havre_oci::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(reference) = Reference::parse(text) else { return };
    let again = Reference::parse(&reference.canonical()).expect("the canonical form is a reference");
    assert_eq!(reference, again);
    assert_eq!(Reference::parse(&reference.familiar()).as_ref(), Ok(&reference));
});
