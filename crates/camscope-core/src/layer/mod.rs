//! The layers of a model: its values with spatial extent, and how people name them.

mod attention;
mod choose;
mod class_token;
mod find;
mod layout;
mod module_path;
mod resolver;
mod scales;
mod steps;

pub use attention::{Grid, attention};
pub use choose::{Choice, automatic, by_index, by_name, choose};
pub(crate) use find::{depends_on, descendants};
pub use find::{find, unlisted};
pub use resolver::{LayerResolver, Preference, Resolved, add_resolver, check_preferences, resolve, resolvers};
pub use scales::{Reach, scales};
pub use steps::steps;

use onnx_grad::ElemType;

use crate::error::{Error, Result};

/// How an activation's axes are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
    /// Batch, channels, length: a signal.
    Ncl,
    /// Batch, channels, depth, height, width: a volume, or a video, whose depth is time.
    Ncdhw,
    /// Batch, depth, height, width, channels.
    Ndhwc,
    /// Batch, tokens, channels: first `prefix` tokens that stand for no place (class, registers), then those of the grid, row by
    /// row.
    Tokens {
        /// Tokens before the grid.
        prefix: usize,
        /// The grid's height.
        height: usize,
        /// The grid's width.
        width: usize,
    },
}

impl Layout {
    /// Number of axes.
    pub fn rank(self) -> usize {
        match self {
            Self::Nchw | Self::Nhwc => 4,
            Self::Ncdhw | Self::Ndhwc => 5,
            Self::Ncl | Self::Tokens { .. } => 3,
        }
    }

    /// The axes of height and width; `None` where these are not two axes.
    pub fn spatial_axes(self) -> Option<[usize; 2]> {
        match self {
            Self::Nchw => Some([2, 3]),
            Self::Nhwc => Some([1, 2]),
            Self::Ncl | Self::Ncdhw | Self::Ndhwc | Self::Tokens { .. } => None,
        }
    }

    /// The axis of the channels.
    pub fn channel_axis(self) -> usize {
        match self {
            Self::Nchw | Self::Ncl | Self::Ncdhw => 1,
            Self::Nhwc => 3,
            Self::Ndhwc => 4,
            Self::Tokens { .. } => 2,
        }
    }

    /// The extents of space of an activation of that shape, on its own axes: one of a signal, three of a volume, else height and width.
    pub fn space(self, shape: &[Option<usize>]) -> Vec<Option<usize>> {
        let at = |axis: usize| shape.get(axis).copied().flatten();
        match self {
            Self::Ncl => vec![at(2)],
            Self::Ncdhw => vec![at(2), at(3), at(4)],
            Self::Ndhwc => vec![at(1), at(2), at(3)],
            Self::Nchw | Self::Nhwc | Self::Tokens { .. } => self.spatial(shape).to_vec(),
        }
    }

    /// Height and width of an activation of that shape, all of space laid out in a plane: a signal is one row, the slices of a volume lie one
    /// below the other.
    pub fn spatial(self, shape: &[Option<usize>]) -> [Option<usize>; 2] {
        let at = |axis: usize| shape.get(axis).copied().flatten();
        match self {
            Self::Nchw => [at(2), at(3)],
            Self::Nhwc => [at(1), at(2)],
            Self::Ncl => [Some(1), at(2)],
            Self::Ncdhw => [at(2).zip(at(3)).map(|(depth, height)| depth * height), at(4)],
            Self::Ndhwc => [at(1).zip(at(2)).map(|(depth, height)| depth * height), at(3)],
            Self::Tokens { height, width, .. } => [Some(height), Some(width)],
        }
    }

    /// The name that `layers` prints.
    pub fn name(self) -> String {
        match self {
            Self::Nchw => "NCHW".into(),
            Self::Nhwc => "NHWC".into(),
            Self::Ncl => "NCL".into(),
            Self::Ncdhw => "NCDHW".into(),
            Self::Ndhwc => "NDHWC".into(),
            Self::Tokens { prefix, height, width } => format!("tokens {prefix}+{height}×{width}"),
        }
    }
}

impl std::str::FromStr for Layout {
    type Err = String;

    /// `nchw`, `nhwc`, `ncl`, `ncdhw`, `ndhwc`, `tokens:14x14`, or with a class token `tokens:1+14x14`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "it must be nchw, nhwc, ncl, ncdhw, ndhwc, tokens:HEIGHTxWIDTH or tokens:PREFIX+HEIGHTxWIDTH".to_owned();
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "nchw" => Ok(Self::Nchw),
            "nhwc" => Ok(Self::Nhwc),
            "ncl" => Ok(Self::Ncl),
            "ncdhw" => Ok(Self::Ncdhw),
            "ndhwc" => Ok(Self::Ndhwc),
            other => {
                let grid = other.strip_prefix("tokens:").ok_or_else(wrong)?;
                let (prefix, grid) = grid.split_once('+').unwrap_or(("0", grid));
                let (height, width) = grid.split_once(['x', '×']).ok_or_else(wrong)?;
                let number = |text: &str| text.parse::<usize>().ok().filter(|&number| number < 1 << 16);
                match (number(prefix), number(height), number(width)) {
                    (Some(prefix), Some(height @ 1..), Some(width @ 1..)) => Ok(Self::Tokens { prefix, height, width }),
                    _ => Err(wrong()),
                }
            }
        }
    }
}

/// A value of the graph with spatial extent.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its place in the list, from 0, in the order of the graph.
    pub index: usize,
    /// The value's name in the graph.
    pub value: String,
    /// The operator that makes it.
    pub op: String,
    /// The PyTorch module whose output it is, or, failing that, inside which it is made.
    pub module: Option<String>,
    /// Every module, innermost last, whose output it is.
    pub outputs_of: Vec<String>,
    /// Its extents at the chosen input size; `None` for the batch where that is free.
    pub shape: Vec<Option<usize>>,
    /// Its element type.
    pub elem: ElemType,
    /// What its axes mean.
    pub layout: Layout,
    /// Whether `auto` may take it: it comes before the classifier (the last operator with learned weights) and, where that reads one
    /// class token, before the last attention.
    pub informative: bool,
}

impl Layer {
    /// The extents of its space, on its own axes: see [`Layout::space`]. Of an extent that isn't known 0.
    pub fn space(&self) -> Vec<usize> {
        self.layout.space(&self.shape).into_iter().map(Option::unwrap_or_default).collect()
    }

    /// The module whose output it is, by which it can be asked for; `None` where it is only made inside of one.
    pub fn output_of(&self) -> Option<&str> {
        self.module.as_deref().filter(|_| !self.outputs_of.is_empty())
    }

    /// The layer with its axes taken as that layout.
    ///
    /// # Errors
    /// [`Error::Layout`] if its shape doesn't fit.
    pub fn taken_as(mut self, layout: Layout) -> Result<Self> {
        let tokens = match layout {
            Layout::Tokens { prefix, height, width } => Some(prefix + height * width),
            _ => None,
        };
        if self.shape.len() != layout.rank() || tokens.is_some_and(|tokens| self.shape[1] != Some(tokens)) {
            let shape =
                self.shape.iter().map(|size| size.map_or("N".into(), |size| size.to_string())).collect::<Vec<_>>();
            return Err(Error::Layout { name: self.name().to_owned(), shape: shape.join("×"), layout: layout.name() });
        }
        self.layout = layout;
        Ok(self)
    }

    /// The name to show: the module's whose output it is, else the value's.
    pub fn name(&self) -> &str {
        self.output_of().unwrap_or(&self.value)
    }
}
