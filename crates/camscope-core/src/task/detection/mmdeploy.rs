//! MMDetection's detectors as MMDeploy exports them: `dets` `[N, K, 5]`, left, top, right, bottom in the pixels of the input and a score, and
//! `labels` `[N, K]`, integers.

use std::sync::Arc;

use super::{
    Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies,
    table::{Says, Table, Values, shared},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format =
    Format { name: "mmdeploy", about: "MMDetection by MMDeploy: dets [N, K, 5], labels [N, K]", recognise };

#[derive(Debug)]
struct Head {
    dets: Arc<str>,
    labels: Arc<str>,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    let named = |said: Option<&str>, own: &str| {
        let name = said.unwrap_or(own);
        context.outputs().iter().find(|output| *output == name).map(String::as_str)
    };
    let dets = named(settings.boxes.as_deref(), "dets")?;
    let labels = named(None, "labels")?;
    let fits = context.floats(dets).is_some_and(|shape| shape.len() == 3 && shape[2].is_none_or(|sides| sides == 5));
    if !fits || context.extents(labels)?.len() != 2 {
        return None;
    }
    let by = format!("its outputs' names, `{dets}` and `{labels}`, and their shapes");
    Some((Arc::new(Head { dets: shared(dets), labels: shared(labels) }), by))
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        [&self.dets, &self.labels].map(|name| name.to_string()).to_vec()
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::along(&*self.dets, 2, 4..5)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let dets = Table::read(value, &self.dets, 5)?;
        let labels = Table::read(value, &self.labels, 1)?;
        let of = |at: usize| Detection {
            corners: dets.four(at, 0),
            class: labels.at(at, 0) as usize,
            evidence: Evidence::Probabilities(vec![dets.element(at, 4)]),
        };
        // What fills up has the label -1, or no score.
        let is_filled = |at: &usize| labels.at(*at, 0) >= 0.0 && dets.at(*at, 4) > 0.0;
        Ok((0..dets.rows().min(labels.rows())).filter(is_filled).map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        None
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let dets = to.table(&self.dets, 5)?;
        let (score, class) = (to.column(&dets, 4), to.row(&self.labels)?);
        Some(Emitted {
            pieces: vec![to.piece(&self.dets, 5)?],
            columns: 5,
            filled: Some(to.filled(&score, &class)),
            scores: Columns::Given { score: 4, classes: to.classes(&class) },
            says: Says::Probabilities,
            corners: to.cut(&dets, 0..4),
        })
    }
}
