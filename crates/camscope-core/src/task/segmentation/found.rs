//! Which output is a map, and what its numbers are.

use onnx_grad::{graph::Index, proto::GraphProto};

use super::{Map, Mapping, Meaning, otherwise};
use crate::{
    model::Labels,
    task::{
        Context, Kind, Recognised,
        end::{Decision, End, Last, before_moves, end_of, is_made_of_a_vector},
    },
};

/// Words in the names of outputs that hold numbers and no classes.
const NUMBERS: &[&str] = &[
    "depth",
    "disp",
    "saliency",
    "matte",
    "matting",
    "alpha",
    "pha",
    "normal",
    "flow",
    "feature",
    "embed",
    "hidden",
    "fgr",
    "quer",
    "recon",
    "restored",
    "denoised",
    "generated",
    "paf",
    "offset",
];

/// Words in the names of outputs that hold feature maps.
const FEATURES: &[&str] = &["feature", "embed", "hidden"];

/// Words in the names of outputs that hold measures: a logistic function behind them keeps them in range and makes no probabilities.
const MEASURES: &[&str] = &["depth", "disp", "normal", "flow", "feature", "embed", "hidden"];

/// Words in the names of outputs that hold a heat map a key point.
const POINTS: &[&str] = &["heatmap", "heat_map", "keypoint", "kpt", "joint", "landmark"];

/// Words in the names of outputs that hold classes.
const CLASSES: &[&str] = &["seg", "semantic", "mask", "logits", "parsing"];

/// Words in the names of outputs that hold probabilities, where a logistic function makes them: it keeps disparities and heat maps in range, too.
const PROBABILITIES: &[&str] = &["prob", "foreground", "background", "class", "label"];

/// Words in the names of outputs of one channel that hold the logit of a foreground: other numbers have no logits.
const LOGITS: &[&str] = &["logit", "mask"];

/// How many classes collections have that many networks are trained on.
const COLLECTIONS: &[(usize, &str)] = &[(19, "Cityscapes"), (21, "PASCAL VOC"), (150, "ADE20K"), (171, "COCO-Stuff")];

fn is_called(name: &str, words: &[&str]) -> Option<String> {
    let name = name.to_lowercase();
    // Where the parts of a network are called features, its answer is not.
    let last = name.rsplit('/').next().unwrap_or_default();
    let has = |word: &&&str| if FEATURES.contains(word) { last } else { &name }.contains(**word);
    words.iter().find(has).map(|word| (*word).to_owned())
}

/// An output that is a map.
struct Found<'a> {
    output: &'a str,
    end: End,
    map: Map,
    /// Its rows and columns.
    grid: [usize; 2],
    by: String,
    /// What is said where its shape alone says what it is.
    guess: Option<String>,
}

pub(in crate::task) fn recognise(context: &Context<'_>) -> Option<Recognised> {
    let wanted = |name: &&String| context.settings.output.as_ref().is_none_or(|said| said == *name);
    let mut found: Vec<Found<'_>> =
        context.outputs().iter().filter(wanted).filter_map(|output| map_of(context, output)).collect();
    let is_said = context.settings.kind.is_some() || context.settings.output.is_some();
    // Feature maps beside an answer.
    let is_feature = |name: &str| is_called(name, FEATURES).is_some();
    if !is_said && !context.outputs().iter().all(|name| is_feature(name)) {
        found.retain(|found| !is_feature(found.output));
    }
    let is_known = |found: &Found<'_>| found.end.last.is_some() || found.end.decision.is_some();
    let is_named =
        |found: &Found<'_>| found.map.kind == Kind::Segmentation && is_called(found.output, CLASSES).is_some();
    let is_sure = |found: &Found<'_>| found.guess.is_none() && (is_known(found) || is_named(found));
    let at = found.iter().position(is_sure).or_else(|| found.iter().position(is_known)).or_else(|| {
        // Maps of several sizes without a word are levels of something else.
        let alike = found.iter().all(|other| other.grid == found[0].grid);
        let points = found.iter().position(|found| found.map.kind == Kind::Keypoints).filter(|_| alike);
        points
            .or((!found.is_empty() && (alike || is_said || is_called(found[0].output, NUMBERS).is_some())).then_some(0))
    })?;
    let Found { output, map, by, guess, .. } = found.into_iter().nth(at)?;
    // Feature maps beside the vector that is made of them.
    if !is_said && is_called(output, FEATURES).is_some() && crate::task::embedding::recognise(context).is_some() {
        return None;
    }
    Some(Recognised { guess, ..Recognised::new(Mapping { map, output: output.to_owned() }, by) })
}

/// The map that an output holds, where it holds one.
fn map_of<'a>(context: &Context<'a>, output: &'a str) -> Option<Found<'a>> {
    let said = context.settings.kind;
    if said.is_some_and(|said| !matches!(said, Kind::Segmentation | Kind::Dense | Kind::Keypoints)) {
        return None;
    }
    let graph = context.network.model.graph();
    let mut end = end_of(graph, context.types, output);
    let is_in_bounds = said.is_none() && end.last == Some(Last::Sigmoid) && is_scaled(graph, output);
    let is_measure = is_called(output, MEASURES).is_some() && said.is_none_or(|said| said == Kind::Dense);
    if end.decision.is_none() && (is_measure || is_in_bounds) {
        end = End { value: output.to_owned(), last: None, decision: None };
    }
    // Tokens of a transformer: their number and their channels are no height and width.
    if said.is_none()
        && output.contains("hidden_state")
        && context.extents(output).is_some_and(|shape| shape.len() == 3)
    {
        return None;
    }
    let own = context.floats(&end.value)?;
    let is_map = |name: &str| context.floats(name).is_some_and(|shape| axes(&shape, context.size, None).is_some());
    // A softmax over a flattened copy: the map lies before.
    let count = match end.last {
        Some(Last::Softmax(axis)) => own.get(axis).copied().flatten(),
        _ => None,
    };
    let (value, axis) = match is_map(&end.value) {
        true => {
            let axis = match (end.last, end.decision) {
                (Some(Last::Softmax(axis)), _) => Some(axis),
                (None, Some(Decision::Largest(axis))) => Some(axis),
                _ => None,
            };
            (end.value.as_str(), axis)
        }
        false => {
            let value = before_moves(graph, &end.value, is_map)?;
            let shape = context.floats(value)?;
            if said.is_none() && !is_flattened(&shape, &own, context.size) {
                return None;
            }
            (value, shape.iter().position(|size| *size == count && size.is_some()))
        }
    };
    let shape = context.floats(value)?;
    let ([channels, height, width], count) = axes(&shape, context.size, axis)?;
    let channels = (channels < shape.len()).then_some(channels);
    // An output that is smaller than the map it comes from was made of it, and is something else.
    let said_dims = context.extents(output).unwrap_or_default();
    if said_dims.len() < 3 || (said.is_none() && is_made_of_a_vector(context, value)) {
        return None;
    }
    let grid = [shape[height]?, shape[width]?];
    let numbers = is_called(output, NUMBERS).or_else(|| is_called(value, NUMBERS));
    let points = is_called(output, POINTS).or_else(|| is_called(value, POINTS));
    let labels = context.labels;
    let is_decided = end.decision.is_some();
    let over_places = match end.last {
        Some(Last::Softmax(axis)) => is_over_places((axis, &own), grid, (channels, value == end.value)),
        _ => false,
    };
    let has_last = end.last.is_some() && !over_places;
    let coarse = grid[0] * 8 <= context.size[0];
    let is_named = labels.len() == count || is_called(output, CLASSES).is_some();
    let is_of_detector = || otherwise::is_beside_boxes(context, output, grid) || otherwise::has_boxes(context, output);
    if said.is_none() && !is_named && points.is_none() && is_of_detector() {
        return None;
    }
    let are_joined = end.last.is_none() && otherwise::are_joined(context, output, count);
    let collection =
        COLLECTIONS.iter().find(|(classes, _)| *classes == count).filter(|_| grid[0] * 16 > context.size[0]);
    // Without a word a picture comes out of what a picture went in.
    let is_picture = || count == 3 && labels.len() != 3 && is_of_input(context, grid);
    let is_scaled = !has_last && crate::model::unit_norm(graph, value);
    let named = || format!("the name of `{output}`");
    let bounded = || format!("the scale of `{output}`, which is more than a logistic function's");
    let measured = is_in_bounds.then(bounded).or_else(|| measured(graph, output, &end));
    let mut guess = None;
    let (kind, by) = match said {
        Some(kind) => (kind, String::new()),
        None if over_places => (
            if count > 1 { Kind::Keypoints } else { Kind::Dense },
            format!("the softmax over all places before `{output}`: a heat map whose sum is 1"),
        ),
        None if is_decided => {
            let is_fine = grid[0] * 2 >= context.size[0];
            guess = (!is_fine && !is_named && collection.is_none() && !has_last)
                .then(|| otherwise::guessed_codes(output, count));
            (Kind::Segmentation, end.describe(output))
        }
        None if points.is_some() && count > 1 => (Kind::Keypoints, named()),
        None if numbers.is_some() => (Kind::Dense, named()),
        None if matches!(end.last, Some(Last::Sigmoid)) && is_picture() => (
            Kind::Dense,
            format!("the shape of `{output}`, that of a picture: three numbers from 0 to 1 for each pixel"),
        ),
        None if has_last => {
            guess = is_only_in_range(&end, &[output, value], labels, count).then(|| guessed_in_range(output, count));
            (Kind::Segmentation, end.describe(output))
        }
        None if measured.is_some() => (Kind::Dense, measured.unwrap_or_default()),
        None if is_scaled => (Kind::Dense, format!("the length of `{output}` at each place: it is scaled to 1")),
        None if are_joined && !is_named => {
            guess = Some(guessed(output, Kind::Dense, count));
            let by = format!("the nodes before `{output}`, which join channels with functions of their own");
            (Kind::Dense, by)
        }
        None if count == 1 && is_called(output, LOGITS).is_some() => (Kind::Segmentation, named()),
        None if count == 1 => {
            (Kind::Dense, format!("the shape of `{output}`: a number a pixel, without a logistic function behind"))
        }
        None if labels.len() == count => {
            (Kind::Segmentation, format!("the shape of `{output}`: a score for each of {count} labels at each pixel"))
        }
        None if is_called(output, CLASSES).is_some() => (Kind::Segmentation, named()),
        None if collection.is_some() && !is_one_of_several(context, output, count) => (
            Kind::Segmentation,
            format!(
                "the shape of `{output}`: {count} scores at each pixel, as many as {} has classes",
                collection.map_or("", |(_, name)| name)
            ),
        ),
        None if count == 3 || coarse || is_one_of_several(context, output, count) => {
            guess = (count != 3 || coarse).then(|| guessed(output, Kind::Dense, count));
            (
                Kind::Dense,
                format!("the shape of `{output}`: {count} numbers for each of {} × {} cells", grid[0], grid[1]),
            )
        }
        None => {
            guess = Some(guessed(output, Kind::Segmentation, count));
            (Kind::Segmentation, format!("the shape of `{output}` alone: {count} scores at each pixel"))
        }
    };
    let meaning = meaning(context, &end, kind, count);
    let labels = names(labels, meaning);
    let background = background(&labels, meaning);
    let map = Map { value: value.into(), channels, height, width, count, meaning, kind, labels, background };
    Some(Found { output, end, map, grid, by, guess })
}

/// What is said where its shape alone says what a map's numbers are.
fn guessed(output: &str, kind: Kind, count: usize) -> String {
    let (taken, other) = match kind {
        Kind::Segmentation => (format!("the scores of {count} classes at each pixel"), "dense\" or \"keypoints"),
        _ => (format!("{count} numbers at each place, not scores of classes,"), "segmentation"),
    };
    format!(
        "`{output}` is taken for {taken} by its shape alone: no softmax, labels or name say so; under [task] in MODEL.toml beside the model, \
         kind = \"{kind}\" confirms it, and kind = \"{other}\" says otherwise"
    )
}

/// Whether a logistic function alone says that numbers are probabilities: neither a name nor labels do.
fn is_only_in_range(end: &End, names: &[&str], labels: &Labels, count: usize) -> bool {
    let is_named = |name: &&str| is_called(name, CLASSES).or_else(|| is_called(name, PROBABILITIES)).is_some();
    let is_labelled = labels.len() == count || (count == 1 && labels.len() == 2);
    end.last == Some(Last::Sigmoid) && !names.iter().any(is_named) && !is_labelled
}

/// What is said where a logistic function alone says what a map's numbers are.
fn guessed_in_range(output: &str, count: usize) -> String {
    let (taken, other, example) = match count {
        1 => ("the probability of a foreground at each pixel".to_owned(), "dense", "a disparity, a matte"),
        _ => (format!("the probabilities of {count} classes at each pixel"), "keypoints", "a heat map a point"),
    };
    format!(
        "`{output}` is taken for {taken} by its logistic function alone: no labels or name say so; under [task] in MODEL.toml beside the \
         model, kind = \"segmentation\" confirms it, and kind = \"{other}\" says otherwise ({example})"
    )
}

/// From this factor on a map is brought to a unit of measurement: CIE Lab's colours have one of 110, grey levels of 255. Scores are multiplied by up
/// to 100, as CLIP's.
const UNIT: f64 = 110.0;

/// Whether what a logistic function keeps in range is then scaled or moved, as a disparity between two bounds is. Grey levels are not meant.
fn is_scaled(graph: &GraphProto, output: &str) -> bool {
    let index = Index::new(graph);
    let number = |name: Option<&String>| match index.constant(name?)?.to_floats().ok()?[..] {
        [number] => Some(number),
        _ => None,
    };
    let mut value = output;
    while let Some(node) = index.producer_node(value) {
        let [first, second] = [node.input.first(), node.input.get(1)];
        let factor = number(second).or_else(|| number(first));
        match &*node.op_type {
            "Mul" | "Div" if factor.is_some_and(|factor| factor != 255.0 && factor != 1.0) => return true,
            "Add" | "Sub" if factor.is_some_and(|shift| shift != 0.0) => return true,
            "Mul" | "Div" | "Add" | "Sub" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" | "Cast"
            | "Resize" | "Upsample" | "Clip" | "Round" => {}
            _ => return false,
        }
        match [first, second].into_iter().flatten().find(|name| index.constant(name).is_none()) {
            Some(before) => value = before,
            None => return false,
        }
    }
    false
}

/// By what the numbers of an output are measures and no scores: they come out of a tanh, or are brought to the scale of colours or distances.
fn measured(graph: &GraphProto, output: &str, end: &End) -> Option<String> {
    if end.last.is_some() || end.decision.is_some() {
        return None;
    }
    let index = Index::new(graph);
    let mut value = output;
    loop {
        let node = index.producer_node(value)?;
        let first = node.input.first()?;
        match &*node.op_type {
            "Tanh" => return Some(format!("the tanh before `{output}`")),
            "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" | "Cast" | "Resize" | "Upsample" => {
                value = first
            }
            "Mul" => {
                let number = |name: &String| match index.constant(name)?.to_floats().ok()?[..] {
                    [number] => Some(number),
                    _ => None,
                };
                let factor = node.input.iter().find_map(number).filter(|factor| *factor >= UNIT)?;
                return Some(format!("the scale of `{output}`, which is multiplied by {factor}"));
            }
            _ => return None,
        }
    }
}

/// Whether a row of numbers has the places of a map along one axis and its channels along another: boxes that several channels are parted
/// into have neither.
fn is_flattened(map: &[Option<usize>], row: &[Option<usize>], size: [usize; 2]) -> bool {
    let Some(([_, down, across], count)) = axes(map, size, None) else { return false };
    let places = map[down].zip(map[across]).map(|(rows, columns)| rows * columns);
    let mut own: Vec<Option<usize>> = row.iter().skip(1).copied().filter(|size| *size != Some(1)).collect();
    let mut wanted: Vec<Option<usize>> = [places, Some(count)].into_iter().filter(|size| *size != Some(1)).collect();
    own.sort();
    wanted.sort();
    own == wanted
}

/// Whether a map of so many rows and columns has the height and width of the picture, or a multiple, and the picture has three channels.
fn is_of_input(context: &Context<'_>, [rows, columns]: [usize; 2]) -> bool {
    let input = context.network.input();
    let has_colours = input.shape.get(1) == Some(&Some(3)) || input.shape.last() == Some(&Some(3));
    let [height, width] = context.size;
    has_colours && rows.is_multiple_of(height) && columns.is_multiple_of(width)
}

/// Whether another output is a map of several channels, too, but of another number: then nothing tells what either is.
fn is_one_of_several(context: &Context<'_>, output: &str, count: usize) -> bool {
    let is_other = |name: &&String| {
        let map = || axes(&context.floats(name)?, context.size, None);
        **name != *output && is_called(name, NUMBERS).is_none() && map().is_some_and(|(_, own)| own > 1 && own != count)
    };
    context.outputs().iter().any(|name| is_other(&name))
}

/// What the numbers of a map are.
fn meaning(context: &Context<'_>, end: &End, kind: Kind, count: usize) -> Meaning {
    let p = context.settings.threshold.unwrap_or(0.5).clamp(1e-6, 1.0 - 1e-6);
    let above = match (end.decision, end.last, context.settings.threshold) {
        (Some(Decision::Above(bound)), None, None) => bound,
        (Some(Decision::Above(bound)), Some(_), None) => {
            let p = bound.clamp(1e-6, 1.0 - 1e-6);
            (p / (1.0 - p)).ln()
        }
        _ => (p / (1.0 - p)).ln(),
    };
    match (kind, end.last) {
        // Behind a softmax or a logistic function numbers are logits even so.
        (Kind::Segmentation, _) if count == 1 => Meaning::Foreground { above },
        (Kind::Segmentation, Some(Last::Sigmoid)) => Meaning::Independent { above },
        (Kind::Segmentation, None) if end.decision.is_none() && are_rated(context, count) => {
            Meaning::Independent { above }
        }
        (Kind::Segmentation, _) => Meaning::Exclusive,
        (_, Some(Last::Sigmoid)) => Meaning::Independent { above },
        _ => Meaning::Numbers,
    }
}

/// Whether another output rates each of so many masks by how well it covers what was meant: then they are logits of masks that don't exclude
/// each other (Segment Anything).
fn are_rated(context: &Context<'_>, count: usize) -> bool {
    let rates = |name: &&String| {
        crate::model::features::has_word(name, &["iou", "ious"])
            && context.extents(name).is_some_and(|shape| shape.last() == Some(&Some(count)))
    };
    context.outputs().iter().any(|name| rates(&name))
}

/// Whether a softmax along an axis of a value of those extents goes over the places of a map, not over its channels; `channels`: their axis, and
/// whether the value is the map itself.
fn is_over_places(
    (axis, own): (usize, &[Option<usize>]),
    [rows, columns]: [usize; 2],
    (channels, is_map): (Option<usize>, bool),
) -> bool {
    match is_map {
        true => channels.is_some_and(|channels| axis != channels),
        false => own.get(axis).copied().flatten() == Some(rows * columns),
    }
}

/// The names of a map's classes.
fn names(labels: &Labels, meaning: Meaning) -> Labels {
    match (meaning, labels.names()) {
        (Meaning::Foreground { .. }, [only]) => Labels::new(vec!["background".into(), only.clone()]),
        (Meaning::Foreground { .. }, names) if names.len() != 2 => {
            Labels::new(vec!["background".into(), "foreground".into()])
        }
        _ => labels.clone(),
    }
}

/// The class that is no segment: the one that is called so; where classes have no names, the first.
fn background(labels: &Labels, meaning: Meaning) -> Option<usize> {
    let is_it =
        |name: &String| matches!(&*name.to_lowercase(), "background" | "__background__" | "bg" | "_background_");
    match meaning {
        Meaning::Foreground { .. } => Some(0),
        Meaning::Independent { .. } | Meaning::Numbers => None,
        Meaning::Exclusive if labels.is_empty() => Some(0),
        Meaning::Exclusive => labels.names().iter().position(is_it),
    }
}

/// The axes of channels, height and width of a value's shape, and how many channels there are; without channels their axis is the rank.
/// `None`: it is no map of an image of that height and width.
fn axes(shape: &[Option<usize>], [height, width]: [usize; 2], channel: Option<usize>) -> Option<([usize; 3], usize)> {
    let fits = |down: usize, across: usize| {
        let (Some(Some(rows)), Some(Some(columns))) = (shape.get(down), shape.get(across)) else { return false };
        let (rows, columns) = (*rows as f64 / height as f64, *columns as f64 / width as f64);
        // Sides are rounded up or down, by a cell mostly.
        let cell = (1.0 / height as f64).max(1.0 / width as f64);
        // Without an axis of channels so few rows are a matrix, of a rotation, say.
        let least = if shape.len() == 3 && channel.is_none() { 4 } else { 1 };
        (rows - columns).abs() <= 0.1 * rows.max(columns) + cell && rows <= 4.0 && shape[down] > Some(least)
    };
    match (shape.len(), channel) {
        (4, Some(axis @ 1)) | (4, Some(axis @ 3)) => {
            let [down, across] = if axis == 1 { [2, 3] } else { [1, 2] };
            fits(down, across).then_some(([axis, down, across], shape[axis]?))
        }
        // Segment Anything's: a batch of hints behind the batch.
        (5, None) if shape[1] == Some(1) && fits(3, 4) => Some(([2, 3, 4], shape[2]?)),
        (4, None) if fits(2, 3) => Some(([1, 2, 3], shape[1]?)),
        (4, None) if fits(1, 2) => Some(([3, 1, 2], shape[3]?)),
        // An image of one: without a batch, where a channel axis is known.
        (3, Some(0)) => fits(1, 2).then_some(([0, 1, 2], shape[0]?)),
        (3, None) => (fits(1, 2)
            && otherwise::is_strided([shape[1]?, shape[2]?], [height, width])
            && shape[0].is_none_or(|batch| batch == 1))
        .then_some(([3, 1, 2], 1)),
        _ => None,
    }
}
