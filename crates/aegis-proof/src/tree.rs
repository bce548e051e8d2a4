//! The Merkle tree of RFC 6962, section 2.1, over the leaf hashes of records.
//!
//! A [`Frontier`] is all that is needed to add leaves and to know the root: one hash for each perfect subtree, so
//! its size is the logarithm of the tree's. Proofs are made from the leaves, in one pass and as little memory.

use sha2::{Digest as _, Sha256};

use crate::record::Hash;

/// Hashes an inner node: SHA-256 of a byte 1 and both halves.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    Hash::from_bytes(hasher.finalize().into())
}

/// A tree that grows: the hashes of its largest perfect subtrees, from left to right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    // Invariant: one for each bit that is set in `size`, the largest subtree first.
    hashes: Vec<Hash>,
}

impl Frontier {
    /// Returns the number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Two subtrees of the same size become one, as in a binary counter.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.hashes.pop() {
                hash = node(&left, &hash);
            }
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// Returns the root; that of the empty tree is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut hashes = self.hashes.iter().rev();
        match hashes.next() {
            None => Hash::from_bytes(Sha256::digest([]).into()),
            Some(last) => hashes.fold(*last, |right, left| node(left, &right)),
        }
    }

    /// Returns the hashes one behind the other.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.as_bytes().iter().copied()).collect()
    }

    /// Reads what [`Frontier::to_bytes`] wrote of a tree of this size; `None` where the number of hashes is not that of
    /// such a tree.
    #[must_use]
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        let fits = rest.is_empty() && hashes.len() == size.count_ones() as usize;
        fits.then(|| Self { size, hashes: hashes.iter().map(|bytes| Hash::from_bytes(*bytes)).collect() })
    }
}

/// Where leaf hashes come from, in order.
pub trait Leaves {
    /// What can go wrong.
    type Error;

    /// Returns the next leaf.
    ///
    /// # Errors
    /// It can't be had.
    fn next(&mut self) -> Result<Hash, Self::Error>;
}

impl<E, F: FnMut() -> Result<Hash, E>> Leaves for F {
    type Error = E;

    fn next(&mut self) -> Result<Hash, E> {
        self()
    }
}

/// Returns the largest power of two smaller than this number, which is larger than 1.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

fn subtree<L: Leaves>(size: u64, leaves: &mut L) -> Result<Hash, L::Error> {
    let mut frontier = Frontier::default();
    for _ in 0..size {
        frontier.push(leaves.next()?);
    }
    Ok(frontier.root())
}

/// Makes the inclusion proof of the leaf `index`, from 0, in the tree of `size` leaves (RFC 6962, section 2.1.1): the
/// hashes from the leaf's sibling up. Empty where the leaf is not in the tree.
///
/// # Errors
/// A leaf can't be had.
pub fn inclusion<L: Leaves>(index: u64, size: u64, leaves: &mut L) -> Result<Vec<Hash>, L::Error> {
    if index >= size || size == 1 {
        return Ok(Vec::new());
    }
    let left_size = split(size);
    if index < left_size {
        let mut path = inclusion_of(index, left_size, leaves)?;
        path.push(subtree(size - left_size, leaves)?);
        Ok(path)
    } else {
        let left = subtree(left_size, leaves)?;
        let mut path = inclusion_of(index - left_size, size - left_size, leaves)?;
        path.push(left);
        Ok(path)
    }
}

/// As [`inclusion`], and takes the leaf itself where the tree is only that.
fn inclusion_of<L: Leaves>(index: u64, size: u64, leaves: &mut L) -> Result<Vec<Hash>, L::Error> {
    if size == 1 {
        leaves.next()?;
    }
    inclusion(index, size, leaves)
}

/// Makes the consistency proof between the trees of `old` and of `new` leaves (RFC 6962, section 2.1.2). Empty where
/// `old` is 0, or not smaller than `new`.
///
/// # Errors
/// A leaf can't be had.
pub fn consistency<L: Leaves>(old: u64, new: u64, leaves: &mut L) -> Result<Vec<Hash>, L::Error> {
    if old == 0 || old >= new {
        return Ok(Vec::new());
    }
    Ok(subproof(old, new, true, leaves)?.0)
}

/// SUBPROOF of the RFC, with the hash of the tree that it is of.
fn subproof<L: Leaves>(
    old: u64,
    new: u64,
    whole: bool,
    leaves: &mut L,
) -> Result<(Vec<Hash>, Hash), L::Error> {
    if old == new {
        let root = subtree(new, leaves)?;
        return Ok((if whole { Vec::new() } else { vec![root] }, root));
    }
    let left_size = split(new);
    if old <= left_size {
        let (mut path, left) = subproof(old, left_size, whole, leaves)?;
        let right = subtree(new - left_size, leaves)?;
        path.push(right);
        Ok((path, node(&left, &right)))
    } else {
        let left = subtree(left_size, leaves)?;
        let (mut path, right) = subproof(old - left_size, new - left_size, false, leaves)?;
        path.push(left);
        Ok((path, node(&left, &right)))
    }
}

/// Says whether a leaf is in the tree of this size and root, at this index from 0 (RFC 9162, section 2.1.3.2).
#[must_use]
pub fn is_included(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for step in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(step, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Says whether the tree of `new` leaves begins with that of `old` (RFC 9162, section 2.1.4.2).
#[must_use]
pub fn is_consistent(old: (u64, &Hash), new: (u64, &Hash), path: &[Hash]) -> bool {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return path.is_empty() && *old_root == Frontier::default().root();
    }
    if old > new {
        return false;
    }
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let mut steps = path.iter();
    // A tree that is a perfect subtree of the other is its own first hash.
    let first = if old.is_power_of_two() { Some(old_root) } else { steps.next() };
    let Some(first) = first else { return false };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_hash = node(step, &old_hash);
            new_hash = node(step, &new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node(&new_hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::leaf;
    use proptest::prelude::*;
    use std::convert::Infallible;

    /// The definition of the RFC, word for word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::from_bytes(Sha256::digest([]).into()),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(usize::try_from(split(many.len() as u64)).unwrap());
                node(&by_definition(left), &by_definition(right))
            }
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| leaf(&n.to_le_bytes())).collect()
    }

    fn frontier(leaves: &[Hash]) -> Frontier {
        let mut frontier = Frontier::default();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        frontier
    }

    fn source(leaves: &[Hash]) -> impl FnMut() -> Result<Hash, Infallible> {
        let mut iter = leaves.iter().copied();
        move || Ok(iter.next().expect("no more leaves are asked for than there are"))
    }

    /// Roots of the trees over the first one to eight of the test inputs that the Certificate Transparency
    /// implementations share.
    #[test]
    fn roots_are_those_of_the_published_vectors() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Frontier::default();
        assert_eq!(
            tree.root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (input, root) in inputs.into_iter().zip(roots) {
            tree.push(leaf(input));
            assert_eq!(tree.root().to_string(), root);
        }
    }

    #[test]
    fn every_small_tree_is_that_of_the_definition() {
        let all = leaves(70);
        for size in 0..=70 {
            let some = &all[..size];
            let tree = frontier(some);
            assert_eq!(tree.root(), by_definition(some));
            assert_eq!(Frontier::from_bytes(size as u64, &tree.to_bytes()).unwrap(), tree);
            for index in 0..size as u64 {
                let path = inclusion(index, size as u64, &mut source(some)).unwrap();
                let leaf = &some[usize::try_from(index).unwrap()];
                assert!(is_included(leaf, index, size as u64, &path, &tree.root()));
                assert!(!is_included(leaf, index + 1, size as u64, &path, &tree.root()));
            }
            for old in 0..=size {
                let path = consistency(old as u64, size as u64, &mut source(some)).unwrap();
                let old_root = frontier(&some[..old]).root();
                assert!(is_consistent((old as u64, &old_root), (size as u64, &tree.root()), &path));
                let wrong = leaf(b"x");
                assert!(!is_consistent((old as u64, &wrong), (size as u64, &tree.root()), &path));
            }
        }
    }

    #[test]
    fn a_leaf_that_is_not_there_has_no_proof() {
        let all = leaves(5);
        assert!(inclusion(5, 5, &mut source(&all)).unwrap().is_empty());
        assert!(inclusion(0, 0, &mut source(&all)).unwrap().is_empty());
        assert!(!is_included(&all[0], 0, 0, &[], &all[0]));
        assert!(Frontier::from_bytes(3, &[0; 63]).is_none());
    }

    proptest! {
        #[test]
        fn a_changed_proof_proves_nothing(
            size in 2u64..600,
            index in any::<u64>(),
            old in any::<u64>(),
            at in any::<prop::sample::Index>(),
            bit in 0u8..=255,
        ) {
            let all = leaves(size);
            let root = frontier(&all).root();
            let (index, old) = (index % size, old % (size - 1) + 1);
            let included = inclusion(index, size, &mut source(&all)).unwrap();
            let of = &all[usize::try_from(index).unwrap()];
            prop_assert!(is_included(of, index, size, &included, &root));
            let flip = |path: &[Hash]| {
                let mut path = path.to_vec();
                let at = at.index(path.len());
                let mut bytes = *path[at].as_bytes();
                bytes[usize::from(bit / 8)] ^= 1 << (bit % 8);
                path[at] = Hash::from_bytes(bytes);
                path
            };
            prop_assert!(!is_included(of, index, size, &flip(&included), &root));
            prop_assert!(!is_included(of, index, size, &included[1..], &root));
            let old_root = frontier(&all[..usize::try_from(old).unwrap()]).root();
            let path = consistency(old, size, &mut source(&all)).unwrap();
            prop_assert!(is_consistent((old, &old_root), (size, &root), &path));
            prop_assert!(!is_consistent((old, &old_root), (size, &root), &flip(&path)));
        }
    }
}
