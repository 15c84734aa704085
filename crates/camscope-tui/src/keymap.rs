//! Which key does what: the preset, patched by the configuration.

use std::{fmt, str::FromStr};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::action::Action;

const PRESET: &str = include_str!("keymap.toml");

/// A key with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

/// Keys and their actions, in the order in which help lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keymap(Vec<(Key, Action)>);

const NAMED: &[(&str, KeyCode)] = &[
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("space", KeyCode::Char(' ')),
];

impl From<KeyEvent> for Key {
    fn from(event: KeyEvent) -> Self {
        let mut modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        // A capital letter or a sign already says that shift was held.
        if matches!(event.code, KeyCode::Char(_)) {
            modifiers -= KeyModifiers::SHIFT;
        }
        Self { code: event.code, modifiers }
    }
}

impl FromStr for Key {
    type Err = String;

    /// `q`, `G`, `left`, `ctrl-l`, `shift-up`, `alt-x`, `f1`, `space`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut rest, mut modifiers) = (text, KeyModifiers::NONE);
        for (prefix, modifier) in
            [("ctrl-", KeyModifiers::CONTROL), ("alt-", KeyModifiers::ALT), ("shift-", KeyModifiers::SHIFT)]
        {
            if let Some(after) = rest.strip_prefix(prefix).filter(|after| !after.is_empty()) {
                (rest, modifiers) = (after, modifiers | modifier);
            }
        }
        let named = NAMED.iter().find(|(name, _)| *name == rest).map(|(_, code)| *code);
        let function = || {
            let number: u8 = rest.strip_prefix('f')?.parse().ok()?;
            (1..=24).contains(&number).then_some(KeyCode::F(number))
        };
        let mut characters = rest.chars();
        let code = match (named.or_else(function), characters.next(), characters.next()) {
            (Some(code), ..) => code,
            (None, Some(character), None) => KeyCode::Char(character),
            _ => {
                return Err(format!(
                    "there is no key `{text}`: write a character, a name such as left, pageup or f1, and before it ctrl-, alt- or shift-"
                ));
            }
        };
        if matches!(code, KeyCode::Char(_)) {
            modifiers -= KeyModifiers::SHIFT;
        }
        Ok(Self { code, modifiers })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (modifier, name) in
            [(KeyModifiers::CONTROL, "ctrl-"), (KeyModifiers::ALT, "alt-"), (KeyModifiers::SHIFT, "shift-")]
        {
            if self.modifiers.contains(modifier) {
                f.write_str(name)?;
            }
        }
        let arrow = match self.code {
            KeyCode::Left => Some("←"),
            KeyCode::Right => Some("→"),
            KeyCode::Up => Some("↑"),
            KeyCode::Down => Some("↓"),
            _ => NAMED.iter().find(|(_, code)| *code == self.code).map(|(name, _)| *name),
        };
        match (arrow, self.code) {
            (Some(name), _) => f.write_str(name),
            (None, KeyCode::Char(character)) => write!(f, "{character}"),
            (None, KeyCode::F(number)) => write!(f, "F{number}"),
            (None, other) => write!(f, "{other:?}"),
        }
    }
}

impl Keymap {
    /// The built-in keys.
    pub fn preset() -> Self {
        let table: toml::Table = PRESET.parse().unwrap_or_default();
        let mut keymap = Self(Vec::new());
        for (key, action) in &table {
            let _ = keymap.patch(key, action.as_str().unwrap_or_default()); // a test sees to it that all of them are right
        }
        // A table forgets the order of the file; help shows that of the actions.
        keymap.0.sort_by_key(|(_, action)| crate::action::ACTIONS.iter().position(|(_, known, _)| known == action));
        keymap
    }

    /// Gives a key another action, or with `none` no action.
    ///
    /// # Errors
    /// There is no such key or action.
    pub fn patch(&mut self, key: &str, action: &str) -> Result<(), String> {
        let key: Key = key.parse()?;
        if action == "none" {
            self.0.retain(|(known, _)| *known != key);
            return Ok(());
        }
        let action: Action = action.parse()?;
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = action,
            None => self.0.push((key, action)),
        }
        Ok(())
    }

    /// What the key does.
    pub fn action(&self, key: Key) -> Option<Action> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, action)| *action)
    }

    /// The first key of an action, in words; where it has none, how it is typed.
    pub fn first(&self, action: Action) -> String {
        self.keys(action).next().map_or_else(|| format!(":{action}"), |key| key.to_string())
    }

    /// The keys of an action.
    pub fn keys(&self, action: Action) -> impl Iterator<Item = Key> {
        self.0.iter().filter(move |(_, known)| *known == action).map(|(key, _)| *key)
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Action)> {
        self.0.iter().copied()
    }

    /// As it stands in a configuration file.
    pub fn to_toml(&self) -> toml::Table {
        let spelled = |key: &Key| match key.code {
            KeyCode::Left | KeyCode::Right | KeyCode::Up | KeyCode::Down => {
                let name = NAMED.iter().find(|(_, code)| *code == key.code).map_or("", |(name, _)| *name);
                let bare = Key { code: KeyCode::Home, ..*key }.to_string();
                bare.replace("home", name)
            }
            KeyCode::F(_) => key.to_string().to_lowercase(),
            _ => key.to_string(),
        };
        let bound = self.0.iter().map(|(key, action)| (spelled(key), toml::Value::from(action.name())));
        // What the defaults have and this has not must be said: the file is a patch over them.
        let preset = Self::preset();
        let unbound = preset.0.iter().filter(|(key, _)| self.action(*key).is_none());
        bound.chain(unbound.map(|(key, _)| (spelled(key), "none".into()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preset_is_right_and_every_row_of_it_is_used() {
        let table: toml::Table = PRESET.parse().unwrap();
        for (key, action) in &table {
            let key: Key = key.parse().unwrap();
            assert_eq!(Keymap::preset().action(key), Some(action.as_str().unwrap().parse().unwrap()), "{key}");
        }
        assert_eq!(Keymap::preset().iter().count(), table.len());
    }

    #[test]
    fn keys_are_read_and_written() {
        let shifted = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!("G".parse(), Ok(Key::from(shifted)));
        assert_eq!("ctrl-c".parse(), Ok(Key::from(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL))));
        assert_eq!("shift-left".parse(), Ok(Key::from(KeyEvent::new(KeyCode::Left, KeyModifiers::SHIFT))));
        assert_eq!("-".parse(), Ok(Key::from(KeyEvent::new(KeyCode::Char('-'), KeyModifiers::NONE))));
        assert_eq!("f1".parse::<Key>().unwrap().to_string(), "F1");
        assert_eq!("ctrl-left".parse::<Key>().unwrap().to_string(), "ctrl-←");
        assert!("lefft".parse::<Key>().unwrap_err().contains("lefft"));
        assert!("".parse::<Key>().is_err());
    }

    #[test]
    fn a_patch_changes_adds_and_removes() {
        let mut keymap = Keymap::preset();
        keymap.patch("q", "help").unwrap();
        keymap.patch("ctrl-q", "quit").unwrap();
        keymap.patch("x", "none").unwrap();
        assert_eq!(keymap.action("q".parse().unwrap()), Some(Action::Help));
        assert_eq!(keymap.action("ctrl-q".parse().unwrap()), Some(Action::Quit));
        assert_eq!(keymap.action("x".parse().unwrap()), None);
        assert!(keymap.patch("q", "qiut").unwrap_err().contains("quit"));
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let mut keymap = Keymap(Vec::new());
        for (key, action) in &Keymap::preset().to_toml() {
            keymap.patch(key, action.as_str().unwrap()).unwrap();
        }
        assert_eq!(keymap.iter().count(), Keymap::preset().iter().count());
        for (key, action) in Keymap::preset().iter() {
            assert_eq!(keymap.action(key), Some(action));
        }
    }
}
