//! A line that is typed, with suggestions: search, filter, palette, paths.

use std::cmp::Reverse;

use camscope_core::{
    method::{self, Method, Parameters},
    target,
};
use nucleo_matcher::{
    Config, Matcher,
    pattern::{CaseMatching, Normalization, Pattern},
};

use crate::{
    action::{ACTIONS, Action},
    state::SIMILAR,
};

mod editing;
mod targets;

/// What the line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A class, among all labels.
    SearchClass,
    /// A filter for the list of layers; it works while it is typed.
    FilterLayers,
    /// A file to open.
    Open,
    /// An action.
    Palette,
    /// A file to save to.
    Save,
    /// A method.
    Methods,
    /// What to compare with: a method, or the second model.
    CompareWith,
    /// An image of those that are open.
    Images,
    /// A file to export the model to.
    Export,
    /// A folder for a report.
    Report,
    /// A target.
    Target,
    /// What an input of the model is fed.
    Input,
}

/// What a suggestion stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A class.
    Class(usize),
    /// An action.
    Action(Action),
    /// A path.
    Path(String),
    /// A method's place among all of them.
    Method(usize),
    /// An image's place among those that are open.
    Image(usize),
    /// The second model.
    Second,
    /// A target; what ends in a colon is only its beginning.
    Target(String),
}

/// A suggestion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What is shown.
    pub text: String,
    /// What it stands for.
    pub value: Value,
}

/// The line and its suggestions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What it is for.
    pub purpose: Purpose,
    /// What has been typed.
    pub text: String,
    /// Bytes before the cursor.
    pub cursor: usize,
    /// Suggestions, the best first.
    pub items: Vec<Item>,
    /// The suggestion that enter takes.
    pub selected: usize,
    /// What the filter was before, for going back.
    pub before: String,
    /// Whether a suggestion was gone to.
    pub moved: bool,
    /// Whether a target may be a path alone: a photo to compare with.
    pub takes_paths: bool,
}

/// Suggestions beyond this many are not shown by anybody.
const MOST: usize = 200;

impl Prompt {
    /// An empty line, or one with text to go on from.
    pub fn new(purpose: Purpose, text: impl Into<String>) -> Self {
        let text = text.into();
        let (cursor, before) = (text.len(), text.clone());
        Self { purpose, cursor, before, text, items: Vec::new(), selected: 0, moved: false, takes_paths: false }
    }

    /// What stands before the line.
    pub fn title(&self) -> &'static str {
        match self.purpose {
            Purpose::SearchClass => "class",
            Purpose::FilterLayers => "layers",
            Purpose::Open => "open",
            Purpose::Palette => "do",
            Purpose::Save => "save to",
            Purpose::Methods => "method",
            Purpose::CompareWith => "compare with",
            Purpose::Images => "image",
            Purpose::Export => "export to",
            Purpose::Report => "report into",
            Purpose::Target => "target",
            Purpose::Input => "input",
        }
    }

    /// Whether it is a path.
    pub fn is_path(&self) -> bool {
        matches!(self.purpose, Purpose::Open | Purpose::Save | Purpose::Export | Purpose::Report)
    }

    /// The part of the line that is a path, where one is typed.
    pub fn path(&self) -> Option<&str> {
        match self.purpose {
            Purpose::Target => self.text.strip_prefix(SIMILAR).or_else(|| self.bare_path()),
            _ => self.is_path().then_some(self.text.as_str()),
        }
    }

    /// All of the line, where it may be a path alone.
    fn bare_path(&self) -> Option<&str> {
        let is_path = self.takes_paths && !self.text.trim().is_empty() && !target::has_kind(&self.text);
        is_path.then_some(self.text.as_str())
    }

    /// Whether what is typed is at most the beginning of a target.
    pub fn is_begun(&self) -> bool {
        let typed = self.text.trim();
        // A path is taken as it is typed.
        let is_kind =
            || matches!(self.chosen().map(|item| &item.value), Some(Value::Target(spec)) if spec.ends_with(':'));
        typed.is_empty()
            || typed.ends_with(':')
            || target::parse(typed).is_err() && (self.bare_path().is_none() || is_kind())
    }

    /// What all suggested paths, or targets, begin with.
    pub fn common_start(&self) -> String {
        let paths = self.items.iter().filter_map(|item| match &item.value {
            Value::Path(path) | Value::Target(path) => Some(path.as_str()),
            Value::Class(_) | Value::Action(_) | Value::Method(_) | Value::Image(_) | Value::Second => None,
        });
        let shared = |one: &str, other: &str| {
            one.chars().zip(other.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>()
        };
        let common = paths.reduce(|one, other| &one[..shared(one, other)]);
        common.unwrap_or_default().to_owned()
    }

    /// Replaces the line.
    pub fn set(&mut self, text: impl Into<String>) {
        self.text = text.into();
        self.cursor = self.text.len();
    }

    /// Chooses another suggestion, around the end.
    pub fn select(&mut self, by: isize) {
        if !self.items.is_empty() {
            self.moved = true;
            self.selected = (self.selected as isize + by).rem_euclid(self.items.len() as isize) as usize;
        }
    }

    /// The chosen suggestion.
    pub fn chosen(&self) -> Option<&Item> {
        self.items.get(self.selected)
    }

    /// Suggests classes: by number, and by fuzzy match of the labels.
    pub fn suggest_classes(&mut self, labels: &[String], count: usize) {
        let item = |class: usize| {
            let name = labels.get(class).filter(|name| !name.is_empty());
            let text = name.map_or_else(|| format!("class {class}"), |name| format!("{name}  ({class})"));
            Item { text, value: Value::Class(class) }
        };
        let number = self.text.trim().parse::<usize>().ok().filter(|class| *class < count);
        let all = (0..count).map(item);
        // `espresso` before `espresso maker`.
        let length = |item: &Item| item.text.chars().count();
        self.items = number.map(item).into_iter().chain(best(&self.text, all, length)).take(MOST).collect();
        self.items.dedup();
        self.selected = 0;
    }

    /// Suggests actions.
    pub fn suggest_actions(&mut self) {
        let all = ACTIONS.iter().filter(|(_, action, _)| *action != Action::Palette);
        let item = |(name, action, description): &(&str, Action, &str)| Item {
            text: format!("{name}  {description}"),
            value: Value::Action(*action),
        };
        self.items = best(&self.text, all.map(item), |_| 0).into_iter().take(MOST).collect();
        self.selected = 0;
    }

    /// Suggests methods, one family after the other, each with its cost in forward passes for a layer of so many channels; `current` is chosen
    /// while nothing is typed.
    pub fn suggest_methods(&mut self, channels: usize, current: usize) {
        let all = method::all();
        let mut families: Vec<&str> = all.iter().map(|method| method.family()).collect();
        let first = |family: &&str| all.iter().position(|method| method.family() == *family);
        families.sort_by_key(first);
        families.dedup();
        let widest = all.iter().map(|method| method.name().len()).max().unwrap_or(0);
        let wide = families.iter().map(|family| family.len()).max().unwrap_or(0);
        let of_family = |family: &&'static str| {
            let family = *family;
            all.iter().enumerate().filter(move |(_, method)| method.family() == family)
        };
        let item = |(at, method): (usize, &Method)| {
            let (family, name, cost) = (method.family(), method.name(), format!("×{}", cost(*method, channels)));
            // What is chosen by stands first: a small window cuts the rest off.
            let text = format!("{name:widest$}  {cost:>6}  {family:wide$}  {}", method.about());
            Item { text, value: Value::Method(at) }
        };
        // The name counts more than the description: of equally good ones that with the shorter name.
        let length = |item: &Item| match item.value {
            Value::Method(at) => all[at].name().len(),
            _ => usize::MAX,
        };
        let wanted = self.text.trim().to_lowercase();
        let mut items = best(&self.text, families.iter().flat_map(of_family).map(item), length);
        // What is called so comes before what is said to be like it.
        items.sort_by_key(|item| {
            let name = match item.value {
                Value::Method(at) => all[at].name(),
                _ => "",
            };
            !wanted.is_empty() && !name.starts_with(&wanted)
        });
        self.items = items;
        let at = |item: &Item| item.value == Value::Method(current);
        self.selected = self.items.iter().position(at).filter(|_| wanted.is_empty()).unwrap_or(0);
    }

    /// Suggests the methods that a chosen one can be compared with, and before them the second model, where there is one of that name.
    pub fn suggest_others(&mut self, channels: usize, chosen: Option<usize>, second: Option<&str>) {
        self.suggest_methods(channels, chosen.unwrap_or(usize::MAX));
        let is_wanted = |name: &&str| name.to_lowercase().contains(&self.text.trim().to_lowercase());
        if let Some(name) = second.filter(is_wanted) {
            self.items.insert(0, Item { text: format!("{name}  the second model"), value: Value::Second });
            self.selected = if chosen.is_some() && self.text.trim().is_empty() { self.selected + 1 } else { 0 };
        }
    }

    /// Suggests images by their names; `current` is chosen while nothing is typed.
    pub fn suggest_images<'a>(&mut self, paths: impl Iterator<Item = &'a std::path::Path>, current: usize) {
        let item = |(at, path): (usize, &std::path::Path)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Item { text: format!("{name}  ({})", at + 1), value: Value::Image(at) }
        };
        let place = |item: &Item| match item.value {
            Value::Image(at) => at,
            _ => usize::MAX,
        };
        let mut items = best(&self.text, paths.enumerate().map(item), place);
        // A name counts more than a place.
        let wanted = self.text.trim().to_lowercase();
        let is_named =
            |item: &Item| item.text.rsplit_once("  (").is_some_and(|(name, _)| name.to_lowercase().contains(&wanted));
        items.sort_by_key(|item| !is_named(item));
        self.items = items;
        let is_current = |item: &Item| item.value == Value::Image(current);
        self.selected = self.items.iter().position(is_current).filter(|_| self.text.trim().is_empty()).unwrap_or(0);
    }

    /// Suggests paths that were found for what is typed.
    pub fn suggest_paths(&mut self, paths: Vec<String>) {
        if self.purpose == Purpose::Target {
            return self.add_similar(paths);
        }
        let item = |path: String| Item { text: path.clone(), value: Value::Path(path) };
        self.items = paths.into_iter().take(MOST).map(item).collect();
        self.selected = 0;
    }
}

/// About how many forward passes a method takes for a photo, with its defaults and a layer of so many channels.
pub fn cost(method: Method, channels: usize) -> String {
    let passes = passes(method, channels);
    if passes < 10.0 { format!("{passes:.1}") } else { format!("{passes:.0}") }
}

/// [`cost`] as a number.
pub fn passes(method: Method, channels: usize) -> f64 {
    method.passes(&Parameters::defaults(method.parameters()), channels)
}

/// The items that match, the best first, of equally good ones that of the lowest order; all of them in their own order where nothing is typed.
fn best(query: &str, items: impl Iterator<Item = Item>, order: impl Fn(&Item) -> usize) -> Vec<Item> {
    struct Matched(Item);
    impl AsRef<str> for Matched {
        fn as_ref(&self) -> &str {
            &self.0.text
        }
    }
    if query.trim().is_empty() {
        return items.collect();
    }
    let mut matcher = Matcher::new(Config::DEFAULT);
    let pattern = Pattern::parse(query, CaseMatching::Ignore, Normalization::Smart);
    let mut found = pattern.match_list(items.map(Matched), &mut matcher);
    found.sort_by_key(|(matched, score)| (Reverse(*score), order(&matched.0)));
    found.into_iter().map(|(matched, _)| matched.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nothing_but_the_query_comes_first() {
        let mut prompt = Prompt::new(Purpose::SearchClass, "espresso");
        prompt.suggest_classes(&["espresso maker".to_owned(), "cup".to_owned(), "espresso".to_owned()], 3);
        let found: Vec<_> = prompt.items.iter().map(|item| item.value.clone()).collect();
        assert_eq!(found, [Value::Class(2), Value::Class(0)]);
    }

    #[test]
    fn a_line_is_edited_by_characters_not_bytes() {
        let mut prompt = Prompt::new(Purpose::Open, "");
        "né/x".chars().for_each(|character| prompt.insert(character));
        prompt.insert('\u{1b}');
        prompt.step(false);
        prompt.step(false);
        prompt.backspace();
        assert_eq!((prompt.text.as_str(), prompt.cursor), ("n/x", 1));
        prompt.delete();
        prompt.step(true);
        assert_eq!((prompt.text.as_str(), prompt.cursor), ("nx", 2));
        prompt.set("/some folder/name");
        prompt.delete_word();
        assert_eq!(prompt.text, "/some folder/");
        prompt.delete_to_start();
        assert_eq!(prompt.text, "");
        prompt.backspace();
        prompt.delete();
        prompt.delete_word();
    }

    #[test]
    fn classes_are_found_by_label_and_number() {
        let labels = ["tabby", "tiger cat", "Egyptian cat", ""].map(str::to_owned);
        let mut prompt = Prompt::new(Purpose::SearchClass, "egc");
        prompt.suggest_classes(&labels, 4);
        assert_eq!(prompt.chosen().map(|item| item.value.clone()), Some(Value::Class(2)));
        prompt.set("3");
        prompt.suggest_classes(&labels, 4);
        assert_eq!(prompt.items[0], Item { text: "class 3".into(), value: Value::Class(3) });
        prompt.set("");
        prompt.suggest_classes(&labels, 4);
        assert_eq!(prompt.items.len(), 4);
        prompt.select(-1);
        assert_eq!(prompt.selected, 3);
        prompt.set("zzzz");
        prompt.suggest_classes(&labels, 4);
        assert_eq!(prompt.chosen(), None);
        prompt.select(1);
    }

    #[test]
    fn methods_stand_by_family_and_are_found_by_name() {
        let mut prompt = Prompt::new(Purpose::Methods, "");
        prompt.suggest_methods(512, 3);
        assert_eq!(prompt.items.len(), method::all().len());
        assert_eq!(prompt.chosen().map(|item| &item.value), Some(&Value::Method(3)));
        let family = |item: &Item| match item.value {
            Value::Method(at) => method::nth(at).expect("a method").family(),
            _ => "",
        };
        let families: Vec<&str> =
            prompt.items.chunk_by(|one, next| family(one) == family(next)).map(|run| family(&run[0])).collect();
        let mut unique = families.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(families.len(), unique.len(), "{families:?}");
        for (at, method) in method::all().into_iter().enumerate() {
            prompt.set(method.name());
            prompt.suggest_methods(512, 0);
            assert_eq!(prompt.chosen().map(|item| &item.value), Some(&Value::Method(at)), "{}", method.name());
            assert!(prompt.items[0].text.contains('×'));
        }
    }

    #[test]
    fn actions_are_found_by_what_they_do() {
        let mut prompt = Prompt::new(Purpose::Palette, "every layer");
        prompt.suggest_actions();
        assert!(prompt.items.iter().any(|item| item.value == Value::Action(Action::View(crate::action::View::Sweep))));
    }
}
