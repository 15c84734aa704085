//! `LSTM`, `GRU` and `RNN`: backward through time.
//!
//! Every step's hidden state is an output, so all gates of all steps are recomputed at once, as one product. What remains
//! sequential, a small elementwise update and one product with the recurrence weights a step, is the body of a `Scan`, so that the
//! graph stays small and the sequence may be of any length.

mod activation;
mod gru;
mod lengths;
mod lstm;
mod rnn;

use crate::{
    attr,
    builder::{Builder, Val},
    proto::GraphProto,
    quantised::ROUNDED_STATE,
    registry::{Entry, Grad, Unsupported, rule},
    types::{Dim, ElemType, ValueType, value_info},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("GRU", gru::gru), rule("LSTM", lstm::lstm), rule("RNN", rnn::rnn)];

/// One direction of a node, with time as the first axis: S steps, B images, I inputs, H hidden, G gates.
struct Run {
    /// Which direction it is.
    at: usize,
    /// Whether time runs from the last step to the first.
    reverse: bool,
    elem: ElemType,
    hidden: i64,
    /// S × B × I
    x: Val,
    /// G·H × I
    w: Val,
    /// G·H × H
    r: Val,
    /// 2 × G·H: added to the products with `w` and with `r`
    bias: Option<Val>,
    /// S × B × H: the hidden state before each step
    before: Val,
    /// B × H: the hidden state before the first
    initial: Val,
    /// S × B × H: the hidden state after each step
    after: Val,
    /// S × B × H: the cotangent of that, as an output
    gy: Val,
    /// B × H: the cotangent of the last hidden state, and zeros of that shape
    gh: Val,
    zeros: Val,
    /// Where the sequences are of different lengths
    padding: Option<lengths::Padding>,
}

/// The cotangents that one direction sends back.
struct Back {
    /// S × B × G·H: of the gates before their activations, as sums over the input and over the hidden state
    by_input: Val,
    by_hidden: Val,
    /// B × H: of the initial states
    initial: Vec<Val>,
    /// G·H × H: of `r`, where it isn't just that of a product with the state before
    r: Option<Val>,
    /// 3·H: of the peepholes
    peepholes: Option<Val>,
}

/// One of several along an axis.
fn pick(g: &mut Builder, value: &Val, at: usize, axis: i64) -> Val {
    let at = g.int(at as i64);
    g.op("Gather", &[value, &at], vec![attr::int("axis", axis)])
}

/// Splits a node into its directions, has `back` differentiate each, and puts the gradients together.
fn both_directions(
    v: &mut Vjp<'_>,
    gates: i64,
    back: impl Fn(&mut Vjp<'_>, &Run) -> Result<Back>,
) -> Result<Vec<Grad>> {
    let runs = runs(v, gates)?;
    let backs = runs.iter().map(|run| back(v, run)).collect::<Result<Vec<Back>>>()?;
    v.each(|v, i| {
        let mut parts = Vec::new();
        for (run, back) in runs.iter().zip(&backs) {
            parts.push(part(v, run, back, i)?);
        }
        let turns = batch_first(v) && matches!(i, 0 | 5 | 6);
        let whole = if i == 0 {
            v.g.sum(&parts).ok_or("it has no direction")?
        } else {
            let stacked: Vec<Val> = parts.iter().map(|part| v.g.unsqueeze(part, &[0])).collect();
            let stacked: Vec<&Val> = stacked.iter().collect();
            v.g.concat(&stacked, 0)
        };
        Ok(if turns { v.g.transpose(&whole, &[1, 0, 2]) } else { whole })
    })
}

/// The gradient of input `i`, as far as one direction goes.
fn part(v: &mut Vjp<'_>, run: &Run, back: &Back, i: usize) -> Result<Val> {
    // Σ over steps and images of one times the other
    let outer = |v: &mut Vjp<'_>, left: &Val, right: &Val, width: i64| {
        let gates = v.fixed(2, [1])?[0] as i64;
        let left = v.g.reshape(left, &[-1, gates]);
        let right = v.g.reshape(right, &[-1, width]);
        Ok::<Val, Unsupported>(v.g.op("Gemm", &[&left, &right], vec![attr::int("transA", 1)]))
    };
    match i {
        0 => Ok(v.g.matmul(&back.by_input, &run.w)),
        1 => {
            let width = v.fixed(1, [2])?[0] as i64;
            outer(v, &back.by_input, &run.x, width)
        }
        2 => match &back.r {
            Some(r) => Ok(r.clone()),
            None => outer(v, &back.by_hidden, &run.before, run.hidden),
        },
        3 => {
            let sums = [&back.by_input, &back.by_hidden].map(|value| v.g.reduce_sum(value, &[0, 1], false));
            Ok(v.g.concat(&[&sums[0], &sums[1]], 0))
        }
        5 | 6 => back.initial.get(i - 5).cloned().ok_or_else(|| "there is no gradient for this input".into()),
        7 => back.peepholes.clone().ok_or_else(|| "there is no gradient for this input".into()),
        _ => Err("there is no gradient for this input".into()),
    }
}

/// Whether the batch is the first axis (`layout` 1) of the sequences and states, which ONNX Runtime's CPU kernels don't do.
fn batch_first(v: &Vjp<'_>) -> bool {
    v.node().attr_int("layout").unwrap_or(0) != 0
}

/// From [batch, steps, directions, hidden] to [steps, directions, batch, hidden].
const TIME_FIRST: [i64; 4] = [1, 2, 0, 3];

/// Input `i`, a state of each direction, with the directions first.
fn initial_state(v: &mut Vjp<'_>, i: usize) -> Option<Val> {
    let state = v.has(i).then(|| v.x(i))?;
    Some(if batch_first(v) { v.g.transpose(&state, &[1, 0, 2]) } else { state })
}

/// The cotangent of output `i`, the last state of each direction, with the directions first.
fn last_cotangent(v: &mut Vjp<'_>, i: usize) -> Option<Val> {
    let cotangent = v.cotangent(i)?;
    Some(if batch_first(v) { v.g.transpose(&cotangent, &[1, 0, 2]) } else { cotangent })
}

fn runs(v: &mut Vjp<'_>, gates: i64) -> Result<Vec<Run>> {
    let node = v.node();
    if node.attr("clip").is_some() {
        return Err("it clips its gates".into());
    }
    let reverse: &[bool] = match node.attr_str("direction").unwrap_or("forward") {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(format!("its direction `{other}` is not known").into()),
    };
    let (elem, hidden) = (v.elem_of(&v.x(0))?, v.fixed(2, [2])?[0] as i64);
    let is_rounded = v.node().attr_int(ROUNDED_STATE).unwrap_or(0) != 0;
    let padding = lengths::Padding::of(v, elem, usize::from(batch_first(v)))?;
    let all = v.y_kept(0, elem);
    let first = batch_first(v);
    let turned = |v: &mut Vjp<'_>, value: Val, perm: &[i64]| if first { v.g.transpose(&value, perm) } else { value };
    let all = turned(v, all, &TIME_FIRST);
    let x = v.x(0);
    let (x, gy, gh) = (turned(v, x, &[1, 0, 2]), v.cotangent(0), last_cotangent(v, 1));
    let gy = gy.map(|gy| turned(v, gy, &TIME_FIRST));
    let initial = initial_state(v, 5);
    let mut runs = Vec::new();
    for (at, &reverse) in reverse.iter().enumerate() {
        let after = pick(v.g, &all, at, 1);
        let none = |v: &mut Vjp<'_>, like: &Val, start: i64| {
            let shape = v.g.op("Shape", &[like], vec![attr::int("start", start)]);
            v.g.full(&shape, elem, 0.0)
        };
        let initial = match &initial {
            Some(initial) => pick(v.g, initial, at, 0),
            None => none(v, &after, 1),
        };
        let mut before = shifted(v.g, &after, &initial, reverse);
        let mut own_gy = gy.as_ref().map(|gy| pick(v.g, gy, at, 1));
        if let Some(padding) = &padding {
            // Beyond the ends the outputs are zeros, whatever the state.
            own_gy = own_gy.map(|gy| padding.cut(v.g, &gy));
            if reverse {
                before = padding.at_last(v.g, &before, &initial);
            }
        }
        let own_gh = gh.as_ref().map(|gh| pick(v.g, gh, at, 0));
        // The batch of the seeds may be larger than that of the image.
        let zeros = match (&own_gy, &own_gh, last_cotangent(v, 2)) {
            (Some(gy), _, _) => none(v, gy, 1),
            (None, Some(gh), _) => none(v, gh, 0),
            (None, None, Some(gc)) => none(v, &gc, 1),
            _ => return Err("no output of it is differentiated".into()),
        };
        let bias = v.has(3).then(|| {
            let bias = pick(v.g, &v.x(3), at, 0);
            v.g.reshape(&bias, &[2, gates * hidden])
        });
        let (w, r) = (pick(v.g, &v.x(1), at, 0), pick(v.g, &v.x(2), at, 0));
        // What the gates see of it.
        if is_rounded {
            before = rounded(v.g, &before);
        }
        runs.push(Run {
            at,
            reverse,
            elem,
            hidden,
            x: x.clone(),
            w,
            r,
            bias,
            before,
            initial,
            gy: own_gy.unwrap_or_else(|| none(v, &after, 0)),
            after,
            gh: own_gh.unwrap_or_else(|| zeros.clone()),
            zeros,
            padding: padding.clone(),
        });
    }
    Ok(runs)
}

/// A sequence one step later in the order of its run: what came before each step.
fn shifted(g: &mut Builder, sequence: &Val, initial: &Val, reverse: bool) -> Val {
    let initial = g.unsqueeze(initial, &[0]);
    if reverse {
        let rest = g.slice(sequence, &[1], &[i64::MAX], &[0], &[1]);
        g.concat(&[&rest, &initial], 0)
    } else {
        let rest = g.slice(sequence, &[0], &[-1], &[0], &[1]);
        g.concat(&[&initial, &rest], 0)
    }
}

/// A sequence of states [steps, batch, hidden] as they are after each step's was quantised to 8 bits over its own range.
fn rounded(g: &mut Builder, states: &Val) -> Val {
    let zero = g.scalar(ElemType::Float, 0.0);
    let end = |g: &mut Builder, reduce: &str, op: &str| {
        let extreme = g.reduce(reduce, states, &[1, 2], true);
        g.binary(op, &extreme, &zero)
    };
    let (low, high) = (end(g, "ReduceMin", "Min"), end(g, "ReduceMax", "Max"));
    let range = g.sub(&high, &low);
    let scale = g.scale(&range, ElemType::Float, 1.0 / 255.0);
    let (flat, one) = (g.binary("Equal", &range, &zero), g.scalar(ElemType::Float, 1.0));
    let scale = g.where_(&flat, &one, &scale);
    let (steps, below) = (g.div(states, &scale), g.div(&low, &scale));
    // Whole numbers from the lowest one on: the zero point is that of 0, rounded.
    let (steps, below) = (g.unary("Round", &steps), g.unary("Round", &below));
    let most = g.scalar(ElemType::Float, 255.0);
    let above = g.add(&below, &most);
    let steps = g.binary("Max", &steps, &below);
    let steps = g.binary("Min", &steps, &above);
    g.mul(&steps, &scale)
}

/// A sequence of states times weights transposed, plus half a bias.
fn affine(g: &mut Builder, value: &Val, weights: &Val, bias: Option<(&Val, usize)>) -> Val {
    let weights = g.transpose(weights, &[1, 0]);
    let product = g.matmul(value, &weights);
    match bias {
        Some((bias, row)) => {
            let bias = pick(g, bias, row, 0);
            g.add(&product, &bias)
        }
        None => product,
    }
}

/// x Wᵀ + b and h Rᵀ + b of every step: S × B × G·H each.
fn sums(g: &mut Builder, run: &Run) -> (Val, Val) {
    let by_input = affine(g, &run.x, &run.w, run.bias.as_ref().map(|bias| (bias, 0)));
    (by_input, affine(g, &run.before, &run.r, run.bias.as_ref().map(|bias| (bias, 1))))
}

/// The gates of a sequence, each S × B × H.
fn gates(g: &mut Builder, run: &Run, value: &Val, count: i64) -> Vec<Val> {
    if count == 1 {
        return vec![value.clone()];
    }
    let sizes = g.ints(&vec![run.hidden; count as usize]);
    g.ops("Split", &[value, &sizes], vec![attr::int("axis", -1)], count as usize)
}

/// A loop over the steps, perhaps from the last to the first; all values within a step are of that type and number of axes, which
/// ONNX Runtime has to know. `body` makes the new states and the outputs of one step from the states
/// and the inputs of that step; it may read values from outside, and must emit no constants of its own. Gives the last states,
/// then the sequences of outputs, in the order of time.
pub(super) fn scan(
    v: &mut Vjp<'_>,
    (elem, rank): (ElemType, usize),
    backward: bool,
    states: &[&Val],
    sequences: &[&Val],
    body: impl FnOnce(&mut Builder, &[Val], &[Val]) -> (Vec<Val>, Vec<Val>),
) -> Vec<Val> {
    let mut inner = Builder::new();
    // Inner names must differ from all outer ones.
    inner.set_scope(v.g.fresh("step"));
    let mut inputs = |count: usize, stem: &str| (0..count).map(|_| Val::new(&inner.fresh(stem))).collect::<Vec<Val>>();
    let (state_names, sequence_names) = (inputs(states.len(), "state"), inputs(sequences.len(), "input"));
    let (new_states, outputs) = body(&mut inner, &state_names, &sequence_names);
    // An output may be no input, nor another output.
    let results: Vec<Val> = new_states.iter().chain(&outputs).cloned().collect();
    let ty = ValueType { elem, shape: Some(vec![Dim::Free; rank]) };
    let infos = |values: &[Val]| values.iter().map(|value| value_info(value.name(), Some(&ty))).collect::<Vec<_>>();
    let input = infos(&state_names).into_iter().chain(infos(&sequence_names)).collect();
    let output = infos(&results);
    let (node, initializer) = inner.into_parts();
    let graph = GraphProto { name: "step".into(), node, initializer, input, output, ..Default::default() };
    let direction = i64::from(backward);
    let attributes = vec![
        attr::graph("body", graph),
        attr::int("num_scan_inputs", sequences.len() as i64),
        attr::ints("scan_input_directions", &vec![direction; sequences.len()]),
        attr::ints("scan_output_directions", &vec![direction; outputs.len()]),
    ];
    let inputs: Vec<&Val> = states.iter().chain(sequences).copied().collect();
    v.g.ops("Scan", &inputs, attributes, results.len())
}
