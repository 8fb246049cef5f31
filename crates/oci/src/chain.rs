//! Chain IDs: the identity of a stack of layers.
//!
//! OCI image specification, config.md, "Layer ChainID": the chain ID of one layer is its diff ID; of a longer stack, the
//! SHA-256 of the chain ID below, one space, and the diff ID on top.

use crate::Digest;

/// The chain ID of a whole stack, bottom layer first. `None` for an empty stack.
pub fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    let (bottom, rest) = diff_ids.split_first()?;
    Some(rest.iter().fold(bottom.clone(), |below, top| on_top(&below, top)))
}

/// The chain ID of every prefix of the stack, bottom layer first: as many as there are layers.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut ids: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for top in diff_ids {
        ids.push(match ids.last() {
            None => top.clone(),
            Some(below) => on_top(below, top),
        });
    }
    ids
}

fn on_top(below: &Digest, top: &Digest) -> Digest {
    Digest::sha256_of(format!("{below} {top}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_specification() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|layer| Digest::sha256_of(layer));
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(std::slice::from_ref(&a)), Some(a.clone()));
        let ab = Digest::sha256_of(format!("{a} {b}").as_bytes());
        let abc = Digest::sha256_of(format!("{ab} {c}").as_bytes());
        assert_eq!(chain_id(&[a.clone(), b.clone(), c.clone()]), Some(abc.clone()));
        assert_eq!(chain_ids(&[a.clone(), b, c]), vec![a, ab, abc]);
    }
}
