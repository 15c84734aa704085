//! Changing the line that is typed. The cursor goes by what is seen as one character: a letter with its accents, an emoji with what joins it.

use unicode_width::UnicodeWidthChar;

use super::Prompt;

/// Joins the emoji before and after it.
const JOINER: char = '\u{200d}';

/// What parts words: those of a path, a target, a label.
const BETWEEN_WORDS: [char; 4] = [' ', '/', ':', ','];

impl Prompt {
    /// Types a character; control characters are not typed.
    pub fn insert(&mut self, character: char) {
        if !camscope_core::text::is_hidden(character) {
            self.text.insert(self.cursor, character);
            self.cursor += character.len_utf8();
        }
    }

    /// Types pasted text, of which lines become one: a new line counts as a space, those at its ends as nothing.
    pub fn paste(&mut self, text: &str) {
        let is_break = |character: char| matches!(character, '\n' | '\r' | '\t');
        let lines = text.trim().split(is_break).map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ").chars().for_each(|character| self.insert(character));
    }

    /// What stands at the cursor, and what stands behind that; both empty at the end.
    pub fn at_cursor(&self) -> (&str, &str) {
        self.text[self.cursor..].split_at(self.next() - self.cursor)
    }

    /// Removes the character before the cursor.
    pub fn backspace(&mut self) {
        self.delete_from(self.previous());
    }

    /// Removes the character at the cursor.
    pub fn delete(&mut self) {
        self.text.replace_range(self.cursor..self.next(), "");
    }

    /// Removes the word before the cursor.
    pub fn delete_word(&mut self) {
        self.delete_from(self.word_start());
    }

    /// Empties the line before the cursor.
    pub fn delete_to_start(&mut self) {
        self.delete_from(0);
    }

    /// Empties the line from the cursor on.
    pub fn delete_to_end(&mut self) {
        self.text.truncate(self.cursor);
    }

    /// Moves the cursor by a character.
    pub fn step(&mut self, forward: bool) {
        self.cursor = if forward { self.next() } else { self.previous() };
    }

    /// Moves the cursor by a word.
    pub fn step_word(&mut self, forward: bool) {
        self.cursor = if forward { self.word_end() } else { self.word_start() };
    }

    fn delete_from(&mut self, start: usize) {
        self.text.replace_range(start..self.cursor, "");
        self.cursor = start;
    }

    fn word_start(&self) -> usize {
        let kept = self.text[..self.cursor].trim_end_matches(BETWEEN_WORDS);
        kept.char_indices()
            .rfind(|(_, character)| BETWEEN_WORDS.contains(character))
            .map_or(0, |(at, one)| at + one.len_utf8())
    }

    fn word_end(&self) -> usize {
        let rest = &self.text[self.cursor..];
        let word = rest.trim_start_matches(BETWEEN_WORDS);
        self.text.len() - word.len() + word.find(BETWEEN_WORDS).unwrap_or(word.len())
    }

    /// The place behind the character at the cursor.
    fn next(&self) -> usize {
        let mut end = self.cursor;
        let mut is_joined = true;
        for character in self.text[self.cursor..].chars() {
            if !is_joined && character.width() != Some(0) {
                break;
            }
            end += character.len_utf8();
            is_joined = character == JOINER;
        }
        end
    }

    /// The place of the character before the cursor.
    fn previous(&self) -> usize {
        let mut start = self.cursor;
        while let Some(character) = self.text[..start].chars().next_back() {
            start -= character.len_utf8();
            let is_joined = self.text[..start].ends_with(JOINER);
            if character.width() != Some(0) && !is_joined {
                break;
            }
        }
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Purpose;

    fn line(text: &str) -> Prompt {
        Prompt::new(Purpose::Open, text)
    }

    /// The pieces that the cursor steps through.
    fn steps(text: &str) -> Vec<String> {
        let mut forward = line(text);
        forward.cursor = 0;
        let mut pieces = Vec::new();
        while forward.cursor < forward.text.len() {
            pieces.push(forward.at_cursor().0.to_owned());
            forward.step(true);
        }
        let mut back = line(text);
        for piece in pieces.iter().rev() {
            let end = back.cursor;
            back.step(false);
            assert_eq!(back.text[back.cursor..end], **piece, "of {text:?} backwards");
        }
        assert_eq!((back.cursor, forward.at_cursor()), (0, ("", "")));
        pieces
    }

    #[test]
    fn the_cursor_goes_by_what_is_seen_as_one_character() {
        assert_eq!(steps("a猫é"), ["a", "猫", "é"]);
        assert_eq!(steps("e\u{301}x"), ["e\u{301}", "x"]);
        assert_eq!(steps("👩\u{200d}🔬!"), ["👩\u{200d}🔬", "!"]);
        assert_eq!(steps("❤\u{fe0f}שלום"), ["❤\u{fe0f}", "ש", "ל", "ו", "ם"]);
        let mut prompt = line("x👩\u{200d}🔬e\u{301}");
        prompt.backspace();
        prompt.backspace();
        assert_eq!((prompt.text.as_str(), prompt.cursor), ("x", 1));
        prompt.cursor = 0;
        prompt.delete();
        prompt.delete();
        assert_eq!(prompt.text, "");
    }

    #[test]
    fn words_are_deleted_and_stepped_over() {
        let mut prompt = line("similar:photos/猫 one.jpg");
        let mut left = Vec::new();
        while prompt.cursor > 0 {
            prompt.delete_word();
            left.push(prompt.text.clone());
        }
        assert_eq!(left, ["similar:photos/猫 ", "similar:photos/", "similar:", ""]);
        let mut prompt = line("a bc");
        prompt.step_word(false);
        assert_eq!(prompt.cursor, 2);
        prompt.delete_to_end();
        prompt.step_word(false);
        prompt.step_word(true);
        assert_eq!((prompt.text.as_str(), prompt.cursor), ("a ", 1));
        prompt.step_word(true);
        assert_eq!(prompt.cursor, 2);
    }

    #[test]
    fn pasted_lines_become_one_and_nothing_steers_the_terminal() {
        let mut prompt = line("");
        prompt.paste("\n  photos/a\r\n\tb\u{1b}[2J\u{7}\u{202e}.jpg\n\n");
        assert_eq!(prompt.text, "photos/a b[2J.jpg");
    }
}
