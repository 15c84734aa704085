//! Suggestions for targets.

use camscope_core::target::{KINDS, Kind};

use super::{Item, Prompt, Value};
use crate::{
    engine::{Asked, OutputInfo},
    state::SIMILAR,
    worker::files::is_image,
};

/// How elements of outputs are asked for.
const OUTPUT: &str = "output:";

impl Prompt {
    /// Suggests targets that begin with what is typed: what the model says of the photo, elements of its outputs, the likeness to the photos
    /// that are open, and the beginnings of all kinds but those that are refused.
    pub fn suggest_targets(
        &mut self,
        said: &[Asked],
        outputs: &[OutputInfo],
        photos: &[String],
        refused: &[(&'static str, String)],
    ) {
        let item = |spec: String, about: &str| {
            let text = if about.is_empty() { spec.clone() } else { format!("{spec}  {about}") };
            Item { text, value: Value::Target(spec) }
        };
        let said = said.iter().map(|asked| item(asked.spec.clone(), asked.label.as_deref().unwrap_or("")));
        let elements = outputs.iter().map(|output| item(output.first_element(), &format!("of {}", output.axes())));
        let bare = self.bare_path().is_some();
        let before = if bare { "" } else { SIMILAR };
        let photos = photos.iter().map(|path| item(format!("{before}{path}"), ""));
        let is_taken = |kind: &&Kind| refused.iter().all(|(name, _)| *name != kind.name);
        let kinds = KINDS.iter().filter(is_taken).map(|kind| {
            // What stands before the colon is said by the beginning itself.
            let about = kind.about.split_once(": ").map_or(kind.about, |(_, about)| about);
            item(format!("{}:", kind.name), about)
        });
        let typed = self.text.trim();
        let all: Vec<Item> = match typed.split_once(':') {
            _ if bare => said.chain(kinds).chain(photos).collect(),
            None => said.chain(kinds).collect(),
            Some(_) if typed.starts_with(OUTPUT) => said.chain(elements).collect(),
            Some(_) if typed.starts_with(SIMILAR) => photos.collect(),
            Some(_) => said.collect(),
        };
        let begins = |item: &Item| matches!(&item.value, Value::Target(spec) if spec.starts_with(typed));
        // An element whose brackets were changed is none of these.
        self.items = all.into_iter().filter(begins).collect();
        self.items.dedup();
        self.selected = 0;
        self.moved = false;
    }

    /// Adds the pictures among these paths, and folders.
    pub(super) fn add_similar(&mut self, paths: Vec<String>) {
        let before = if self.bare_path().is_some() { "" } else { SIMILAR };
        for path in paths.into_iter().filter(|path| path.ends_with('/') || is_image(path)) {
            let spec = format!("{before}{path}");
            if self.items.iter().all(|item| item.value != Value::Target(spec.clone())) {
                self.items.push(Item { text: spec.clone(), value: Value::Target(spec) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Purpose;

    fn specs(typed: &str) -> Vec<String> {
        specs_without(typed, &[])
    }

    fn specs_without(typed: &str, refused: &[(&'static str, String)]) -> Vec<String> {
        let mut prompt = Prompt::new(Purpose::Target, typed);
        let said = [Asked { spec: "box:1".into(), label: Some("cat".into()), ..Asked::default() }];
        let outputs = [
            OutputInfo { name: "scores".into(), shape: Some(vec![Some(1), Some(3)]) },
            OutputInfo { name: "age".into(), shape: Some(vec![Some(1), Some(1)]) },
        ];
        prompt.suggest_targets(&said, &outputs, &["b.jpg".to_owned()], refused);
        let spec = |item: &Item| match &item.value {
            Value::Target(spec) => spec.clone(),
            _ => String::new(),
        };
        prompt.items.iter().map(spec).collect()
    }

    #[test]
    fn targets_are_completed_by_what_is_known() {
        let all = specs("");
        assert_eq!(all[0], "box:1");
        assert_eq!(all.len(), 1 + KINDS.len());
        assert_eq!(specs("out"), ["output:"]);
        assert_eq!(specs("output:"), ["output:scores[0,0]", "output:age"]);
        assert_eq!(specs("output:a"), ["output:age"]);
        assert_eq!(specs("output:scores[0,2]"), Vec::<String>::new());
        assert_eq!(specs("similar:"), ["similar:b.jpg"]);
        assert_eq!(specs("box:"), ["box:1"]);
        let mut prompt = Prompt::new(Purpose::Target, "similar:");
        prompt.suggest_targets(&[], &[], &["b.jpg".to_owned()], &[]);
        prompt.suggest_paths(["b.jpg", "c.png", "m.onnx", "more/"].map(str::to_owned).to_vec());
        let texts: Vec<&str> = prompt.items.iter().map(|item| item.text.as_str()).collect();
        assert_eq!(texts, ["similar:b.jpg", "similar:c.png", "similar:more/"]);
    }

    #[test]
    fn what_a_model_has_nothing_of_is_not_suggested() {
        let refused = [("box", String::new()), ("text", String::new())];
        let all = specs_without("", &refused);
        assert!(!all.contains(&"text:".to_owned()) && !all.contains(&"box:".to_owned()), "{all:?}");
        assert_eq!(all.len(), 1 + KINDS.len() - 2);
    }

    #[test]
    fn of_an_embedding_a_path_alone_is_completed() {
        let mut prompt = Prompt::new(Purpose::Target, "photos/o");
        prompt.takes_paths = true;
        prompt.suggest_targets(&[], &[], &["photos/b.jpg".to_owned(), "photos/owl.jpg".to_owned()], &[]);
        assert_eq!(prompt.path(), Some("photos/o"));
        prompt.suggest_paths(["photos/old/", "photos/owl.jpg", "photos/o.onnx"].map(str::to_owned).to_vec());
        let texts = |prompt: &Prompt| prompt.items.iter().map(|item| item.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&prompt), ["photos/owl.jpg", "photos/old/"]);
        // It is taken as it is typed, the beginning of a kind is gone on from.
        assert!(!prompt.is_begun());
        prompt.set("out");
        prompt.suggest_targets(&[], &[], &[], &[]);
        assert_eq!((texts(&prompt).len(), prompt.is_begun()), (1, true));
        // Of other models it is no path.
        prompt.takes_paths = false;
        assert_eq!(prompt.path(), None);
    }
}
