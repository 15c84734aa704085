//! Summing gradients back over the axes that a value was broadcast along.

use crate::{
    attr,
    builder::Val,
    registry::Unsupported,
    types::{Dim, ElemType},
    vjp::Vjp,
};

impl Vjp<'_> {
    /// A gradient of the first output's shape summed back to the shape of input `i`.
    ///
    /// # Errors
    /// A rank isn't known.
    pub fn unbroadcast(&mut self, gradient: &Val, i: usize) -> Result<Val, Unsupported> {
        let from = self.out_dims(0)?;
        self.unbroadcast_from(gradient, &from, i)
    }

    /// A gradient of shape `from` summed back to the shape of input `i`, which was broadcast to `from` in the forward pass.
    ///
    /// # Errors
    /// The rank of the input isn't known.
    pub fn unbroadcast_from(&mut self, gradient: &Val, from: &[Dim], i: usize) -> Result<Val, Unsupported> {
        let elem = self.elem()?;
        self.sum_back(gradient, elem, from, i)
    }

    /// A gradient of shape `from` and type `elem` summed back to the shape of input `i` and cast to its type: for rules that
    /// compute in a type of their own.
    ///
    /// # Errors
    /// The rank or type of the input isn't known.
    pub fn unbroadcast_typed(
        &mut self,
        gradient: &Val,
        elem: ElemType,
        from: &[Dim],
        i: usize,
    ) -> Result<Val, Unsupported> {
        let summed = self.sum_back(gradient, elem, from, i)?;
        self.in_type_of(&summed, elem, i)
    }

    /// A gradient of shape `from` and type `elem` in the shape of input `i`.
    fn sum_back(&mut self, gradient: &Val, elem: ElemType, from: &[Dim], i: usize) -> Result<Val, Unsupported> {
        let (kept, leading) = self.broadcast_axes(from, i)?;
        let mut summed = self.g.sum_over(gradient, elem, &kept, true);
        summed = self.g.sum_over(&summed, elem, &leading, false);
        let to = self.dims(i)?;
        let lead = from.len() - to.len();
        // Axes that may have been 1: whether they were shows as the model runs. Where only the first is open it is the batch.
        let like_y = self.out_dims(0).is_ok_and(|dims| dims == from);
        let unknown = to.iter().skip(1).any(|dim| dim.fixed().is_none());
        let doubtful = |axis: &usize| match (to[*axis], from[lead + axis]) {
            (Dim::Free, Dim::Fixed(size)) => size != 1,
            (Dim::Free, Dim::Free) => like_y && unknown,
            _ => false,
        };
        let doubtful: Vec<i64> = (0..to.len()).filter(doubtful).map(|axis| axis as i64).collect();
        if doubtful.is_empty() {
            return Ok(summed);
        }
        let (x, y, one) = (self.x(i), self.y(0), self.g.int(1));
        let is_one = |v: &mut Self, value: &Val, lead: usize| -> Result<Val, Unsupported> {
            let axes: Vec<i64> = doubtful.iter().map(|axis| axis + lead as i64).collect();
            let (shape, axes) = (v.shape_value(value)?, v.g.ints(&axes));
            let sizes = v.g.op("Gather", &[&shape, &axes], vec![]);
            Ok(v.g.binary("Equal", &sizes, &one))
        };
        let mut stretched = is_one(self, &x, 0)?;
        if like_y {
            let same = is_one(self, &y, lead)?;
            let differs = self.g.unary("Not", &same);
            stretched = self.g.binary("And", &stretched, &differs);
        }
        let axes = self.g.ints(&doubtful);
        let axes = self.g.op("Compress", &[&axes, &stretched], vec![attr::int("axis", 0)]);
        self.hoist(&axes);
        let wide = elem.accumulator();
        let value = if wide == elem { summed } else { self.g.cast(&summed, wide) };
        let attributes = vec![attr::int("keepdims", 1), attr::int("noop_with_empty_axes", 1)];
        let sum = self.g.op("ReduceSum", &[&value, &axes], attributes);
        Ok(if wide == elem { sum } else { self.g.cast(&sum, elem) })
    }

    /// The axes of a value of shape `from` to sum over for the shape of input `i`, which was broadcast to it: those that stay,
    /// as 1s, and those that go, at the front.
    fn broadcast_axes(&self, from: &[Dim], i: usize) -> Result<(Vec<i64>, Vec<i64>), Unsupported> {
        let to = self.dims(i)?;
        let Some(lead) = from.len().checked_sub(to.len()) else {
            return Err(format!("`{}` has more axes than the result", self.x(i)).into());
        };
        let stretched = |axis: usize| to[axis] == Dim::Fixed(1) && from[lead + axis] != Dim::Fixed(1);
        let kept = (0..to.len()).filter(|&axis| stretched(axis)).map(|axis| (lead + axis) as i64).collect();
        Ok((kept, (0..lead as i64).collect()))
    }
}
