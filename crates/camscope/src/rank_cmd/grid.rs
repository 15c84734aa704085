//! The grid of methods and layers, and the heat of each.

use std::sync::Arc;

use camscope_core::{
    Error, Result,
    explain::{Explainer, Options},
    layer::Choice,
    method::{Chosen, Method},
    rank::{choices, default_methods, most_channels},
    runtime::{Canceller, Runtime},
    subject::TypedModel,
    target::TargetRef,
};
use ndarray::Array2;

use crate::{
    cli::{MethodArgs, RankArgs},
    explain_cmd::many::Ready,
    setup::{methods, note_all},
};

/// A method at a layer.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) method: Chosen,
    /// The layer, as `--layer` takes it; `None` of methods that look at none.
    pub(super) choice: Option<Choice>,
    /// Its name, and its value in the graph.
    pub(super) layer: Option<(String, String, Option<String>)>,
    /// Which of the grid's explainers gives its heat, and which of that one's groups.
    from: (usize, usize),
    /// About how many forward passes its heat takes.
    pub(super) cost: f64,
}

impl Candidate {
    /// To be read.
    pub(super) fn layer_name(&self) -> &str {
        self.layer.as_ref().map_or("the input", |(name, ..)| name)
    }
}

/// All that is tried, cheap methods first.
pub(super) struct Grid {
    pub(super) candidates: Vec<Candidate>,
    explainers: Vec<Arc<Explainer>>,
    layers: usize,
}

impl Grid {
    /// Makes everything ready that suits the model. Methods that don't are left out, with a word where they were asked for.
    ///
    /// # Errors
    /// A layer isn't there, there is no such method, or the runtime refuses.
    pub(super) fn new(
        runtime: &'static Runtime,
        subject: &Arc<TypedModel>,
        args: &RankArgs,
        how: &MethodArgs,
        target: &TargetRef,
        options: &Options,
    ) -> Result<Self> {
        let asked = match args.method.is_empty() {
            true => default_methods()?,
            false => methods(how, subject.sidecar(), std::slice::from_ref(target))?,
        };
        let mut wanted: Vec<Chosen> = asked;
        // They are stable: methods of one cost keep their order.
        let cost = |chosen: &Chosen| chosen.method.passes(&chosen.parameters, most_channels(subject));
        wanted.sort_by(|one, other| cost(one).total_cmp(&cost(other)));
        let choices = choices(subject, &args.layers)?;
        let mut grid = Self { candidates: Vec::new(), explainers: Vec::new(), layers: choices.len() };
        // One backward pass serves all programs over activation and gradient.
        let mut shared: Option<usize> = None;
        for chosen in wanted {
            let needs_layer = chosen.method.needs().layer;
            let is_program = matches!(chosen.method, Method::Cam(_));
            let made = match (is_program, shared) {
                (true, Some(at)) => Ok(at),
                _ => {
                    let layers = if needs_layer { choices.clone() } else { vec![Choice::Auto] };
                    let own = Options { method: chosen.clone(), layers, gradients: is_program, ..options.clone() };
                    Explainer::of(runtime, Arc::clone(subject), own).map(|explainer| {
                        grid.explainers.push(Arc::new(explainer));
                        grid.explainers.len() - 1
                    })
                }
            };
            match made {
                Ok(at) => {
                    if is_program {
                        shared = Some(at);
                    }
                    grid.add(&chosen, at, &choices, cost(&chosen));
                }
                Err(error) if is_unsuited(&error) => {
                    if !args.method.is_empty() {
                        note_all(&[format!("{} is left out: {error}", chosen.method.name())]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if grid.candidates.is_empty() {
            return Err(Error::Value("none of the methods suits the model".into()));
        }
        Ok(grid)
    }

    fn add(&mut self, chosen: &Chosen, at: usize, choices: &[Choice], cost: f64) {
        let explainer = &self.explainers[at];
        let needs_layer = chosen.method.needs().layer;
        for (group, own) in explainer.groups().iter().enumerate() {
            let taps = &explainer.taps()[own.taps.clone()];
            let join = |of: &dyn Fn(usize) -> String| (0..taps.len()).map(of).collect::<Vec<_>>().join(" + ");
            let name = join(&|at| taps[at].name().to_owned());
            let value = join(&|at| taps[at].value().unwrap_or("@input").to_owned());
            let module = match taps {
                [camscope_core::explain::Tap::Layer(layer)] => layer.output_of().map(str::to_owned),
                _ => None,
            };
            // `auto` is called what it is, so that the command gives the same whatever a sidecar says later; of several layers it is `auto`.
            let choice = match (choices, taps.len()) {
                _ if !needs_layer => None,
                (_, 1) => Some(Choice::Name(name.clone())),
                (choices, _) => choices.get(group).cloned(),
            };
            self.candidates.push(Candidate {
                method: chosen.clone(),
                choice,
                layer: needs_layer.then_some((name, value, module)),
                from: (at, group),
                cost,
            });
        }
    }

    /// About how many forward passes the heat of each candidate takes.
    pub(super) fn costs(&self) -> Vec<f64> {
        self.candidates.iter().map(|candidate| candidate.cost).collect()
    }

    /// `8 methods, 5 layers`.
    pub(super) fn describe(&self) -> String {
        let mut methods: Vec<String> = self.candidates.iter().map(|candidate| candidate.method.spec()).collect();
        methods.dedup();
        let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        format!("{}, {}", counted(methods.len(), "method"), counted(self.layers, "layer"))
    }

    /// The heat of the first `count` candidates for a photo; `None` of one that has none.
    ///
    /// # Errors
    /// The target names what the model doesn't have, or the runtime fails.
    pub(super) fn heats(&self, ready: &Ready, target: &TargetRef, count: usize) -> Result<Vec<Option<Array2<f32>>>> {
        let canceller = Canceller::new();
        let mut made: Vec<Option<Vec<Option<Array2<f32>>>>> = vec![None; self.explainers.len()];
        let mut passes = None;
        let mut heats = Vec::with_capacity(count);
        for candidate in self.candidates.iter().take(count) {
            let (at, group) = candidate.from;
            let explainer = &self.explainers[at];
            if let Method::Cam(_) = candidate.method.method {
                if passes.is_none() {
                    let forward = explainer.forward(&ready.tensor, &canceller)?.of_photos(&[ready.seen]);
                    let evaluated = explainer.evaluate(&forward, target)?;
                    let backward = explainer.backward(&forward, &evaluated, &canceller)?;
                    passes = Some((forward, backward));
                }
                let Some((forward, backward)) = &passes else { continue };
                let group = &explainer.groups()[group];
                let of_group = explainer.group_heatmaps(forward, backward, group, candidate.method.method)?;
                heats.push(of_group.into_iter().next());
                continue;
            }
            if made[at].is_none() {
                let outcome =
                    explainer.explain_seen(&[ready.tensor.view()], &[ready.seen], std::slice::from_ref(target))?.pop();
                let explanations = outcome.map(|outcome| outcome.explanations).unwrap_or_default();
                made[at] = Some(explanations.into_iter().map(|explanation| explanation.heatmap).collect());
            }
            heats.push(made[at].as_ref().and_then(|all| all.get(group).cloned().flatten()));
        }
        Ok(heats)
    }
}

/// Of all methods, some suit no model of this kind.
fn is_unsuited(error: &Error) -> bool {
    matches!(
        error,
        Error::NoAttention { .. } | Error::NothingToSwap { .. } | Error::CannotSmooth { .. } | Error::OneAtATime { .. }
    )
}
