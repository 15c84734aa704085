//! Sizes of axes, for the arithmetic of reshaping.

use crate::types::Dim;

/// The size of an axis: a number, or a number of times the one size that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    count: usize,
    free: bool,
}

impl Size {
    pub(super) const ONE: Self = Self::fixed(1);

    pub(super) const fn fixed(count: usize) -> Self {
        Self { count, free: false }
    }

    pub(super) const fn of(dim: Dim) -> Self {
        match dim {
            Dim::Fixed(count) => Self::fixed(count),
            Dim::Free => Self { count: 1, free: true },
        }
    }

    /// The number, where it is one.
    pub(super) fn number(self) -> Option<usize> {
        (!self.free).then_some(self.count)
    }

    /// As an entry of a `Reshape`'s target.
    pub(super) fn entry(self) -> i64 {
        self.number().map_or(-1, |count| count as i64)
    }

    /// `None`: the free size would be there twice, or the number too large.
    pub(super) fn times(self, other: Self) -> Option<Self> {
        let count = self.count.checked_mul(other.count)?;
        (!(self.free && other.free)).then_some(Self { count, free: self.free || other.free })
    }

    /// `None`: it doesn't divide.
    pub(super) fn over(self, other: Self) -> Option<Self> {
        let divides = other.count != 0 && self.count.is_multiple_of(other.count) && (self.free || !other.free);
        divides.then(|| Self { count: self.count / other.count, free: self.free && !other.free })
    }

    /// What two axes broadcast to.
    pub(super) fn broadcast(self, other: Self) -> Option<Self> {
        match (self, other) {
            _ if self == other || other == Self::ONE => Some(self),
            _ if self == Self::ONE => Some(other),
            // A free size against a number can only be 1 or that number.
            (Self { free: false, .. }, Self { free: true, .. }) => Some(self),
            (Self { free: true, .. }, Self { free: false, .. }) => Some(other),
            _ => None,
        }
    }
}

/// The elements of a value of that shape.
pub(super) fn product(shape: &[Size]) -> Option<Size> {
    shape.iter().try_fold(Size::ONE, |product, &size| product.times(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Size = Size { count: 1, free: true };

    #[test]
    fn the_free_size_is_a_factor_like_any_other() {
        let merged = Size::fixed(6).times(FREE).unwrap();
        assert_eq!(merged.over(Size::fixed(3)), Size::fixed(2).times(FREE));
        assert_eq!(merged.over(FREE), Some(Size::fixed(6)));
        assert_eq!(merged.over(Size::fixed(4)), None);
        assert_eq!(Size::fixed(6).over(FREE), None);
        assert_eq!(merged.over(Size::fixed(0)), None);
        assert_eq!(FREE.times(FREE), None);
        assert_eq!(Size::fixed(usize::MAX).times(Size::fixed(2)), None);
        assert_eq!(merged.entry(), -1);
    }

    #[test]
    fn sizes_broadcast_as_onnx_has_it() {
        assert_eq!(Size::ONE.broadcast(FREE), Some(FREE));
        assert_eq!(FREE.broadcast(Size::fixed(5)), Some(Size::fixed(5)));
        assert_eq!(Size::fixed(5).broadcast(Size::ONE), Some(Size::fixed(5)));
        assert_eq!(Size::fixed(5).broadcast(Size::fixed(4)), None);
        assert_eq!(FREE.broadcast(FREE.times(Size::fixed(2)).unwrap()), None);
    }
}
