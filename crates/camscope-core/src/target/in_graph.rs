//! Targets that a graph can find by itself: what `camscope export` makes seeds of.

use super::ClassSpec;

/// Which elements along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// One; negative ones count from the end.
    At(isize),
    /// From the first to before the last.
    Range(isize, Option<isize>),
}

/// A target in terms of the model's own values, without a photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InGraph {
    /// The class that an input of the graph asks for.
    Asked,
    /// A class.
    Class(ClassSpec),
    /// Logit A − logit B.
    Contrast(ClassSpec, ClassSpec),
    /// The n-th surest box, from 1.
    Box(usize),
    /// The surest box of a label, or of a class's number.
    BoxOf(String),
    /// All pixels of a class.
    Segment(String),
    /// The sum of some elements of an output, one entry an axis; `None`: its only number.
    Elements(String, Option<Vec<Along>>),
    /// Minus another.
    Not(Box<InGraph>),
}
