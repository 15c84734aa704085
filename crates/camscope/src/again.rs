//! The command line of this process once more: for one picture, or to go on with all.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::CommandFactory;

use crate::cli::Cli;

/// What this process was called with, as a shell takes it: its command, as many of the words that belong to no option as `positional`, and
/// all options but those of the names `without` (as clap has them: the fields of the arguments).
pub(crate) fn command_line(positional: usize, without: &[&str]) -> String {
    let words = crate::WORDS.get().map_or(&[][..], Vec::as_slice);
    kept(words.get(1..).unwrap_or_default(), positional, without).join(" ")
}

fn kept(words: &[OsString], positional: usize, without: &[&str]) -> Vec<String> {
    let mut kept = vec!["camscope".to_owned()];
    let Some((first, words)) = words.split_first() else { return kept };
    let all = Cli::command();
    let Some(command) = first.to_str().and_then(|name| all.find_subcommand(name)) else { return kept };
    kept.push(quoted(first));
    let (mut rest, mut seen, mut only_positional) = (words.iter(), 0, false);
    while let Some(word) = rest.next() {
        let text = word.to_string_lossy();
        if only_positional || !text.starts_with('-') || text == "-" {
            seen += 1;
            kept.extend((seen <= positional).then(|| quoted(word)));
            continue;
        }
        if text == "--" {
            only_positional = true;
            continue;
        }
        let named = |long: &str| command.get_arguments().find(|argument| argument.get_long() == Some(long));
        let (argument, has_value) = match text.strip_prefix("--") {
            Some(long) => (named(long.split('=').next().unwrap_or(long)), long.contains('=')),
            None => {
                let short = text.chars().nth(1);
                (command.get_arguments().find(|argument| argument.get_short() == short), text.chars().count() > 2)
            }
        };
        let takes_value = argument.is_some_and(|argument| argument.get_action().takes_values());
        let value = if takes_value && !has_value { rest.next() } else { None };
        if argument.is_some_and(|argument| without.contains(&argument.get_id().as_str())) {
            continue;
        }
        kept.push(quoted(word));
        kept.extend(value.map(quoted));
    }
    kept
}

/// A word as a POSIX shell takes it.
pub(crate) fn quoted(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A file as a word that is no option.
pub(crate) fn quoted_path(path: &Path) -> String {
    let is_like_an_option = path.as_os_str().to_string_lossy().starts_with('-');
    if is_like_an_option { quoted(Path::new(".").join(path)) } else { quoted(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_apart_as_clap_does() {
        let words =
            "explain -o out net.onnx cat.jpg --layer=4 --class tabby -k --no-verify --ep cpu dog.jpg -ofar --json";
        let words: Vec<OsString> = words.split(' ').filter(|word| *word != "-k").map(Into::into).collect();
        let of = |positional, without: &[&str]| kept(&words, positional, without).join(" ");
        assert_eq!(of(1, &["output", "classes", "json"]), "camscope explain net.onnx --layer=4 --no-verify --ep cpu");
        assert_eq!(
            of(3, &["layers"]),
            "camscope explain -o out net.onnx cat.jpg --class tabby --no-verify --ep cpu dog.jpg -ofar --json"
        );
    }

    #[test]
    fn a_shell_takes_a_word_back_as_it_was() {
        assert_eq!(quoted("a/b-1.png"), "a/b-1.png");
        assert_eq!(quoted("it's <here>"), r"'it'\''s <here>'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted_path(Path::new("-x.png")), "./-x.png");
    }
}
