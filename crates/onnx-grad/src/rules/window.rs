//! The geometry of sliding windows, which convolutions and pools share.

use crate::{attr, proto::AttributeProto, registry::Unsupported, vjp::Vjp};

type Result<T> = std::result::Result<T, Unsupported>;

/// How a node asks for padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AutoPad {
    /// By its `pads`.
    Given,
    /// None.
    Valid,
    /// As much as keeps `size / stride` windows, the odd one at the end.
    SameUpper,
    /// The same, the odd one at the begin.
    SameLower,
}

impl AutoPad {
    pub(crate) fn of(v: &Vjp<'_>) -> Result<Self> {
        match v.node().attr_str("auto_pad").unwrap_or("NOTSET") {
            "" | "NOTSET" => Ok(Self::Given),
            "VALID" => Ok(Self::Valid),
            "SAME_UPPER" => Ok(Self::SameUpper),
            "SAME_LOWER" => Ok(Self::SameLower),
            other => Err(format!("its auto_pad `{other}` is unknown").into()),
        }
    }

    pub(crate) fn is_same(self) -> bool {
        matches!(self, Self::SameUpper | Self::SameLower)
    }
}

/// A window sliding over the spatial axes, one entry an axis.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) kernel: Vec<i64>,
    pub(crate) strides: Vec<i64>,
    pub(crate) dilations: Vec<i64>,
    pub(crate) begins: Vec<i64>,
    pub(crate) ends: Vec<i64>,
    pub(crate) auto_pad: AutoPad,
}

impl Window {
    /// The window of a convolution: input `weight` holds the kernel.
    pub(crate) fn of_conv(v: &Vjp<'_>, weight: usize) -> Result<Self> {
        let axes = v.rank(0)?.checked_sub(2).filter(|&axes| axes > 0).ok_or("its input has no spatial axes")?;
        let kernel = match v.node().attr_ints("kernel_shape") {
            Some(kernel) => kernel.to_vec(),
            None => v.fixed(weight, 2..2 + axes)?.into_iter().map(|size| size as i64).collect(),
        };
        Self::new(v, kernel, !v.node().op_type.ends_with("Transpose"))
    }

    /// The window with the node's attributes; `resolve` works `auto_pad` out from the input's size.
    pub(crate) fn new(v: &Vjp<'_>, kernel: Vec<i64>, resolve: bool) -> Result<Self> {
        let axes = kernel.len();
        let list = |name: &str, default: i64, len: usize| match v.node().attr_ints(name) {
            None => Ok(vec![default; len]),
            Some(list) if list.len() == len => Ok(list.to_vec()),
            Some(list) => Err(Unsupported(format!("its {name} has {} entries instead of {len}", list.len()))),
        };
        let pads = list("pads", 0, 2 * axes)?;
        let mut window = Self {
            strides: list("strides", 1, axes)?,
            dilations: list("dilations", 1, axes)?,
            begins: pads[..axes].to_vec(),
            ends: pads[axes..].to_vec(),
            auto_pad: AutoPad::of(v)?,
            kernel,
        };
        let sizes = [&window.kernel, &window.strides, &window.dilations];
        if sizes.into_iter().flatten().any(|&size| size < 1) {
            return Err("its kernel, strides and dilations must be positive".into());
        }
        if window.auto_pad != AutoPad::Given {
            window.begins.fill(0);
            window.ends.fill(0);
        }
        if window.auto_pad.is_same() && resolve {
            let sizes = v.fixed(0, 2..2 + axes)?;
            for (axis, size) in sizes.into_iter().enumerate() {
                window.pad_same(axis, size as i64);
            }
        }
        Ok(window)
    }

    fn pad_same(&mut self, axis: usize, size: i64) {
        let stride = self.strides[axis];
        let windows = (size + stride - 1) / stride;
        let total = ((windows - 1) * stride + self.reach(axis) - size).max(0);
        let smaller = total / 2;
        self.begins[axis] = if self.auto_pad == AutoPad::SameUpper { smaller } else { total - smaller };
        self.ends[axis] = total - self.begins[axis];
    }

    /// Number of spatial axes.
    pub(crate) fn axes(&self) -> usize {
        self.kernel.len()
    }

    /// Rows between the first and the last that a window reads, both included.
    pub(crate) fn reach(&self, axis: usize) -> i64 {
        self.dilations[axis] * (self.kernel[axis] - 1) + 1
    }

    /// Rows at the end of an input of that size that no window reads.
    pub(crate) fn skipped(&self, axis: usize, size: i64) -> i64 {
        let room = size + self.begins[axis] + self.ends[axis] - self.reach(axis);
        room.rem_euclid(self.strides[axis])
    }

    /// The attributes of a convolution with this window.
    pub(crate) fn attributes(&self) -> Vec<AttributeProto> {
        let pads: Vec<i64> = self.begins.iter().chain(&self.ends).copied().collect();
        vec![
            attr::ints("dilations", &self.dilations),
            attr::ints("kernel_shape", &self.kernel),
            attr::ints("pads", &pads),
            attr::ints("strides", &self.strides),
        ]
    }
}
