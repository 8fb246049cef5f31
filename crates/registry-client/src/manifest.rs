use havre_oci::Descriptor;

/// A manifest or index as a registry gave it: verified bytes and their descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Media type, digest and size of `bytes`.
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}
