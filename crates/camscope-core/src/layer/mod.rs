//! The layers of a model: its values with spatial extent, and how people name them.

mod choose;
mod find;
mod module_path;

pub use choose::{Choice, automatic, by_index, by_name, choose};
pub use find::find;
use onnx_grad::ElemType;

/// How an activation's axes are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

impl Layout {
    /// Number of axes.
    pub fn rank(self) -> usize {
        4
    }

    /// Height and width of an activation of that shape.
    pub fn spatial(self, shape: &[Option<usize>]) -> [Option<usize>; 2] {
        let at = |axis: usize| shape.get(axis).copied().flatten();
        match self {
            Self::Nchw => [at(2), at(3)],
            Self::Nhwc => [at(1), at(2)],
        }
    }

    /// The name that `layers` prints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nchw => "NCHW",
            Self::Nhwc => "NHWC",
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
    /// Whether it comes before the classifier: the last operator with learned weights.
    pub before_classifier: bool,
}

impl Layer {
    /// The name to show: the module's, else the value's.
    pub fn name(&self) -> &str {
        self.module.as_deref().unwrap_or(&self.value)
    }
}
