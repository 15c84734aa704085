//! Outputs as tables: a row a box, a column each of its numbers.

use std::{collections::HashSet, ops::Range, sync::Arc};

use ndarray::ArrayD;
use onnx_grad::{
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use super::{Evidence, sigmoid};
use crate::{
    error::{Error, Result},
    model::Labels,
    target::probabilities,
    task::{Context, Element},
};

/// How many rows are looked at, the surest first: as many as the suppression takes.
const MOST: usize = 3000;

/// The overlap of a head that needs no suppression: each box stays the same place of the outputs.
pub(super) const ALL: f32 = f32::INFINITY;

/// What a detector takes a value from.
pub(super) type Values<'a> = &'a dyn Fn(&str) -> Result<ArrayD<f32>>;

/// A value of the graph, read as rows: `[1, rows, columns]`, `[rows, columns]`, or `[1, columns, height, width]`, whose rows are its cells.
/// Of one column also `[1, rows]` and `[rows]`.
pub(super) struct Table {
    name: Arc<str>,
    values: ArrayD<f32>,
    columns: usize,
}

impl Table {
    /// Reads a value that has so many columns.
    ///
    /// # Errors
    /// It has another shape.
    pub(super) fn read(value: Values<'_>, name: &Arc<str>, columns: usize) -> Result<Self> {
        let values = value(name)?;
        let fits = match values.shape() {
            &[1, own, _, _] | &[1, _, own] => own == columns,
            &[_, own] => own == columns || columns == 1,
            &[_] => columns == 1,
            _ => false,
        };
        match fits {
            true => Ok(Self { name: Arc::clone(name), values, columns }),
            false => {
                let shape = values.shape();
                Err(Error::Value(format!("`{name}` has shape {shape:?}, which is no table of {columns} columns")))
            }
        }
    }

    /// How many rows it has.
    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    /// Height and width, of a map.
    pub(super) fn sides(&self) -> Option<[usize; 2]> {
        match self.values.shape() {
            &[_, _, height, width] => Some([height, width]),
            _ => None,
        }
    }

    fn place(&self, row: usize, column: usize) -> Vec<usize> {
        match *self.values.shape() {
            [_, _, _, width] => vec![0, column, row / width, row % width],
            [_, _, _] => vec![0, row, column],
            [rows, own] if own == self.columns && (own > 1 || self.values.len() == rows) => vec![row, column],
            [_, own] => vec![row / own, row % own],
            _ => vec![row],
        }
    }

    /// The number in a row and a column that it has.
    pub(super) fn at(&self, row: usize, column: usize) -> f32 {
        self.values.get(self.place(row, column).as_slice()).copied().unwrap_or(f32::NAN)
    }

    /// The same as an element of the outputs.
    pub(super) fn element(&self, row: usize, column: usize) -> (Element, f32) {
        let at = self.place(row, column);
        let number = self.values.get(at.as_slice()).copied().unwrap_or(f32::NAN);
        (Element { value: Arc::clone(&self.name), at }, number)
    }

    /// Four numbers of a row, from a column on.
    pub(super) fn four(&self, row: usize, from: usize) -> [f32; 4] {
        [0, 1, 2, 3].map(|column| self.at(row, from + column))
    }
}

/// The axis along which the columns of a [`Table`] lie, of a value of so many axes.
pub(super) fn classes_axis(rank: usize) -> usize {
    if rank == 3 { 2 } else { 1 }
}

/// Rows and columns of a value of floats that a [`Table`] reads; `None` where they are open.
pub(super) fn extent(context: &Context<'_>, name: &str) -> Option<(usize, usize)> {
    match context.floats(name)?[..] {
        [_, Some(rows), Some(columns)] | [Some(rows), Some(columns)] => Some((rows, columns)),
        [_, Some(columns), Some(height), Some(width)] => Some((height * width, columns)),
        _ => None,
    }
}

/// How scores speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Probabilities.
    Probabilities,
    /// Logits of independent classes.
    Logits,
    /// Logits of exclusive classes.
    Softmax,
}

/// The scores of some boxes.
pub(super) struct Scores {
    pub(super) table: Table,
    pub(super) says: Says,
    /// The columns that are classes; what is beside them is the background, or no score at all.
    pub(super) classes: Range<usize>,
    /// The columns that are scores.
    pub(super) all: Range<usize>,
}

impl Scores {
    /// The likeliest class's column, with its probability.
    fn best(&self, row: usize) -> (usize, f32) {
        let score = |column: usize| self.table.at(row, column);
        let first = self.classes.start;
        let column =
            self.classes.clone().fold(first, |best, column| if score(column) > score(best) { column } else { best });
        let probability = match self.says {
            Says::Probabilities => score(column),
            Says::Logits => sigmoid(score(column)),
            Says::Softmax => {
                let row: Vec<f32> = self.all.clone().map(score).collect();
                probabilities(&row, false)[column - self.all.start]
            }
        };
        (column, probability)
    }

    /// What speaks for a class.
    pub(super) fn evidence(&self, row: usize, column: usize) -> Evidence {
        let one = || vec![self.table.element(row, column)];
        match self.says {
            Says::Probabilities => Evidence::Probabilities(one()),
            Says::Logits => Evidence::Logits(one()),
            Says::Softmax => Evidence::Softmax {
                row: self.all.clone().map(|column| self.table.element(row, column)).collect(),
                class: column - self.all.start,
            },
        }
    }
}

/// A row, with its likeliest class's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Which of the tables.
    pub(super) level: usize,
    /// Its row.
    pub(super) row: usize,
    /// The column.
    pub(super) column: usize,
}

/// The surest rows of some tables.
pub(super) fn surest(levels: &[Scores]) -> Vec<Found> {
    let mut found = Vec::new();
    for (level, scores) in levels.iter().enumerate() {
        for row in 0..scores.table.rows() {
            let (column, probability) = scores.best(row);
            found.push((probability, Found { level, row, column }));
        }
    }
    the_most(found)
}

/// The first of some that are ordered by a number, the largest first.
pub(super) fn the_most(mut found: Vec<(f32, Found)>) -> Vec<Found> {
    found.retain(|(number, _)| !number.is_nan());
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    found.truncate(MOST);
    found.into_iter().map(|(_, found)| found).collect()
}

/// By how much a class's number is less than its column, where the background is the first: by none where the labels name it, or where there
/// are none.
pub(super) fn behind_background(labels: &Labels, columns: usize) -> usize {
    usize::from(!labels.is_empty() && labels.len() + 1 == columns)
}

/// Left, top, right, bottom of centre, width and height.
pub(super) fn corners([x, y, width, height]: [f32; 4]) -> [f32; 4] {
    [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
}

/// Shares of the input's width and height, as pixels.
pub(super) fn pixels([left, top, right, bottom]: [f32; 4], [height, width]: [usize; 2]) -> [f32; 4] {
    let (across, down) = (width as f32, height as f32);
    [left * across, top * down, right * across, bottom * down]
}

/// Height and width of the grid of a stride.
pub(super) fn grid([height, width]: [usize; 2], stride: usize) -> [usize; 2] {
    [height.div_ceil(stride), width.div_ceil(stride)]
}

/// How many cells the grids of some strides have.
pub(super) fn cells(size: [usize; 2], strides: &[usize]) -> usize {
    strides.iter().map(|stride| grid(size, *stride)).map(|[height, width]| height * width).sum()
}

/// The operators that make the numbers of a value, behind those that only move them.
pub(super) fn makers(graph: &GraphProto, name: &str) -> Vec<String> {
    let index = Index::new(graph);
    let (mut seen, mut found, mut open) = (HashSet::new(), Vec::new(), vec![name]);
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        let Some(node) = index.producer_node(value) else { continue };
        match &*node.op_type {
            "Concat" => open.extend(node.input.iter().map(String::as_str)),
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Cast" | "Slice" | "Split"
            | "Gather" | "GatherElements" | "GatherND" | "TopK" | "QuantizeLinear" | "DequantizeLinear" => {
                open.extend(node.input.first().map(String::as_str));
            }
            // A bias.
            "Add" if let Some(other) = biased(&index, node) => open.push(other),
            other => found.push(other.to_owned()),
        }
    }
    found
}

/// What a node adds a constant of one axis at most to.
fn biased<'a>(index: &Index<'_>, node: &'a NodeProto) -> Option<&'a str> {
    let is_bias = |name: &String| index.constant(name).is_some_and(|tensor| tensor.dims.len() <= 1);
    match &node.input[..] {
        [other, bias] if is_bias(bias) => Some(other),
        [bias, other] if is_bias(bias) => Some(other),
        _ => None,
    }
}

/// How the scores of a value speak: behind a logistic function or a softmax as probabilities, else as `logits` has it.
pub(super) fn says(context: &Context<'_>, name: &str, logits: Says) -> Says {
    let makers = makers(context.network.model.graph(), name);
    let all = |op: &[&str]| !makers.is_empty() && makers.iter().all(|maker| op.contains(&maker.as_str()));
    if all(&["Sigmoid", "HardSigmoid", "Softmax"]) { Says::Probabilities } else { logits }
}

/// Whether all numbers of a value come from a logistic function.
pub(super) fn is_sigmoid(context: &Context<'_>, name: &str) -> bool {
    let makers = makers(context.network.model.graph(), name);
    !makers.is_empty() && makers.iter().all(|maker| matches!(&**maker, "Sigmoid" | "HardSigmoid"))
}

/// Whether the numbers of a value come straight from learned weights.
pub(super) fn is_linear(context: &Context<'_>, name: &str) -> bool {
    let makers = makers(context.network.model.graph(), name);
    let linear = |op: &String| matches!(&**op, "Conv" | "Gemm" | "MatMul" | "BatchNormalization" | "FusedConv");
    !makers.is_empty() && makers.iter().all(linear)
}

/// A name as `Arc`.
pub(super) fn shared(name: &str) -> Arc<str> {
    name.into()
}

/// The output whose name, without what stands before its last slash or behind a colon, is one of these.
pub(super) fn called<'a>(context: &Context<'a>, names: &[&str]) -> Option<&'a str> {
    let bare = |name: &str| {
        let name = name.split(':').next().unwrap_or(name);
        name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase()
    };
    names.iter().find_map(|wanted| context.outputs().iter().map(String::as_str).find(|name| bare(name) == *wanted))
}

#[cfg(test)]
mod tests {
    use ndarray::Array;

    use super::*;

    fn table(shape: &[usize], columns: usize) -> Result<Table> {
        let count = shape.iter().product::<usize>();
        let values = Array::from_iter((0..count).map(|at| at as f32)).into_shape_with_order(shape.to_vec()).unwrap();
        Table::read(&|_| Ok(values.clone()), &"y".into(), columns)
    }

    #[test]
    fn a_row_is_found_in_every_shape() {
        for (shape, columns, rows, [row, column], number, at) in [
            (&[1, 5, 3][..], 3, 5, [2, 1], 7.0, vec![0, 2, 1]),
            (&[5, 3], 3, 5, [2, 1], 7.0, vec![2, 1]),
            (&[1, 3, 2, 4], 3, 8, [5, 1], 13.0, vec![0, 1, 1, 1]),
            (&[1, 6], 1, 6, [4, 0], 4.0, vec![0, 4]),
            (&[6, 1], 1, 6, [4, 0], 4.0, vec![4, 0]),
            (&[6], 1, 6, [4, 0], 4.0, vec![4]),
            (&[1, 6, 1], 1, 6, [4, 0], 4.0, vec![0, 4, 0]),
        ] {
            let table = table(shape, columns).unwrap();
            let (element, found) = table.element(row, column);
            assert_eq!((table.rows(), found, element.at), (rows, number, at), "{shape:?}");
            assert_eq!(table.at(row, column), number);
        }
        for (shape, columns) in [(&[1, 5, 3][..], 4), (&[2, 5, 3], 3), (&[5, 3], 4), (&[5], 2), (&[1, 3, 2, 4], 4)] {
            assert!(table(shape, columns).is_err(), "{shape:?}");
        }
    }
}
