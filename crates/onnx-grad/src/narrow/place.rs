//! Where a value may differ from zero.

use super::size::{Size, product};
use crate::types::Dim;

/// A value is zero along `axis` outside of `start..start + len` of `total`.
///
/// Reshaping may have merged that axis with others, as batch and tokens are before a matrix product: then `axis` has `lead` times
/// `total` times `trail` places, the outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) axis: usize,
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) total: usize,
    pub(super) lead: Size,
    pub(super) trail: Size,
}

impl Place {
    /// Where a value of shape `dims` with these pads around it came to lie. `None`: not along one axis, or it isn't worth its while.
    pub(super) fn of_pads(pads: &[i64], dims: &[Dim]) -> Option<Self> {
        let (begins, ends) = pads.split_at_checked(dims.len()).filter(|(_, ends)| ends.len() == dims.len())?;
        let mut padded = (0..dims.len()).filter(|&axis| begins[axis] != 0 || ends[axis] != 0);
        let (axis, None) = (padded.next()?, padded.next()) else { return None };
        let (start, end) = (usize::try_from(begins[axis]).ok()?, usize::try_from(ends[axis]).ok()?);
        let total = dims[axis].fixed()?;
        let len = total.checked_sub(start)?.checked_sub(end)?;
        let place = Self { axis, start, len, total, lead: Size::ONE, trail: Size::ONE };
        place.is_small().then_some(place)
    }

    /// Whether the part is so much smaller than the whole that it is worth being taken by itself.
    pub(super) fn is_small(&self) -> bool {
        self.len > 0 && self.len.saturating_mul(4) <= self.total
    }

    /// Whether the axis is merged with no other.
    pub(super) fn is_plain(&self) -> bool {
        (self.lead, self.trail) == (Size::ONE, Size::ONE)
    }

    /// The same along another axis.
    pub(super) fn along(&self, axis: usize) -> Self {
        Self { axis, ..*self }
    }

    /// The size of the part's axis.
    pub(super) fn size(&self) -> Option<Size> {
        self.lead.times(Size::fixed(self.len))?.times(self.trail)
    }

    /// The same elements of a value that was reshaped. Element number n is in the part where ⌊n / s⌋ mod total is, with the distance s
    /// of neighbours along the axis, whatever the shape; one axis of the new shape must hold all of that count.
    pub(super) fn reshaped(&self, from: &[Size], to: &[Size]) -> Option<Self> {
        let distance = self.trail.times(product(&from[self.axis + 1..])?)?;
        let span = distance.times(Size::fixed(self.total))?;
        let holds = |axis: usize| {
            let own = product(&to[axis + 1..])?;
            let (lead, trail) = (own.times(to[axis])?.over(span)?, distance.over(own)?);
            Some(Self { axis, lead, trail, ..*self })
        };
        (0..to.len()).find_map(holds)
    }

    /// The shape of the part of a value, its axis taken apart into `lead`, the part and `trail` where it is merged; and the pads that
    /// make the part whole.
    pub(super) fn apart(&self, shape: &[Size]) -> (Vec<Size>, Vec<i64>) {
        let mut apart = shape.to_vec();
        let (middle, own) = if self.is_plain() {
            (self.axis, vec![Size::fixed(self.len)])
        } else {
            (self.axis + 1, vec![self.lead, Size::fixed(self.len), self.trail])
        };
        apart.splice(self.axis..=self.axis, own);
        let pads = self.pads(middle, apart.len(), 0..self.total);
        (apart, pads)
    }

    /// The pads that make the part along `axis` of a value of that rank the part `hull` of it.
    pub(super) fn pads(&self, axis: usize, rank: usize, hull: std::ops::Range<usize>) -> Vec<i64> {
        let mut pads = vec![0; 2 * rank];
        pads[axis] = (self.start - hull.start) as i64;
        pads[rank + axis] = (hull.end - self.start - self.len) as i64;
        pads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Size = Size::of(Dim::Free);

    fn sizes(numbers: &[usize]) -> Vec<Size> {
        numbers.iter().map(|&n| if n == 0 { FREE } else { Size::fixed(n) }).collect()
    }

    fn place(axis: usize) -> Place {
        Place { axis, start: 2, len: 1, total: 8, lead: Size::ONE, trail: Size::ONE }
    }

    #[test]
    fn merged_axes_come_apart_again() {
        // Tokens before a free batch, merged for a matrix product, taken apart with heads.
        let merged = place(0).reshaped(&sizes(&[8, 0, 6]), &[Size::fixed(8).times(FREE).unwrap(), Size::fixed(6)]);
        assert_eq!(merged, Some(Place { trail: FREE, ..place(0) }));
        let rows = [Size::fixed(8).times(FREE).unwrap(), Size::fixed(6)];
        assert_eq!(merged.unwrap().reshaped(&rows, &sizes(&[8, 0, 3, 2])), Some(place(0)));
        // The batch first.
        let merged = place(1).reshaped(&sizes(&[0, 8, 6]), &rows).unwrap();
        assert_eq!(merged, Place { lead: FREE, axis: 0, ..place(1) });
        assert_eq!(merged.reshaped(&rows, &sizes(&[0, 8, 1, 6])), Some(place(1)));
        assert!(!merged.is_plain());
    }

    #[test]
    fn an_axis_that_is_torn_apart_holds_no_part() {
        assert_eq!(place(1).reshaped(&sizes(&[3, 8]), &sizes(&[3, 2, 4])), None);
        assert_eq!(place(1).reshaped(&sizes(&[3, 8]), &sizes(&[4, 6])), None);
        assert_eq!(place(1).reshaped(&sizes(&[3, 8]), &sizes(&[24])).map(|place| place.lead), Some(Size::fixed(3)));
    }

    #[test]
    fn only_small_parts_along_one_axis_count() {
        let dims = [Dim::Free, Dim::Fixed(8)];
        assert_eq!(Place::of_pads(&[0, 2, 0, 5], &dims), Some(place(1)));
        assert_eq!(Place::of_pads(&[0, 2, 0, 3], &dims), None);
        assert_eq!(Place::of_pads(&[1, 2, 0, 5], &dims), None);
        assert_eq!(Place::of_pads(&[0, -1, 0, 5], &dims), None);
        assert_eq!(Place::of_pads(&[1, 0, 1, 0], &dims), None);
        assert_eq!(Place::of_pads(&[0, 0, 0, 0], &dims), None);
        assert_eq!(Place::of_pads(&[0, 2], &dims), None);
    }

    #[test]
    fn a_merged_part_is_taken_apart_to_be_made_whole() {
        let merged = Place { lead: FREE, axis: 0, ..place(1) };
        let rows = [Size::fixed(8).times(FREE).unwrap(), Size::fixed(6)];
        assert_eq!(merged.apart(&rows), (sizes(&[0, 1, 1, 6]), vec![0, 2, 0, 0, 0, 5, 0, 0]));
        assert_eq!(place(1).apart(&sizes(&[0, 8])), (sizes(&[0, 1]), vec![0, 2, 0, 5]));
    }
}
