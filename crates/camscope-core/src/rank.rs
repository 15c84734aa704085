//! Which layer, which method: what is tried, and how much of it a budget of forward passes pays for.

use crate::{
    error::{Error, Result},
    layer::{self, Choice, Layer},
    method::{Chosen, Method, all, parse},
    subject::TypedModel,
};

/// How many layers are tried at most, besides the one that `auto` takes.
const LAYERS: usize = 5;

/// How many maps of one resolution are tried where the resolution changes nowhere, as in a transformer.
const EVEN: usize = 4;

/// The layers worth trying, the deepest first: the last of each resolution before the classifier, where the next one is coarser; where the
/// resolution hardly changes, some at even depths. Their places in the list.
pub fn stages(layers: &[Layer]) -> Vec<usize> {
    let informative: Vec<&Layer> = layers.iter().filter(|layer| layer.informative).collect();
    let known = if informative.is_empty() { layers.iter().collect() } else { informative };
    let mut stages: Vec<usize> = Vec::new();
    let alike: Vec<&[&Layer]> = known.chunk_by(|one, next| one.space() == next.space()).collect();
    for run in &alike {
        let Some(last) = run.last() else { continue };
        // A branch may come back to a resolution: what comes last counts.
        stages.retain(|at| layers[*at].space() != last.space());
        stages.push(last.index);
    }
    if stages.len() < 3
        && let Some(longest) = alike.iter().max_by_key(|run| run.len())
    {
        // Sums end the blocks of a residual network.
        let sums: Vec<&&Layer> = longest.iter().filter(|layer| layer.op == "Add").collect();
        let of = if sums.len() >= EVEN { sums } else { longest.iter().collect() };
        let count = EVEN.min(of.len());
        stages.extend((1..=count).map(|at| of[at * of.len() / count - 1].index));
    }
    stages.sort_unstable_by(|one, other| other.cmp(one));
    stages.dedup();
    stages.truncate(LAYERS);
    stages
}

/// The methods that are tried where nobody says: what explains fast.
///
/// # Errors
/// None: all of them are built in.
pub fn default_methods() -> Result<Vec<Chosen>> {
    let programs = all().into_iter().filter(|method| matches!(method, Method::Cam(_))).map(|method| Ok(method.into()));
    programs.chain(["eigencam", "input-x-gradient"].map(parse)).collect()
}

/// The most channels that a layer has on which a heatmap says something: what the costs of methods go by.
pub fn most_channels(subject: &TypedModel) -> usize {
    let channels = |layer: &layer::Layer| layer.shape.get(layer.layout.channel_axis()).copied().flatten();
    subject.layers().iter().filter(|layer| layer.informative).filter_map(channels).max().unwrap_or(1)
}

/// The layers that are tried, each once: those asked for, else `auto` and those where the resolution changes.
///
/// # Errors
/// One isn't there.
pub fn choices(subject: &TypedModel, asked: &[Choice]) -> Result<Vec<Choice>> {
    if asked.iter().any(|choice| matches!(choice, Choice::Input | Choice::InputOf(_))) {
        return Err(Error::Value(format!(
            "there is no heat at the input `{}` for methods that look at a layer; those that look at the input are tried without --layer",
            subject.network().input().name
        )));
    }
    let default = subject.default_layer();
    let all: Vec<Choice> = match asked {
        [] => {
            let deep = stages(subject.layers()).into_iter().map(Choice::Index);
            std::iter::once(Choice::Auto).chain(deep).collect()
        }
        asked => asked.to_vec(),
    };
    let mut known = Vec::new();
    let mut kept = Vec::new();
    for choice in all {
        let place = match choice {
            // Several layers as one are no other's.
            Choice::Auto if subject.default_layers().len() > 1 => None,
            _ => match layer::choose(subject.layers(), default, &choice) {
                Ok(layer) => Some(layer.index),
                Err(Error::NoLayers) if asked.is_empty() => continue,
                Err(error) => return Err(error),
            },
        };
        if !known.contains(&place) {
            known.push(place);
            kept.push(choice);
        }
    }
    Ok(if kept.is_empty() { vec![Choice::Auto] } else { kept })
}

/// What is tried within a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many candidates: the first so many.
    pub candidates: usize,
    /// How many pictures each is tried on: the first so many.
    pub pictures: usize,
    /// How many forward passes score one map.
    pub passes: usize,
}

impl Plan {
    /// How many forward passes it takes in all, where making a map of a candidate costs so many.
    pub fn total(&self, costs: &[f64]) -> f64 {
        let making: f64 = costs.iter().take(self.candidates).sum();
        self.pictures as f64 * (making + (self.candidates * self.passes) as f64)
    }
}

/// How many passes score a map, the most exact first; with fewer, ROAD removes fewer shares of the pixels.
const EXACT: [usize; 3] = [18, 10, 6];

/// What is tried without any budget.
pub fn whole(candidates: usize, pictures: usize) -> Plan {
    Plan { candidates, pictures, passes: EXACT[0] }
}

/// What a budget of forward passes pays for. `costs` has, for each candidate in order, how many passes making a map of it takes. All are tried on
/// the same pictures by as many passes. Where the budget is short, maps are scored by fewer passes first, then fewer pictures are
/// looked at, then fewer candidates. At least one candidate is tried on one picture.
pub fn plan(costs: &[f64], pictures: usize, budget: f64) -> Plan {
    let all = costs.len();
    let fits = |plan: &Plan| plan.total(costs) <= budget;
    let of = |passes| Plan { candidates: all, pictures, passes };
    let exact = EXACT.into_iter().map(of);
    let fewer_pictures = (1..pictures).rev().map(|pictures| Plan { candidates: all, pictures, passes: 6 });
    let coarse = [4, 2].into_iter().map(|passes| Plan { candidates: all, pictures: 1, passes });
    let fewer = (1..all).rev().map(|candidates| Plan { candidates, pictures: 1, passes: 2 });
    let least = Plan { candidates: all.min(1), pictures: pictures.min(1), passes: 2 };
    exact.chain(fewer_pictures).chain(coarse).chain(fewer).find(fits).unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use onnx_grad::ElemType;

    use super::*;
    use crate::layer::Layout;

    fn layers(sizes: &[(usize, &str)]) -> Vec<Layer> {
        let of = |(index, (size, op)): (usize, &(usize, &str))| Layer {
            index,
            value: format!("v{index}"),
            op: (*op).to_owned(),
            module: None,
            outputs_of: Vec::new(),
            shape: vec![None, Some(8), Some(*size), Some(*size)],
            elem: ElemType::Float,
            layout: Layout::Nchw,
            informative: true,
        };
        sizes.iter().enumerate().map(of).collect()
    }

    #[test]
    fn the_last_layer_of_each_resolution_is_tried_the_deepest_first() {
        let sizes = [(56, "Conv"), (56, "Relu"), (28, "Conv"), (28, "Add"), (14, "Conv"), (14, "Relu"), (7, "Conv")];
        assert_eq!(stages(&layers(&sizes)), [6, 5, 3, 1]);
        let mut known = layers(&sizes);
        // What comes behind the classifier says nothing.
        known[6].informative = false;
        assert_eq!(stages(&known), [5, 3, 1]);
        let many: Vec<(usize, &str)> = (1..9).rev().map(|size| (size, "Conv")).collect();
        assert_eq!(stages(&layers(&many)).len(), LAYERS);
        assert!(stages(&[]).is_empty());
    }

    #[test]
    fn where_the_resolution_stays_layers_at_even_depths_are_tried() {
        let sizes: Vec<(usize, &str)> = (0..24).map(|at| (14, if at % 3 == 2 { "Add" } else { "MatMul" })).collect();
        assert_eq!(stages(&layers(&sizes)), [23, 17, 11, 5]);
        assert_eq!(stages(&layers(&sizes[..1])), [0]);
    }

    #[test]
    fn the_budget_is_kept_and_all_candidates_are_tried_alike() {
        let costs = [1.0, 1.0, 4.0];
        let exact = Plan { candidates: 3, pictures: 10, passes: 18 };
        assert_eq!((exact.total(&costs), whole(3, 10)), (600.0, exact));
        assert_eq!(plan(&costs, 10, 600.0), exact);
        assert_eq!(plan(&costs, 10, 599.0), Plan { passes: 10, ..exact });
        assert_eq!(plan(&costs, 10, 240.0), Plan { passes: 6, ..exact });
        assert_eq!(plan(&costs, 10, 100.0), Plan { pictures: 4, passes: 6, ..exact });
        assert_eq!(plan(&costs, 10, 18.0), Plan { candidates: 3, pictures: 1, passes: 4 });
        assert_eq!(plan(&costs, 10, 6.0), Plan { candidates: 2, pictures: 1, passes: 2 });
        for budget in [1.0, 7.0, 50.0, 333.0, 1e6] {
            let plan = plan(&costs, 10, budget);
            assert!(plan.total(&costs) <= budget.max(3.0), "{budget}: {plan:?}");
        }
        assert_eq!(plan(&costs, 10, 0.0), Plan { candidates: 1, pictures: 1, passes: 2 });
        assert_eq!(plan(&[], 0, 0.0), Plan { candidates: 0, pictures: 0, passes: 18 });
    }
}
