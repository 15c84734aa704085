//! Boxes as values of a graph, for exports that choose one of them in the graph: the same numbers that [`Detector::boxes`](super::Detector::boxes)
//! reads on the host.
//!
//! Whatever shape an output has, its scores become a table `[N, boxes, columns]` here, of which a seed has a way back. Corners may be in any
//! unit, since overlap is a ratio of areas.

use std::ops::Range;

use onnx_grad::{Builder, ElemType, Types, Val, proto::TensorProto};

use super::table::Says;

/// The boxes of each image as values of a graph.
#[derive(Debug)]
pub struct Emitted {
    /// The values that hold the scores; one after the other they are the boxes.
    pub pieces: Vec<Piece>,
    /// The columns of each.
    pub columns: usize,
    /// Where the scores of a box lie among them.
    pub scores: Columns,
    /// What scores are.
    pub says: Says,
    /// Left, top, right, bottom, `[N, boxes, 4]`.
    pub corners: Val,
    /// Which of the places hold a box, `[N, boxes]`; `None`: all.
    pub filled: Option<Val>,
}

/// Which columns of a table are scores.
#[derive(Debug)]
pub enum Columns {
    /// One each class.
    Classes {
        /// The classes' own.
        own: Range<usize>,
        /// What the number of the first of them is.
        first: usize,
        /// Those that are exclusive, with the background.
        all: Range<usize>,
        /// One whose probability multiplies the class's.
        objectness: Option<usize>,
    },
    /// One for the class that the model says.
    Given {
        /// The score's column.
        score: usize,
        /// The classes' numbers, int64, `[N, boxes]`.
        classes: Val,
    },
}

/// How a value becomes a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// It is one: `[N, rows, columns]`.
    Plain,
    /// `[N, columns, rows]`.
    Turned,
    /// `[N, columns, height, width]`.
    Map,
    /// Rows along several axes, as they lie in memory: `[N, …, columns]`, or any of one column.
    Merged,
    /// `[N, rows]`, of one column.
    Row,
    /// `[rows, columns]`, of one image.
    One,
    /// `[rows]`, of one image and one column.
    Single,
}

/// A value that holds rows of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its name.
    pub value: String,
    /// How many rows it has; `None`: as many as a run finds.
    pub rows: Option<usize>,
    form: Form,
    columns: usize,
    /// Another with as many rows, whose columns stand behind its own.
    beside: Option<Box<Piece>>,
}

impl Piece {
    /// The same with another's columns behind its own.
    pub(super) fn beside(self, other: Self) -> Self {
        Self { beside: Some(Box::new(other)), ..self }
    }

    /// As a table, `[N, rows, columns]`.
    pub fn table(&self, g: &mut Builder) -> Val {
        let own = self.own_table(g);
        match &self.beside {
            Some(other) => {
                let other = other.table(g);
                g.concat(&[&own, &other], 2)
            }
            None => own,
        }
    }

    fn own_table(&self, g: &mut Builder) -> Val {
        let (value, columns) = (Val::new(&self.value), self.columns as i64);
        match self.form {
            Form::Plain => value,
            Form::Turned => g.transpose(&value, &[0, 2, 1]),
            Form::Map => {
                let rows = g.reshape(&value, &[0, columns, -1]);
                g.transpose(&rows, &[0, 2, 1])
            }
            Form::Merged => g.reshape(&value, &[0, -1, columns]),
            Form::Row => g.unsqueeze(&value, &[2]),
            Form::One => g.unsqueeze(&value, &[0]),
            Form::Single => g.unsqueeze(&value, &[0, 2]),
        }
    }

    /// Whether it has no axis for the batch.
    pub(super) fn is_of_one_image(&self) -> bool {
        matches!(self.form, Form::One | Form::Single)
    }

    /// What a seed of the table is at each value that it is made of.
    pub fn seeds(&self, g: &mut Builder, seed: &Val) -> Vec<(String, Val)> {
        let Some(other) = &self.beside else { return vec![(self.value.clone(), self.seed(g, seed))] };
        let own = self.columns as i64;
        let (first, rest) = (g.slice(seed, &[0], &[own], &[2], &[1]), g.slice(seed, &[own], &[i64::MAX], &[2], &[1]));
        let mut seeds = vec![(self.value.clone(), self.seed(g, &first))];
        seeds.extend(other.seeds(g, &rest));
        seeds
    }

    fn seed(&self, g: &mut Builder, seed: &Val) -> Val {
        match self.form {
            Form::Plain => seed.clone(),
            Form::Turned => g.transpose(seed, &[0, 2, 1]),
            Form::Map | Form::Merged => {
                let seed = if self.form == Form::Map { g.transpose(seed, &[0, 2, 1]) } else { seed.clone() };
                let shape = g.shape(&Val::new(&self.value));
                g.reshape_to(&seed, &shape)
            }
            Form::Row => g.squeeze(seed, &[2]),
            Form::One => g.squeeze(seed, &[0]),
            Form::Single => g.squeeze(seed, &[0, 2]),
        }
    }
}

/// Where a head emits what it reads.
pub struct Emission<'a> {
    /// The graph.
    pub g: &'a mut Builder,
    /// The types of its values.
    pub types: &'a Types,
}

impl Emission<'_> {
    pub(super) fn extents(&self, name: &str) -> Option<Vec<Option<usize>>> {
        Some(self.types.get(name)?.shape.as_ref()?.iter().map(|dim| dim.fixed()).collect())
    }

    /// The number of columns of a value whose last axis they lie along.
    pub(super) fn columns(&self, name: &str) -> Option<usize> {
        *self.extents(name)?.last()?
    }

    fn piece_of(&self, name: &str, columns: usize, form: Form, rows: Option<usize>) -> Piece {
        Piece { value: name.to_owned(), rows, form, columns, beside: None }
    }

    /// A value as rows of so many columns, as [`super::table::Table`] reads it; `None` where its shape is not known.
    pub(super) fn piece(&self, name: &str, columns: usize) -> Option<Piece> {
        let extents = self.extents(name)?;
        let (form, rows) = match extents[..] {
            [_, _, height, width] => (Form::Map, height.zip(width).map(|(height, width)| height * width)),
            [_, rows, _] => (Form::Plain, rows),
            [_, rows] if columns == 1 && rows != Some(1) => (Form::Row, rows),
            [rows, _] => (Form::One, rows),
            [rows] => (Form::Single, rows),
            _ => return None,
        };
        Some(self.piece_of(name, columns, form, rows))
    }

    /// A value `[N, columns, rows]`.
    pub(super) fn turned(&self, name: &str, columns: usize) -> Piece {
        let rows = self.extents(name).and_then(|extents| *extents.get(2)?);
        self.piece_of(name, columns, Form::Turned, rows)
    }

    /// A value whose axes behind the batch, but for its columns, are rows as they lie in memory.
    pub(super) fn merged(&self, name: &str, columns: usize) -> Piece {
        let all = self.extents(name).and_then(|all| all.get(1..)?.iter().copied().product::<Option<usize>>());
        self.piece_of(name, columns, Form::Merged, all.map(|all| all / columns.max(1)))
    }

    /// A value as a table of floats, `[N, rows, columns]`.
    pub(super) fn table(&mut self, name: &str, columns: usize) -> Option<Val> {
        let piece = self.piece(name, columns)?;
        let table = piece.table(self.g);
        let elem = self.types.get(name)?.elem;
        Some(if elem == ElemType::Float { table } else { self.g.cast(&table, ElemType::Float) })
    }

    /// A value of one column, `[N, rows]`, as floats.
    pub(super) fn row(&mut self, name: &str) -> Option<Val> {
        let table = self.table(name, 1)?;
        Some(self.g.squeeze(&table, &[2]))
    }

    /// Some columns of a table.
    pub(super) fn cut(&mut self, table: &Val, columns: Range<usize>) -> Val {
        self.g.slice(table, &[columns.start as i64], &[columns.end as i64], &[2], &[1])
    }

    /// A column of a table, `[N, rows]`.
    pub(super) fn column(&mut self, table: &Val, at: usize) -> Val {
        let column = self.cut(table, at..at + 1);
        self.g.squeeze(&column, &[2])
    }

    /// Numbers, a row a box, `[1, rows, columns]`.
    pub(super) fn constant<const COLUMNS: usize>(&mut self, rows: impl IntoIterator<Item = [f32; COLUMNS]>) -> Val {
        let numbers: Vec<f64> = rows.into_iter().flatten().map(f64::from).collect();
        let count = numbers.len() / COLUMNS.max(1);
        self.g.floats(ElemType::Float, &[1, count as i64, COLUMNS as i64], &numbers)
    }

    pub(super) fn scale(&mut self, value: &Val, by: f32) -> Val {
        self.g.scale(value, ElemType::Float, f64::from(by))
    }

    /// Whether numbers are 0 or above.
    pub(super) fn not_below_zero(&mut self, value: &Val) -> Val {
        let zero = self.g.scalar(ElemType::Float, 0.0);
        self.g.binary("GreaterOrEqual", value, &zero)
    }

    /// Which places hold a box, where those that don't have no class or a score of zero.
    pub(super) fn filled(&mut self, score: &Val, class: &Val) -> Val {
        let zero = self.g.scalar(ElemType::Float, 0.0);
        let has_class = self.not_below_zero(class);
        let is_nothing = self.g.binary("Equal", score, &zero);
        let has_score = self.g.unary("Not", &is_nothing);
        self.g.binary("And", &has_class, &has_score)
    }

    /// Numbers of classes, given as floats, as integers.
    pub(super) fn classes(&mut self, numbers: &Val) -> Val {
        let numbers = self.g.unary("Round", numbers);
        self.g.cast(&numbers, ElemType::Int64)
    }

    /// Corners of boxes around centres, each of two columns.
    pub(super) fn around(&mut self, centre: &Val, sides: &Val) -> Val {
        let half = self.scale(sides, 0.5);
        let (first, last) = (self.g.sub(centre, &half), self.g.add(centre, &half));
        self.g.concat(&[&first, &last], 2)
    }

    /// Corners of a table of centre, width and height.
    pub(super) fn boxed(&mut self, four: &Val) -> Val {
        let (centre, sides) = (self.cut(four, 0..2), self.cut(four, 2..4));
        self.around(&centre, &sides)
    }

    /// Corners of four distances, `[N, rows, 4]`, from places: across, down, and what a distance of 1 is.
    pub(super) fn reaching(&mut self, distances: &Val, places: &[[f32; 3]]) -> Val {
        let from = self.constant(places.iter().map(|[x, y, _]| [*x, *y, *x, *y]));
        let steps = self.constant(places.iter().map(|[.., step]| [-step, -step, *step, *step]));
        let moved = self.g.mul(distances, &steps);
        self.g.add(&from, &moved)
    }

    /// Tables, one below the other.
    pub(super) fn below(&mut self, tables: &[Val]) -> Val {
        self.g.concat(&tables.iter().collect::<Vec<_>>(), 1)
    }

    /// The whole numbers from 0 to before a number that is a scalar.
    pub fn range(&mut self, end: &Val) -> Val {
        let (start, step) = (self.g.int(0), self.g.int(1));
        self.g.op("Range", &[&start, end, &step], vec![])
    }

    /// The extent of an axis, a scalar.
    pub fn extent(&mut self, value: &Val, axis: i64) -> Val {
        let shape = self.g.shape(value);
        let axis = self.g.int(axis);
        self.g.op("Gather", &[&shape, &axis], vec![])
    }

    /// The numbers from 0, `[count]`.
    pub fn numbers(&mut self, count: usize) -> Val {
        let all: Vec<i64> = (0..count as i64).collect();
        self.g.constant(TensorProto::ints("", &[count as i64], &all))
    }
}
