//! PaddleDetection with its post-processing inside: an output `[n, 6]` of class, score, left, top, right, bottom, one with the number of
//! boxes an image, and an input `scale_factor` `[N, 2]` (down, across): the network's pixels to a pixel of the photo.

use std::sync::Arc;

use super::{
    Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies,
    table::{Says, Table, Values, shared},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "paddle",
    about: "PaddleDetection with its suppression: [n, 6] of class, score, corners, and the input scale_factor",
    recognise,
};

/// The input that says which pixels boxes are given in.
const SCALE: &str = "scale_factor";

#[derive(Debug)]
struct Head {
    output: Arc<str>,
    /// The network's pixels to one of the box's, across and down.
    scale: [f32; 2],
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let fed = context.network.others().find(|input| input.name == SCALE);
    let is_rows = |name: &&str| {
        let shape = context.floats(name);
        shape.is_some_and(|shape| shape.len() == 2 && shape[1] == Some(6))
    };
    let settings = context.settings;
    if fed.is_none() && settings.format.is_none() {
        return None;
    }
    let output = match settings.output.as_deref().or(settings.boxes.as_deref()) {
        Some(said) => Some(said).filter(is_rows)?,
        None => context.outputs().iter().map(String::as_str).find(is_rows)?,
    };
    let value = fed.and_then(|input| input.value.as_ref()).map(|value| value.iter().copied().collect::<Vec<_>>());
    let scale = match value.as_deref() {
        Some(&[down, across, ..]) if across > 0.0 && down > 0.0 => [across, down],
        _ => [1.0, 1.0],
    };
    let by = format!("the shape of `{output}` and its input `{SCALE}`");
    Some((Arc::new(Head { output: shared(output), scale }), by))
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        vec![self.output.to_string()]
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::along(&*self.output, 1, 1..2)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let table = Table::read(value, &self.output, 6)?;
        let [across, down] = self.scale;
        let of = |at: usize| {
            let [left, top, right, bottom] = table.four(at, 2);
            Detection {
                corners: [left * across, top * down, right * across, bottom * down],
                class: table.at(at, 0).max(0.0) as usize,
                evidence: Evidence::Probabilities(vec![table.element(at, 1)]),
            }
        };
        // Rows that nothing was found for have the class -1.
        Ok((0..table.rows()).filter(|at| table.at(*at, 0) >= 0.0).map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        None
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let table = to.table(&self.output, 6)?;
        let class = to.column(&table, 0);
        Some(Emitted {
            pieces: vec![to.piece(&self.output, 6)?],
            columns: 6,
            // Rows that nothing was found for have the class -1.
            filled: Some(to.not_below_zero(&class)),
            scores: Columns::Given { score: 1, classes: to.classes(&class) },
            says: Says::Probabilities,
            corners: to.cut(&table, 2..6),
        })
    }
}
