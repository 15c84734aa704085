//! Where the elements of an output come from. Exporters join boxes and scores into one output; only the part that holds the scores has to be
//! differentiated for a box's score, and what computes the boxes' corners costs nothing then. They join what each scale's branch gives too,
//! often before a logistic function: followed through both, a box is an element of one scale alone, and the others have no part in it.

use std::{ops::Range, sync::Arc};

use onnx_grad::{Builder, Val, graph::Index, proto::NodeProto};

use super::Lies;
use crate::task::{Context, Element};

/// How far back nodes are followed.
const DEEPEST: usize = 32;

/// A value, or what it was made of by moving elements, and by the logistic function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The value itself.
    Here(Arc<str>),
    /// Values joined along an axis: the extent of each, and where it comes from if the wanted elements lie there.
    Joined { axis: usize, parts: Vec<(usize, Option<Origin>)> },
    /// A value whose axes were permuted.
    Permuted { perm: Vec<usize>, from: Box<Origin> },
    /// A value whose axes from `axis` on, of these extents, became one.
    Merged { axis: usize, extents: Vec<usize>, from: Box<Origin> },
    /// The logistic function of a value.
    Squashed(Box<Origin>),
}

/// The origin of the wanted elements of a value; the value itself where nothing of it is left out.
pub(super) fn of(context: &Context<'_>, lies: &Lies) -> Origin {
    let here = || Origin::Here(lies.value.as_str().into());
    let Some((axis, wanted)) = &lies.along else { return here() };
    let Some(extents) = context.floats(&lies.value) else { return here() };
    let mut region: Vec<Option<Range<usize>>> = vec![None; extents.len()];
    match region.get_mut(*axis) {
        Some(place) => *place = Some(wanted.clone()),
        None => return here(),
    }
    let index = Index::new(context.network.model.graph());
    let found = follow(context, &index, &lies.value, &region, 0);
    if found.is_worth() { found } else { here() }
}

/// `region`: the wanted range of each axis; `None`: all of it.
fn follow(
    context: &Context<'_>,
    index: &Index<'_>,
    value: &str,
    region: &[Option<Range<usize>>],
    depth: usize,
) -> Origin {
    let further = || {
        let node = index.producer_node(value).filter(|node| depth < DEEPEST && node.domain.is_empty())?;
        let first = node.input.first()?;
        match &*node.op_type {
            "Identity" => Some(follow(context, index, first, region, depth + 1)),
            "Sigmoid" => {
                let from = follow(context, index, first, region, depth + 1);
                (!from.is_squashed()).then(|| Origin::Squashed(Box::new(from)))
            }
            "Transpose" => {
                let perm = node.attr_ints("perm")?.iter().map(|&axis| usize::try_from(axis).ok());
                let perm = perm.collect::<Option<Vec<usize>>>().filter(|perm| perm.len() == region.len())?;
                let mut before = vec![None; region.len()];
                for (range, &axis) in region.iter().zip(&perm) {
                    *before.get_mut(axis)? = range.clone();
                }
                Some(Origin::Permuted { perm, from: Box::new(follow(context, index, first, &before, depth + 1)) })
            }
            "Concat" => {
                let axis = axis_of(node, region.len())?;
                let mut start = 0;
                let mut parts = Vec::with_capacity(node.input.len());
                for part in &node.input {
                    let extent = (*context.floats(part)?.get(axis)?)?;
                    let own = match &region[axis] {
                        None => Some(None),
                        Some(wanted) => {
                            let (from, to) = (wanted.start.max(start), wanted.end.min(start + extent));
                            (from < to).then(|| Some(from - start..to - start))
                        }
                    };
                    let mut before = region.to_vec();
                    let origin = own.map(|own| {
                        before[axis] = own;
                        follow(context, index, part, &before, depth + 1)
                    });
                    parts.push((extent, origin));
                    start += extent;
                }
                Some(Origin::Joined { axis, parts })
            }
            // The cells of a map become one axis, behind the channels.
            "Reshape" | "Flatten" => {
                let (before, after) = (context.floats(first)?, context.floats(value)?);
                let axis = after.len().checked_sub(1).filter(|&axis| axis > 0 && before.len() > after.len())?;
                let extents = before[axis..].iter().copied().collect::<Option<Vec<usize>>>()?;
                let is_merged = before[..axis] == after[..axis] && after[axis] == Some(extents.iter().product());
                let mut kept = region.get(..axis)?.to_vec();
                kept.extend(vec![None; extents.len()]);
                (is_merged && region[axis].is_none()).then(|| Origin::Merged {
                    axis,
                    extents,
                    from: Box::new(follow(context, index, first, &kept, depth + 1)),
                })
            }
            _ => None,
        }
    };
    match further() {
        Some(origin) if origin.is_worth() => origin,
        _ => Origin::Here(value.into()),
    }
}

fn axis_of(node: &NodeProto, rank: usize) -> Option<usize> {
    let axis = node.attr_int("axis")?;
    usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|&axis| axis < rank)
}

impl Origin {
    /// Whether less has to be differentiated than the value itself: a part is not wanted, or several can be taken one at a time.
    fn is_worth(&self) -> bool {
        match self {
            Self::Here(_) => false,
            Self::Joined { parts, .. } => {
                parts.len() > 1 || parts.iter().any(|(_, origin)| origin.as_ref().is_some_and(Origin::is_worth))
            }
            Self::Permuted { from, .. } | Self::Merged { from, .. } | Self::Squashed(from) => from.is_worth(),
        }
    }

    /// Whether the logistic function was taken on the way. Once is followed.
    fn is_squashed(&self) -> bool {
        match self {
            Self::Here(_) => false,
            Self::Squashed(_) => true,
            Self::Joined { parts, .. } => parts.iter().filter_map(|(_, part)| part.as_ref()).any(Self::is_squashed),
            Self::Permuted { from, .. } | Self::Merged { from, .. } => from.is_squashed(),
        }
    }

    /// The values that hold the wanted elements.
    pub(super) fn values(&self) -> Vec<String> {
        match self {
            Self::Here(name) => vec![name.to_string()],
            Self::Joined { parts, .. } => {
                parts.iter().filter_map(|(_, from)| Some(from.as_ref()?.values())).flatten().collect()
            }
            Self::Permuted { from, .. } | Self::Merged { from, .. } | Self::Squashed(from) => from.values(),
        }
    }

    /// What a seed of the value is at the values that hold the wanted elements: the elements move back.
    pub(super) fn seeds(&self, g: &mut Builder, seed: &Val) -> Vec<(String, Val)> {
        match self {
            Self::Here(name) => vec![(name.to_string(), seed.clone())],
            Self::Joined { axis, parts } => {
                let (mut start, mut found) = (0, Vec::new());
                for (extent, origin) in parts {
                    let end = start + extent;
                    if let Some(origin) = origin {
                        let part = g.slice(seed, &[start as i64], &[end as i64], &[*axis as i64], &[1]);
                        found.extend(origin.seeds(g, &part));
                    }
                    start = end;
                }
                found
            }
            Self::Permuted { perm, from } => {
                let mut back = vec![0; perm.len()];
                for (at, &axis) in perm.iter().enumerate() {
                    if let Some(place) = back.get_mut(axis) {
                        *place = at as i64;
                    }
                }
                let turned = g.transpose(seed, &back);
                from.seeds(g, &turned)
            }
            Self::Merged { axis, extents, from } => {
                let mut shape = vec![0; *axis];
                shape.extend(extents.iter().map(|extent| *extent as i64));
                let apart = g.reshape(seed, &shape);
                from.seeds(g, &apart)
            }
            // p = σ(x): dp/dx = p − p².
            Self::Squashed(from) => {
                let seeds = from.seeds(g, seed);
                let slope = |(name, seed): (String, Val)| {
                    let p = g.unary("Sigmoid", &Val::new(&name));
                    let square = g.mul(&p, &p);
                    let slope = g.sub(&p, &square);
                    (name, g.mul(&seed, &slope))
                };
                seeds.into_iter().map(slope).collect()
            }
        }
    }

    /// Where an element of the value comes from, and whether the logistic function was taken of it since; `None` where it is not among
    /// the wanted ones.
    pub(super) fn element(&self, mut at: Vec<usize>) -> Option<(Element, bool)> {
        match self {
            Self::Here(name) => Some((Element { value: Arc::clone(name), at }, false)),
            Self::Squashed(from) => from.element(at).map(|(element, _)| (element, true)),
            Self::Joined { axis, parts } => {
                let place = at.get_mut(*axis)?;
                for (extent, origin) in parts {
                    match place.checked_sub(*extent) {
                        Some(rest) => *place = rest,
                        None => return origin.as_ref()?.element(at),
                    }
                }
                None
            }
            Self::Permuted { perm, from } => {
                let mut before = vec![0; at.len()];
                for (place, &axis) in at.iter().zip(perm) {
                    *before.get_mut(axis)? = *place;
                }
                from.element(before)
            }
            Self::Merged { axis, extents, from } => {
                let mut rest = at.drain(*axis..).next()?;
                let mut places: Vec<usize> = Vec::with_capacity(extents.len());
                for extent in extents.iter().rev() {
                    places.push(rest.checked_rem(*extent)?);
                    rest /= extent;
                }
                at.extend(places.into_iter().rev());
                from.element(at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_where_they_were_before_they_were_joined_turned_and_merged() {
        // [1, 6, 20] of two levels: four sides beside two scores, over 4 × 4 cells and over 2 × 2.
        let level = |name: &str, side: usize| {
            let joined = Origin::Joined { axis: 1, parts: vec![(4, None), (2, Some(Origin::Here(name.into())))] };
            Origin::Merged { axis: 2, extents: vec![side, side], from: Box::new(joined) }
        };
        let levels = vec![(16, Some(level("fine", 4))), (4, Some(level("coarse", 2)))];
        let joined = Origin::Joined { axis: 2, parts: levels };
        let turned = Origin::Permuted { perm: vec![0, 2, 1], from: Box::new(joined) };
        assert_eq!(turned.values(), ["fine", "coarse"]);
        let element =
            |cell, row| turned.element(vec![0, cell, row]).map(|(found, _)| (found.value.to_string(), found.at));
        assert_eq!(element(6, 5), Some(("fine".into(), vec![0, 1, 1, 2])));
        assert_eq!(element(18, 4), Some(("coarse".into(), vec![0, 0, 1, 0])));
        assert_eq!(element(6, 3), None);
        assert_eq!(element(20, 4), None);
    }

    #[test]
    fn the_logistic_function_of_scales_that_were_joined_is_followed_to_each_scale() {
        let level = |name: &str, side: usize| {
            (
                side * side,
                Some(Origin::Merged { axis: 2, extents: vec![side, side], from: Box::new(Origin::Here(name.into())) }),
            )
        };
        let joined = Origin::Joined { axis: 2, parts: vec![level("fine", 4), level("coarse", 2)] };
        let scores = Origin::Squashed(Box::new(joined));
        let output = Origin::Joined { axis: 1, parts: vec![(4, None), (2, Some(scores))] };
        assert!(output.is_worth());
        assert_eq!(output.values(), ["fine", "coarse"]);
        let (element, is_squashed) = output.element(vec![0, 5, 17]).unwrap();
        assert_eq!((&*element.value, element.at, is_squashed), ("coarse", vec![0, 1, 0, 1], true));
        assert_eq!(output.element(vec![0, 3, 17]), None);
        assert!(!Origin::Squashed(Box::new(Origin::Here("all".into()))).is_worth());
    }
}
