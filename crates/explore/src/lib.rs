//! What is in the layers of an image: lists of entries in, one tree with the history of every path out. No I/O.
//!
//! ```
//! use havre_explore::{Change, Entry, Kind, Node, Tree};
//! # let file = |path: &str, size| Entry { path: path.into(), kind: Kind::File, size, mode: 0o644, uid: 0, gid: 0, mtime: 0, inode: 0 };
//! let mut tree = Tree::new();
//! tree.begin_layer();
//! tree.add(file("etc/app.conf", 10));
//! tree.begin_layer();
//! tree.add(file("etc/app.conf", 30));
//!
//! let upper = tree.compare(1, 2);
//! let node = tree.find(b"etc/app.conf").unwrap();
//! assert_eq!(upper.change(node), Some(Change::Changed));
//! assert_eq!(tree.merged().size(Node::ROOT), 30);
//! let waste = tree.waste();
//! assert_eq!((waste.wasted_bytes, waste.hidden_bytes), (40, 10));
//! assert_eq!(waste.efficiency, 0.25);
//! ```

mod comparison;
mod difference;
mod entry;
pub mod packages;
mod tree;
mod waste;

pub use comparison::{Change, Comparison};
pub use difference::{Difference, Side, Trust, differences};
pub use entry::{Entry, Kind, permissions, shown};
pub use tree::{LayerSum, Node, Tree, Version};
pub use waste::{Inefficient, Waste};
