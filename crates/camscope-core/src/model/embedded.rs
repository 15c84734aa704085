//! What a model file says of itself: the metadata that Ultralytics and PaddleOCR's converters write into it.

use serde_json::Value;

use super::carried::Carried;
use super::labels::Labels;
use super::preprocessing::{Color, Crop, Filter, Input, Preprocessing, Source, bounds};
use super::shown::Shown;
use super::sizing::Sizing;

/// The height of a line of text in PaddleOCR's models from its third version on (`rec_image_shape`).
const LINE: u32 = 48;

/// What a model file says of itself.
#[derive(Debug, Default)]
pub(super) struct Embedded {
    /// The classes' names, and the key that has them.
    pub(super) labels: Option<(Labels, &'static str)>,
    /// The input's height and width.
    size: Option<(u32, u32)>,
    /// What the sides have to be multiples of.
    pub(super) stride: Option<u32>,
    task: Option<String>,
    /// Whether it has PaddleOCR's dictionary: it reads lines of text.
    reads_lines: bool,
    /// What it carries of the sidecar of the model that it was exported from.
    pub(super) carried: Carried,
    /// What the graph shows.
    pub(super) shown: Shown,
    /// Keys that are there and can't be understood.
    pub(super) unclear: Vec<&'static str>,
}

impl Embedded {
    /// Reads a model's metadata, keys and values.
    pub(super) fn read<'a>(metadata: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = Self::default();
        for (key, value) in metadata {
            found.unclear.extend(found.carried.take(key, value));
            let is_read = match key {
                "names" => {
                    let names = python_names(value);
                    let is_read = names.is_some();
                    found.labels = names.map(|names| (names, "names")).or(found.labels);
                    is_read
                }
                "character" => {
                    found.reads_lines = !are_words(value);
                    found.labels.get_or_insert_with(|| (characters(value), "character"));
                    true
                }
                "imgsz" => {
                    found.size = size(value);
                    found.size.is_some()
                }
                "stride" => {
                    found.stride = serde_json::from_str(value).ok().and_then(|value| side(&value));
                    found.stride.is_some()
                }
                "task" => {
                    found.task = Some(value.to_owned());
                    true
                }
                _ => true,
            };
            if !is_read {
                found.unclear.extend(["names", "imgsz", "stride"].into_iter().filter(|known| *known == key));
            }
        }
        found
    }

    /// How photos become the model's input, as far as it is said: what Ultralytics' predictors do for the task, else the size, and what the
    /// graph shows.
    pub(super) fn preprocessing(&self, input: &Input) -> Preprocessing {
        self.preprocessing_of(input, None)
    }

    /// As [`Embedded::preprocessing`], of a detection head of that format, where somebody said it.
    pub(super) fn preprocessing_of(&self, input: &Input, format: Option<&str>) -> Preprocessing {
        if let Some(carried) = self.carried.preprocessing(input) {
            return carried;
        }
        let assumed = input.assumed();
        // Sides that the graph fixes are as they are.
        let said = self.size.unwrap_or(assumed.size);
        let fixed = |fixed: Option<usize>, said: u32, assumed: u32| if fixed.is_some() { assumed } else { said };
        let size = (fixed(input.height, said.0, assumed.size.0), fixed(input.width, said.1, assumed.size.1));
        let sizing = if self.size.is_some() { Sizing::Said } else { assumed.sizing };
        let is_square = input.height.is_some() && input.height == input.width;
        if self.reads_lines && !is_square && bounds(input.elem).is_none() {
            return line(input, assumed);
        }
        let Some(task) = &self.task else {
            let is_open = self.size.is_none() && (input.height.is_none() || input.width.is_none());
            return self.shown.prepared(Preprocessing { size, sizing, ..assumed }, is_open, format);
        };
        // The classifiers' transforms crop the centre, all others put borders around the photo; no mean, no std.
        let crop = if task == "classify" { Crop::CentreFraction(1.0) } else { Crop::Letterbox };
        let color = assumed.color;
        let range = if bounds(input.elem).is_some() { assumed.range } else { [0.0, 1.0] };
        Preprocessing {
            size,
            sizing,
            crop,
            filter: Filter::Bilinear,
            range,
            mean: vec![0.0; color.channels()],
            std: vec![1.0; color.channels()],
            source: Source::Ultralytics,
            ..assumed
        }
    }
}

/// As PaddleOCR prepares lines of text: blue first, from -1 to 1, of one height and as wide as their proportions ask for.
fn line(input: &Input, assumed: Preprocessing) -> Preprocessing {
    let sizing = match (input.height, input.width) {
        (_, None) => Sizing::Width,
        _ => Sizing::Said,
    };
    let height = if input.height.is_some() { assumed.size.0 } else { LINE };
    let color = if assumed.color == Color::Rgb { Color::Bgr } else { assumed.color };
    let width = if sizing == Sizing::Said { assumed.size.1 } else { sizing.without_photo((height, 0)).1 };
    Preprocessing {
        size: (height, width),
        sizing,
        // The photo's proportions are kept: an open width follows them, a fixed one is padded.
        crop: if sizing == Sizing::Said { Crop::Line } else { Crop::Squash },
        filter: Filter::Bilinear,
        color,
        range: [0.0, 1.0],
        mean: vec![0.5; color.channels()],
        std: vec![0.5; color.channels()],
        source: Source::PaddleOcr,
        ..assumed
    }
}

/// `[height, width]` or one number for both.
fn size(text: &str) -> Option<(u32, u32)> {
    match serde_json::from_str(text).ok()? {
        Value::Array(sides) => match &sides[..] {
            [both] => side(both).map(|side| (side, side)),
            [height, width] => side(height).zip(side(width)),
            _ => None,
        },
        both => side(&both).map(|side| (side, side)),
    }
}

fn side(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|side| u32::try_from(side).ok()).filter(|side| *side > 0)
}

/// PaddleOCR's dictionary, a character a line, as its decoder for CTC completes it: the blank before it, a space behind it. Lines of words
/// or numbers are the names of classes, as PaddleOCR's models of a page's layout and direction have them, and stay as they are; so does a
/// dictionary in which a mark ends a text, which is no CTC's.
fn characters(text: &str) -> Labels {
    let lines: Vec<String> = text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect();
    if are_words(text) || lines.iter().any(|line| crate::task::text::ends_a_text(line)) {
        return Labels::new(lines);
    }
    Labels::new(std::iter::once("blank".to_owned()).chain(lines).chain([" ".to_owned()]).collect())
}

/// Whether most lines are words, not characters.
fn are_words(text: &str) -> bool {
    let words = text.lines().filter(|line| line.trim_end_matches('\r').chars().count() > 1).count();
    2 * words > text.lines().count()
}

/// A Python dictionary from number to name, or a list of names, as `str` writes it; or the same as JSON.
fn python_names(text: &str) -> Option<Labels> {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return Labels::from_json(&value).ok();
    }
    let mut reader = Python(text.trim());
    let mut names = serde_json::Map::new();
    let close = match (reader.take("{"), reader.take("[")) {
        (true, _) => "}",
        (_, true) => "]",
        _ => return None,
    };
    while !reader.take(close) {
        let number = if close == "}" {
            let number = reader.number()?;
            reader.take(":").then_some(())?;
            number
        } else {
            names.len().to_string()
        };
        names.insert(number, Value::String(reader.string()?));
        if !reader.take(",") {
            reader.take(close).then_some(())?;
            break;
        }
    }
    reader.0.trim().is_empty().then_some(())?;
    Labels::from_json(&Value::Object(names)).ok()
}

/// Text in Python's notation, the rest of it.
struct Python<'a>(&'a str);

impl Python<'_> {
    /// Whether this comes next; then it is read.
    fn take(&mut self, what: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(what);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn number(&mut self) -> Option<String> {
        let text = self.0.trim_start();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        self.0 = &text[digits..];
        (digits > 0).then(|| text[..digits].to_owned())
    }

    fn string(&mut self) -> Option<String> {
        let text = self.0.trim_start();
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let mut out = String::new();
        let mut chars = text.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.0 = &text[at + 1..];
                    return Some(out);
                }
                '\\' => {
                    let (_, escaped) = chars.next()?;
                    let digits = match escaped {
                        'x' => 2,
                        'u' => 4,
                        'U' => 8,
                        _ => 0,
                    };
                    if digits > 0 {
                        let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                        out.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
                    } else {
                        out.push(match escaped {
                            'n' => '\n',
                            't' => '\t',
                            'r' => '\r',
                            other => other,
                        });
                    }
                }
                c => out.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_python_writes_them() {
        let names = |text: &str| python_names(text).map(|labels| labels.names().to_vec());
        let two = Some(vec!["person".to_owned(), "it's".to_owned()]);
        assert_eq!(names("{0: 'person', 1: \"it's\"}"), two);
        assert_eq!(names("{1: 'it\\'s', 0: 'person',}"), two);
        assert_eq!(names("['person', \"it's\"]"), two);
        assert_eq!(names(r#"{"0": "person", "1": "it's"}"#), two);
        assert_eq!(names(r"{0: '\xe9t\u00e9', 1: 'a\\b'}"), Some(vec!["été".to_owned(), r"a\b".to_owned()]));
        assert_eq!(names("{}"), Some(vec![]));
        for wrong in [
            "",
            "{0: 'person'",
            "{0 'person'}",
            "{0: person}",
            "{'a': 'b'}",
            "{0: 'a'} {",
            "{0: '\\x4'}",
            "{0: 'a",
            "[1}",
        ] {
            assert_eq!(names(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_a_number_or_two() {
        assert_eq!(size("[480, 640]"), Some((480, 640)));
        assert_eq!(size("224"), Some((224, 224)));
        assert_eq!(
            (size("[224]"), size("large"), size("[0, 4]"), size("[1, 2, 3]")),
            (Some((224, 224)), None, None, None)
        );
    }

    #[test]
    fn characters_are_completed_as_paddleocr_completes_them() {
        let labels = Embedded::read([("character", "0\n1\n猫")]).labels.unwrap().0;
        assert_eq!(labels.names(), ["blank", "0", "1", "猫", " "]);
        // A detector's classes.
        let labels = Embedded::read([("character", "text\ntitle\nfigure\n")]).labels.unwrap().0;
        assert_eq!(labels.names(), ["text", "title", "figure"]);
        // A classifier's, of how a page lies.
        let labels = Embedded::read([("character", "0\n90\n180\n270")]).labels.unwrap().0;
        assert_eq!(labels.names(), ["0", "90", "180", "270"]);
    }

    #[test]
    fn lines_of_text_are_prepared_as_paddleocr_prepares_them() {
        let of = |character: &str, shape: [Option<usize>; 4]| {
            let input = Input::new(&shape, None).unwrap();
            Embedded::read([("character", character)]).preprocessing(&input)
        };
        let open = of("0\n1\n2", [None, Some(3), None, None]);
        assert_eq!((open.sizing, open.size, open.color), (Sizing::Width, (48, 192), Color::Bgr));
        assert_eq!(open.for_photo(500, 100).size, (48, 256));
        assert_eq!((open.mean, open.std, open.range), (vec![0.5; 3], vec![0.5; 3], [0.0, 1.0]));
        // Sides that the graph fixes are as they are.
        let fixed = of("0\n1\n2", [None, Some(3), Some(32), Some(320)]);
        assert_eq!((fixed.sizing, fixed.size), (Sizing::Said, (32, 320)));
        let digits = of("0\n1\n2", [None, Some(3), Some(28), Some(28)]);
        assert_eq!((digits.size, digits.source), ((28, 28), Source::Assumed));
        let detector = of("text\ntitle\nfigure", [None, Some(3), Some(800), Some(608)]);
        assert_eq!((detector.size, detector.color, detector.source), ((800, 608), Color::Rgb, Source::Assumed));
    }

    #[test]
    fn what_cannot_be_understood_is_kept_in_mind() {
        let embedded = Embedded::read([("names", "many"), ("imgsz", "?"), ("stride", "32"), ("author", "?")]);
        assert_eq!((embedded.unclear, embedded.stride), (vec!["names", "imgsz"], Some(32)));
    }
}
