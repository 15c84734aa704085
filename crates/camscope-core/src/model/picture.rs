//! Which of a model's inputs takes the picture, or what is looked at in place of one.

use onnx_grad::ElemType;

use super::network::{Input, axes};
use crate::error::Error;

/// What an input could be, the likeliest to take the picture first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Four axes, and as many channels as photos have.
    Photo,
    /// Four axes, and other channels: an image of more bands, or a feature map.
    Bands,
    /// Floats along one axis of space, or along three: a signal, a volume, a video.
    Space,
    /// Any other floats.
    Floats,
    /// Numbers of things: tokens, sizes, lengths.
    Numbers,
}

/// The picture's input, by its place, and what to say where it had to be chosen.
///
/// # Errors
/// There is no input of the name `said`; none could take a picture, or several alike.
pub(super) fn choose(path: &str, inputs: &[Input], said: Option<&str>) -> Result<(usize, Option<String>), Error> {
    let names = |of: &[usize]| of.iter().map(|&at| inputs[at].name.clone()).collect::<Vec<_>>();
    let all: Vec<usize> = (0..inputs.len()).collect();
    if let Some(said) = said {
        let found = inputs.iter().position(|input| input.name == said);
        let found = found.ok_or_else(|| Error::UnknownPicture { name: said.to_owned(), known: names(&all) })?;
        return match inputs[found].elem {
            ElemType::String | ElemType::Bool | ElemType::Other(_) => {
                let reason = format!("its input `{said}` holds no numbers");
                Err(Error::ModelInput { path: path.to_owned(), reason })
            }
            _ => Ok((found, None)),
        };
    }
    let refused = |reason: String| Error::ModelInput { path: path.to_owned(), reason };
    if inputs.is_empty() {
        return Err(refused("it has no input".into()));
    }
    let kinds: Vec<Kind> = inputs.iter().map(kind).collect();
    let mut best = kinds.iter().min().copied().unwrap_or(Kind::Numbers);
    // What is made of a picture beside what only belongs to one: an embedding, and a mask as a hint.
    let belongs = |at: &usize| kinds[*at] != Kind::Photo || is_beside(&inputs[*at]);
    if best == Kind::Photo && all.iter().all(belongs) && kinds.contains(&Kind::Bands) {
        best = Kind::Bands;
    }
    if best == Kind::Numbers {
        let reasons: Vec<String> = inputs.iter().filter_map(no_photo).collect();
        return Err(refused(reasons.join("; ")));
    }
    let candidates: Vec<usize> = all.into_iter().filter(|&at| kinds[at] == best).collect();
    let most = candidates.iter().map(|&at| likelihood(&inputs[at])).max().unwrap_or_default();
    let likeliest: Vec<usize> = candidates.iter().copied().filter(|&at| likelihood(&inputs[at]) == most).collect();
    match likeliest[..] {
        [only] => {
            let others: Vec<String> =
                candidates.iter().filter(|&&at| at != only).map(|&at| format!("`{}`", inputs[at].name)).collect();
            let note = (!others.is_empty()).then(|| {
                let name = &inputs[only].name;
                let others = others.join(" and ");
                format!("of several inputs `{name}` is taken for the picture's, by its name and channels; --picture says another: {others}")
            });
            Ok((only, note))
        }
        _ => Err(Error::PictureOfSeveral { path: path.to_owned(), names: names(&likeliest) }),
    }
}

fn kind(input: &Input) -> Kind {
    let Input { elem, shape, .. } = input;
    let is_empty = shape.iter().skip(1).any(|size| *size == Some(0));
    let is_number = !matches!(elem, ElemType::Bool | ElemType::String | ElemType::Other(_));
    match shape.len() {
        _ if is_empty || !is_number => Kind::Numbers,
        4 if has_colours(shape) && has_sides(shape) => Kind::Photo,
        4 => Kind::Bands,
        3 | 5 if elem.is_float() || *elem == ElemType::Uint8 => Kind::Space,
        _ if elem.is_float() => Kind::Floats,
        _ => Kind::Numbers,
    }
}

/// Whether four axes have 1 or 3 channels, first or last, or leave them open.
fn has_colours(shape: &[Option<usize>]) -> bool {
    let colours = |channels: Option<usize>| channels.is_none_or(|channels| channels == 1 || channels == 3);
    colours(shape[1]) || colours(shape[3])
}

/// Whether two of four axes could be the height and width of a picture: points in rows, say, have fewer.
fn has_sides(shape: &[Option<usize>]) -> bool {
    shape.iter().skip(1).filter(|size| size.is_none_or(|size| size >= LEAST_SIDE)).count() >= 2
}

/// What is smaller is no picture.
const LEAST_SIDE: usize = 4;

/// Why an input takes no photo; `None` where it may.
fn no_photo(input: &Input) -> Option<String> {
    let Input { name, shape, .. } = input;
    match (kind(input), shape.len()) {
        (Kind::Photo, _) => None,
        (_, 4) if shape.iter().skip(1).any(|size| *size == Some(0)) => Some(format!("its input `{name}` is empty")),
        (_, 4) => Some(format!("its input `{name}` is {}, and a photo has 3 channels (or 1)", axes(shape))),
        (_, count) => Some(format!("its input `{name}` has {count} axes instead of 4")),
    }
}

/// Whether an input belongs to a picture by its name, or is another one.
fn is_beside(input: &Input) -> bool {
    let name = input.name.to_ascii_lowercase();
    let words = [
        "mask", "trimap", "depth", "prev", "ref", "template", "label", "noise", "hidden", "state", "point", "coord",
        "prompt",
    ];
    words.iter().any(|word| name.contains(word))
}

/// How likely an input is to take the picture, among those of its kind: colours, then its name.
fn likelihood(input: &Input) -> (bool, i8) {
    let in_colour = input.shape.len() == 4 && [input.shape[1], input.shape[3]].contains(&Some(3));
    let name = input.name.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let by_name = if is_beside(input) {
        -1
    } else if says(&["image", "img", "pixel", "photo", "picture", "rgb", "frame"]) {
        2
    } else if name == "x" || says(&["input", "data", "src"]) {
        1
    } else {
        0
    };
    (in_colour, by_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, elem: ElemType, shape: &[usize]) -> Input {
        // 0 stands for an open extent.
        let shape = shape.iter().map(|&size| (size > 0).then_some(size)).collect();
        Input { name: name.into(), elem, shape, value: None, photo: None, by_default: None }
    }

    fn chosen(inputs: &[(&str, &[usize])]) -> Result<(String, bool), String> {
        let inputs: Vec<Input> = inputs.iter().map(|(name, shape)| input(name, ElemType::Float, shape)).collect();
        choose("m.onnx", &inputs, None)
            .map(|(at, note)| (inputs[at].name.clone(), note.is_some()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_only_picture_is_taken_and_the_likeliest_of_several_with_a_note() {
        let of = |name: &str, note| Ok((name.to_owned(), note));
        assert_eq!(chosen(&[("meta", &[1, 4]), ("a", &[1, 3, 8, 8])]), of("a", false));
        assert_eq!(chosen(&[("mask", &[1, 1, 8, 8]), ("image", &[1, 3, 8, 8])]), of("image", true));
        assert_eq!(chosen(&[("ref_image", &[1, 3, 8, 8]), ("x", &[1, 3, 8, 8])]), of("x", true));
        assert_eq!(chosen(&[("b", &[1, 1, 8, 8]), ("c", &[1, 3, 8, 8])]), of("c", true));
        assert_eq!(chosen(&[("src", &[0, 3, 0, 0]), ("r1i", &[0, 0, 0, 0]), ("r2i", &[0, 0, 0, 0])]), of("src", true));
        let error = chosen(&[("left", &[1, 3, 8, 8]), ("right", &[1, 3, 8, 8])]).unwrap_err();
        assert!(error.contains("`left` and `right`"), "{error}");
    }

    #[test]
    fn hints_are_no_pictures() {
        // The decoder of Segment Anything, as its authors and as Transformers name its inputs.
        let masks = [
            ("image_embeddings", &[1, 256, 64, 64][..]),
            ("point_coords", &[1, 0, 2]),
            ("mask_input", &[1, 1, 256, 256]),
        ];
        assert_eq!(chosen(&masks), Ok(("image_embeddings".into(), false)));
        let points = [("image_embeddings", &[1, 32, 8, 8][..]), ("input_points", &[1, 1, 1, 2])];
        assert_eq!(chosen(&points), Ok(("image_embeddings".into(), true)));
        assert_eq!(chosen(&[("mask", &[1, 1, 8, 8]), ("size", &[1, 2])]), Ok(("mask".into(), false)));
        assert_eq!(chosen(&[("text", &[1, 1, 4, 0])]), Ok(("text".into(), false)));
    }

    #[test]
    fn arrays_are_looked_at_where_no_input_takes_a_photo() {
        let of = |name: &str, note| Ok((name.to_owned(), note));
        assert_eq!(chosen(&[("meta", &[1, 4]), ("bands", &[1, 6, 8, 8])]), of("bands", false));
        assert_eq!(chosen(&[("meta", &[1, 4]), ("signal", &[0, 2, 0])]), of("signal", false));
        assert_eq!(chosen(&[("volume", &[1, 1, 8, 8, 8])]), of("volume", false));
        assert_eq!(chosen(&[("table", &[0, 12])]), of("table", false));
        assert!(chosen(&[("empty", &[0, 12]), ("other", &[0, 12])]).is_err());
        let tokens = [input("input_ids", ElemType::Int64, &[0, 0])];
        let error = choose("m.onnx", &tokens, None).unwrap_err().to_string();
        assert!(error.contains("`input_ids` has 2 axes instead of 4"), "{error}");
    }

    #[test]
    fn what_is_said_counts() {
        let inputs = [input("a", ElemType::Float, &[1, 3, 8, 8]), input("b", ElemType::Int64, &[1, 4])];
        assert_eq!(choose("m.onnx", &inputs, Some("b")).unwrap(), (1, None));
        assert!(choose("m.onnx", &inputs, Some("c")).is_err());
    }
}
