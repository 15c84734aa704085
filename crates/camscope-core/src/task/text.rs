//! Text that is read from left to right. By connectionist temporal classification (CTC): scores of characters for each time step, of which one
//! is blank. Or by positions: scores of characters for each place of the text, of which one ends it.

mod alphabet;
mod positions;
mod reader;

use onnx_grad::Types;

pub use reader::{Character, Reader, Steps};

use self::{alphabet::BLANKS, reader::Decoder};
use super::{
    Context, Item, Kind, Recognised, Said, Task,
    end::{End, Last, before_moves, end_of},
    settings::Decoding,
};
use crate::{
    error::Result,
    model::Network,
    target::{Answer, TargetRef},
};

pub(super) fn recognise(context: &Context<'_>) -> Option<Recognised> {
    let wanted = |name: &&String| context.settings.output.as_ref().is_none_or(|said| said == *name);
    let (output, reader, by) = context.outputs().iter().filter(wanted).find_map(|name| reader_of(context, name))?;
    let guess = guess(context, &reader, (&output, &by));
    Some(Recognised { guess, ..Recognised::new(Reading { reader, output }, by) })
}

/// What is guessed of a reader, and the lines that say it.
fn guess(context: &Context<'_>, reader: &Reader, (output, by): (&str, &str)) -> Option<String> {
    match reader.decoder() {
        Decoder::Ctc { blank } if by.starts_with("the shape") && context.settings.kind.is_none() => Some(format!(
            "that `{output}` is text is a guess by its shape, and so is that class {blank} is the blank; under [task] in MODEL.toml beside the \
             model, kind = \"text\" and blank = \"first\", \"last\" or its number say it"
        )),
        Decoder::Ctc { blank } if !is_blank_said(context) => Some(format!(
            "that class {blank} of `{output}` is the blank is a guess; under [task] in MODEL.toml beside the model, blank = \"first\", \"last\" or \
             its number says it"
        )),
        Decoder::Position { end: None, .. } if context.settings.decoding.is_none() => Some(format!(
            "that every row of `{output}` is a character of the text is a guess: which class ends a text is not known; under [task] in \
             MODEL.toml beside the model, end = \"first\", \"last\" or its number says it, and decoding = \"position\" that there is none"
        )),
        _ => None,
    }
}

/// What is said of an output that scores a text's positions, where nothing says which class ends it: such a model is not guessed at.
pub(crate) fn refused(network: &Network, types: &Types, output: &str) -> Option<String> {
    let shape: Vec<Option<usize>> = types.get(output)?.shape.as_ref()?.iter().map(|dim| dim.fixed()).collect();
    let &[_, Some(rows), Some(classes)] = &shape[..] else { return None };
    (rows > 1 && classes > 4 && positions::are(network, types, output, rows)).then(|| {
        "its rows are positions of a text maybe: decoding = \"position\", and end = the number of the class that ends a text, under [task] in \
         MODEL.toml beside the model have it read"
            .to_owned()
    })
}

/// Whether a line of a dictionary is the mark that ends a text.
pub(crate) fn ends_a_text(line: &str) -> bool {
    alphabet::is_mark(line, alphabet::ENDS)
}

/// The shape of scores: the axis of time steps, how many there are, and how many classes.
fn shape(context: &Context<'_>, name: &str) -> Option<(usize, usize, usize)> {
    let shape = context.floats(name)?;
    let batch = context.network.input().batch();
    let is_batch = |size: Option<usize>| size == batch || size == Some(1);
    match shape[..] {
        [images, Some(steps), Some(classes)] if is_batch(images) && steps > 1 => Some((1, steps, classes)),
        [Some(steps), images, Some(classes)] if is_batch(images) && steps > 1 => Some((0, steps, classes)),
        // One image alone.
        [Some(steps), Some(classes)] if batch == Some(1) && steps > 1 => Some((0, steps, classes)),
        _ => None,
    }
}

fn reader_of(context: &Context<'_>, output: &str) -> Option<(String, Reader, String)> {
    let is_said = context.settings.kind == Some(Kind::Text);
    let graph = context.network.model.graph();
    let end: End = end_of(graph, context.types, output);
    let value = before_moves(graph, &end.value, |name| shape(context, name).is_some_and(|(.., classes)| classes > 2))?;
    let (time, steps, classes) = shape(context, value)?;
    let dims = context.floats(value)?.len();
    // A softmax is over the characters, or over something else.
    let over_last = match end.last {
        None => true,
        Some(Last::Softmax(axis)) => context.extents(&end.value).is_some_and(|shape| axis + 1 == shape.len()),
        Some(Last::Sigmoid) => false,
    };
    if !over_last || (dims < 3 && !is_said) {
        return None;
    }
    if let Some(by) = by_position(context, value, (steps, classes)) {
        let (alphabet, decoder) = alphabet::of_positions(context.labels, classes, context.settings);
        let by = format!("{by}{}", uncalled(&alphabet));
        return Some((output.to_owned(), Reader::new(value, time, alphabet, decoder), by));
    }
    let [height, width] = context.size;
    // A step for every few pixels of a line's width, at its sides one more or less.
    let time_first = time == 0 && dims == 3;
    let strides: &[usize] = if time_first { &[1, 2, 3, 4, 6, 8, 12, 16, 32] } else { &[2, 3, 4, 6, 8, 12, 16, 32] };
    let is_line = strides.iter().any(|stride| (width / stride).abs_diff(steps) <= 1);
    let is_wide = width * 2 >= height * 3;
    let has_characters = context.metadata("character").is_some();
    let is_last = matches!(end.last, Some(Last::Softmax(_)));
    let looks_like = has_characters
        || ((is_last || time_first || is_wide)
            && is_line
            && height <= 128
            && classes > 4
            && !is_tokens(context, steps)
            && !has_twin(context, output, (steps, classes))
            && !positions::are(context.network, context.types, value, steps));
    if !(is_said || looks_like) {
        return None;
    }
    let (alphabet, decoder) = alphabet::of_steps(context.labels, classes, context.settings.blank);
    let mut by = match has_characters {
        true => "its metadata (character)".to_owned(),
        false if is_last => {
            format!("{}: scores of {classes} classes for each of {steps} time steps", end.describe(output))
        }
        false => format!("the shape of `{output}`: scores of {classes} classes for each of {steps} time steps"),
    };
    if let Decoder::Ctc { blank } = decoder
        && !is_blank_said(context)
    {
        by += &format!("; the {} class is taken for the blank", ordinal(blank, classes));
    }
    by += uncalled(&alphabet);
    Some((output.to_owned(), Reader::new(value, time, alphabet, decoder), by))
}

/// Whether another output has as many rows, of another length: places along both sides of the picture, a row a key point (SimCC).
fn has_twin(context: &Context<'_>, output: &str, (steps, classes): (usize, usize)) -> bool {
    let is_twin = |name: &&String| {
        let shape = context.floats(name).unwrap_or_default();
        **name != *output && matches!(shape[..], [_, Some(rows), Some(own)] if rows == steps && own != classes)
    };
    context.outputs().iter().any(|name| is_twin(&name))
}

fn ordinal(class: usize, classes: usize) -> String {
    match class {
        0 => "first".to_owned(),
        last if last + 1 == classes => "last".into(),
        other => other.to_string(),
    }
}

fn uncalled(alphabet: &[String]) -> &'static str {
    if alphabet.is_empty() { "; what its characters are called is not known (--labels FILE)" } else { "" }
}

/// By what scores, so many rows of so many classes, are known to be those of a text's positions: the sidecar says so, a label ends a text, or it is
/// said to be text and no column of the picture has a row of its own.
fn by_position(context: &Context<'_>, value: &str, (steps, classes): (usize, usize)) -> Option<String> {
    let settings = context.settings;
    if settings.decoding == Some(Decoding::Ctc) || settings.blank.is_some() {
        return None;
    }
    let is_text = settings.kind == Some(Kind::Text);
    if settings.is_by_position() || (is_text && positions::are(context.network, context.types, value, steps)) {
        return Some("[task] in the sidecar".into());
    }
    let end = alphabet::end_in(context.labels, classes)?;
    Some(format!("its labels: `{end}` ends a text, and each of {steps} rows is a position of it"))
}

/// Whether the sidecar, the metadata or a label says which class is the blank. PaddleOCR's is the first.
fn is_blank_said(context: &Context<'_>) -> bool {
    let is_mark = |name: &String| alphabet::is_mark(name, BLANKS);
    context.settings.blank.is_some()
        || context.metadata("character").is_some()
        || context.labels.names().iter().any(is_mark)
        || context.network.model.proto().producer_name.to_lowercase().contains("paddle")
}

/// Whether that many rows are the cells of a square grid over the image, as a vision transformer's tokens are.
fn is_tokens(context: &Context<'_>, steps: usize) -> bool {
    let [height, width] = context.size;
    let is_grid = |cells: usize| {
        let side = cells.isqrt();
        height == width && side > 1 && side * side == cells
    };
    is_grid(steps) || (steps > 0 && is_grid(steps - 1))
}

/// A task of reading.
#[derive(Debug)]
struct Reading {
    reader: Reader,
    output: String,
}

impl Task for Reading {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn format(&self) -> Option<&'static str> {
        Some(self.reader.decoder().name())
    }

    fn reads(&self) -> Vec<String> {
        vec![self.reader.value().to_owned()]
    }

    fn output(&self) -> Option<&str> {
        Some(&self.output)
    }

    fn predict(&self, answer: &Answer<'_>) -> Result<Said> {
        let steps = self.reader.steps(answer.output)?;
        let characters = steps.read();
        let item = |(at, found): (usize, &Character)| {
            Ok(Item {
                target: format!("text:{}", at + 1),
                class: Some(found.class),
                label: found.text.clone(),
                score: steps.score(&[(found.step, found.class)], answer.score)?.0,
                probability: Some(steps.probability(found.step, found.class)),
                corners: steps.corners(&answer.viewport, found.step),
                ..Item::default()
            })
        };
        let text = characters.iter().filter_map(|found| found.text.as_deref()).collect();
        Ok(Said {
            items: characters.iter().enumerate().map(item).collect::<Result<_>>()?,
            text: self.reader.has_alphabet().then_some(text),
            ..Said::default()
        })
    }

    fn first(&self) -> Result<TargetRef> {
        crate::target::parse("text")
    }

    fn reader(&self) -> Option<&Reader> {
        Some(&self.reader)
    }
}
