//! Who does not hear whom: partitions as predicates, so that pairs need not exist to be cut.

use crate::{Class, Plane};

/// One partition, over places of nodes.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) shape: CutShape,
    pub(crate) plane: Plane,
}

/// Its shape.
#[derive(Clone, Debug)]
pub(crate) enum CutShape {
    /// Nodes of different groups do not hear each other. `None`: hears everybody.
    Groups(Vec<Option<u32>>),
    /// Each node hears only its two neighbours; the position of each in the ring.
    Ring(Vec<Option<u32>>, u32),
    /// One direction of one pair.
    OneWay(u32, u32),
}

impl Cut {
    pub(crate) const fn class(&self) -> Class {
        match self.shape {
            CutShape::OneWay(..) => Class::OneWay,
            CutShape::Groups(_) | CutShape::Ring(..) => Class::Partition,
        }
    }

    /// Whether nothing gets from one to the other.
    pub(crate) fn blocks(&self, from: u32, to: u32) -> bool {
        let of = |places: &[Option<u32>], place: u32| places.get(place as usize).copied().flatten();
        match &self.shape {
            CutShape::Groups(groups) => match (of(groups, from), of(groups, to)) {
                (Some(one), Some(other)) => one != other,
                _ => false,
            },
            CutShape::Ring(positions, n) => match (of(positions, from), of(positions, to)) {
                (Some(one), Some(other)) => {
                    let apart = one.abs_diff(other);
                    apart > 1 && apart != n - 1
                }
                _ => false,
            },
            CutShape::OneWay(a, b) => (*a, *b) == (from, to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_block_what_they_say() {
        let cut = |shape| Cut { shape, plane: Plane::Both };
        // Node 1 is a bridge.
        let groups = cut(CutShape::Groups(vec![Some(0), None, Some(1)]));
        assert!(groups.blocks(0, 2) && groups.blocks(2, 0));
        assert!(!groups.blocks(0, 1) && !groups.blocks(1, 2));
        let ring = cut(CutShape::Ring((0..5).map(Some).collect(), 5));
        assert!(ring.blocks(0, 2) && ring.blocks(3, 0));
        assert!(!ring.blocks(0, 1) && !ring.blocks(4, 0) && !ring.blocks(0, 4));
        let way = cut(CutShape::OneWay(1, 2));
        assert!(way.blocks(1, 2) && !way.blocks(2, 1));
    }
}
