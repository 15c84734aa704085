//! Colours of the interface: few, so that they fit light and dark backgrounds, and open to the configuration.

use std::{collections::BTreeMap, str::FromStr};

use ratatui::style::{Color, Modifier, Style};

use crate::state::State;

/// A part of the interface that has colours of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The program's name, and what stands before a typed line.
    Title,
    /// Headings of lists.
    Heading,
    /// Most text.
    Plain,
    /// What is less important.
    Faint,
    /// What is chosen.
    Selected,
    /// Bars of probabilities.
    Bar,
    /// Errors.
    Error,
    /// The mark of pinned classes.
    Pinned,
    /// What is drawn over the rest.
    Popup,
    /// Keys in the help.
    Key,
}

const PARTS: [(&str, Part); 10] = [
    ("title", Part::Title),
    ("heading", Part::Heading),
    ("plain", Part::Plain),
    ("faint", Part::Faint),
    ("selected", Part::Selected),
    ("bar", Part::Bar),
    ("error", Part::Error),
    ("pinned", Part::Pinned),
    ("popup", Part::Popup),
    ("key", Part::Key),
];

impl Part {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        PARTS.iter().find(|(_, part)| *part == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = PARTS.iter().find(|(known, _)| *known == name).map(|(_, part)| *part);
        let all = || PARTS.map(|(name, _)| name).join(", ");
        found.ok_or_else(|| format!("there is no part `{name}` with colours; there are {}", all()))
    }
}

/// Colours that replace the built-in ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    /// Of the characters.
    pub fg: Option<Color>,
    /// Behind them.
    pub bg: Option<Color>,
}

/// Replaced colours, by part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paints(pub BTreeMap<Part, Paint>);

/// Styles by what they are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) title: Style,
    pub(super) heading: Style,
    pub(super) plain: Style,
    pub(super) faint: Style,
    pub(super) selected: Style,
    pub(super) bar: Style,
    pub(super) error: Style,
    pub(super) pinned: Style,
    pub(super) popup: Style,
    pub(super) key: Style,
}

impl Theme {
    pub(super) fn of(state: &State) -> Self {
        if state.no_color {
            return Self::without_colors();
        }
        let mut theme = Self::built_in(state.screen.is_light());
        for (part, paint) in &state.paints.0 {
            let style = match part {
                Part::Title => &mut theme.title,
                Part::Heading => &mut theme.heading,
                Part::Plain => &mut theme.plain,
                Part::Faint => &mut theme.faint,
                Part::Selected => &mut theme.selected,
                Part::Bar => &mut theme.bar,
                Part::Error => &mut theme.error,
                Part::Pinned => &mut theme.pinned,
                Part::Popup => &mut theme.popup,
                Part::Key => &mut theme.key,
            };
            style.fg = paint.fg.or(style.fg);
            style.bg = paint.bg.or(style.bg);
        }
        theme
    }

    fn without_colors() -> Self {
        let (plain, bold) = (Style::new(), Style::new().add_modifier(Modifier::BOLD));
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        Self {
            title: bold,
            heading: bold.add_modifier(Modifier::UNDERLINED),
            plain,
            faint: plain.add_modifier(Modifier::DIM),
            selected: reversed,
            bar: plain,
            error: bold,
            pinned: bold,
            popup: plain,
            key: bold,
        }
    }

    fn built_in(light: bool) -> Self {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let pick = |on_light: u8, on_dark: u8| Color::Indexed(if light { on_light } else { on_dark });
        let accent = if light { Color::Blue } else { Color::Cyan };
        let (paper, ink) = (pick(254, 236), pick(234, 253));
        Self {
            title: bold.fg(accent),
            heading: bold.fg(accent),
            plain: Style::new(),
            faint: Style::new().fg(pick(243, 246)),
            selected: Style::new().bg(pick(153, 24)).fg(pick(16, 231)),
            bar: Style::new().fg(accent),
            error: bold.fg(if light { Color::Red } else { Color::LightRed }),
            pinned: Style::new().fg(if light { Color::Magenta } else { Color::LightMagenta }),
            popup: Style::new().bg(paper).fg(ink),
            key: bold.bg(paper).fg(if light { Color::Blue } else { Color::LightCyan }),
        }
    }
}
