//! How this terminal shows images, for commands that print: the explorer asks by itself.

use std::io::IsTerminal;

use camscope_tui::graphics::{Overrides, Screen, detect};

/// Asks the terminal, which has a moment to answer; `None` where stdout is none.
pub(crate) fn screen() -> Option<Screen> {
    let env = |name: &str| std::env::var(name).ok();
    std::io::stdout().is_terminal().then(|| detect(&Overrides::default(), &env))
}
