//! Keeps a slow line to the terminal free for keys.
//!
//! A picture takes seconds on a slow line, and whatever is written behind it waits as long. So pictures go in parts. After each part
//! the terminal is asked for a sign of life; how long the answer takes says how much may be on the way at once. The text of a frame
//! goes between two parts, and a picture that nobody waits for any more is broken off.
//!
//! kitty is sent a picture's file in parts, and shows it when it is whole. Sixel pictures are painted part by part, half-blocks row by row.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::graphics::{Painter, Picture, Placement, Screen};
use crate::terminal::Scene;

mod rows;

/// Asks for the terminal's status, which it gives as `ESC [ 0 n`.
const ASK: &[u8] = b"\x1b[5n";

/// The bytes that may be on the way, unanswered, before anything is known of the line.
const WINDOW: usize = 32 << 10;
/// The fewest, about one sequence of a picture.
const LEAST: usize = 4 << 10;
/// The most: a picture as a whole.
const MOST: usize = 4 << 20;

/// An answer that takes less than this lets twice as much be on the way.
const SHORT: Duration = Duration::from_millis(80);
/// One that takes longer than this halves it.
const LONG: Duration = Duration::from_millis(160);
/// A picture that takes longer comes in few pixels first.
const LONG_FOR_A_PICTURE: Duration = Duration::from_millis(400);
/// A terminal that has never answered by then doesn't know the question.
const PATIENCE: Duration = Duration::from_secs(10);

/// What goes over the line to the terminal, and how fast.
#[derive(Debug)]
pub(crate) struct Pace {
    /// What the frame shows and the terminal lacks, the largest first.
    missing: Vec<Arc<Picture>>,
    /// The frame's largest picture, if it is among these.
    main: Option<u32>,
    sending: Option<Sending>,
    unanswered: VecDeque<Question>,
    window: usize,
    /// Bytes a second, where anything is known.
    speed: Option<f64>,
    has_answered: bool,
    is_deaf: bool,
    /// What the last frame had, for what stands there until the next picture has come.
    stood: Vec<(Rect, Arc<Picture>)>,
    rows: rows::Rows,
}

#[derive(Debug)]
struct Question {
    asked: Instant,
    /// The bytes that were written since the question before.
    bytes: usize,
    /// The bytes that were on the way when it was asked, these among them.
    before: usize,
}

/// A picture on its way.
#[derive(Debug)]
struct Sending {
    picture: Arc<Picture>,
    sequences: VecDeque<Vec<u8>>,
    total: usize,
}

impl Pace {
    /// The pace for a terminal at the other end of a line; `None` where nothing is gained by one.
    pub(crate) fn of(screen: &Screen) -> Option<Self> {
        screen.is_paced().then(|| Self {
            missing: Vec::new(),
            main: None,
            sending: None,
            unanswered: VecDeque::new(),
            window: WINDOW,
            speed: None,
            has_answered: false,
            is_deaf: false,
            stood: Vec::new(),
            rows: rows::Rows::default(),
        })
    }

    /// Replaces pictures that the terminal lacks by what stands in their place, and notes that they are to be sent.
    pub(crate) fn choose(&mut self, painter: &Painter, pictures: &mut Vec<(Rect, Arc<Picture>)>) {
        self.missing.clear();
        let largest = pictures.iter().map(|(area, _)| area.area()).max();
        let (held, mut lacked): (Vec<_>, Vec<_>) = std::mem::take(pictures)
            .into_iter()
            .partition(|(area, picture)| !painter.lacks(&Placement { area: *area, picture }));
        lacked.sort_by_key(|(area, _)| std::cmp::Reverse(area.area()));
        let is_main = |(area, _): &&(Rect, Arc<Picture>)| Some(area.area()) == largest;
        self.main = lacked.first().filter(is_main).map(|(_, picture)| picture.id());
        *pictures = held;
        for (area, picture) in lacked {
            let is_held = |picture: &Arc<Picture>| !painter.lacks(&Placement { area, picture });
            let preview = picture.preview().filter(|_| self.is_long(picture.bytes()));
            let old = self.stood.iter().find(|(place, old)| *place == area && is_held(old)).map(|(_, old)| old);
            let stands = picture.preview().filter(|preview| is_held(preview)).or(old);
            pictures.extend(stands.map(|picture| (area, Arc::clone(picture))));
            self.missing.extend(preview.filter(|preview| !is_held(preview)).cloned());
            self.missing.push(picture);
        }
        self.stood.clone_from(pictures);
    }

    /// Whether so many bytes take longer than anybody waits for without a sign; unknown is long.
    fn is_long(&self, bytes: usize) -> bool {
        bytes > self.at_once()
    }

    /// The most bytes that nobody has to wait long for.
    pub(crate) fn at_once(&self) -> usize {
        self.speed.map_or(0, |speed| (speed * LONG_FOR_A_PICTURE.as_secs_f64()) as usize)
    }

    /// Breaks the picture on its way off where it is not wanted any more, or where `is_needed`: other commands must not come between.
    pub(crate) fn break_off(&mut self, painter: &mut Painter, out: &mut Vec<u8>, is_needed: bool) {
        let is_wanted = |sending: &Sending| self.missing.iter().any(|picture| picture.id() == sending.picture.id());
        if self.sending.as_ref().is_some_and(|sending| is_needed || !is_wanted(sending)) {
            self.sending = None;
            painter.break_off(out);
        }
    }

    /// Writes as much as may be on the way. Says whether a picture has become whole, so that it can be shown.
    pub(crate) fn go_on(&mut self, painter: &mut Painter, out: &mut Vec<u8>, now: Instant) -> bool {
        loop {
            if self.room(now) == 0 {
                return false;
            }
            let on_the_way: usize = self.unanswered.iter().map(|question| question.bytes).sum();
            if self.sending.is_none() {
                let Some(picture) = self.missing.first().cloned() else { return false };
                let sequences: VecDeque<Vec<u8>> = painter.begin(&picture).into();
                self.sending = Some(Sending { picture, total: sequences.len(), sequences });
            }
            let Some(sending) = &mut self.sending else { return false };
            let before = out.len();
            while let Some(sequence) = sending.sequences.pop_front() {
                out.extend(sequence);
                if out.len() - before >= self.window / 2 && !self.is_deaf {
                    break;
                }
            }
            if !self.is_deaf {
                out.extend_from_slice(ASK);
                let bytes = out.len() - before;
                self.unanswered.push_back(Question { asked: now, bytes, before: on_the_way + bytes });
            }
            if sending.sequences.is_empty() {
                painter.finish(&sending.picture);
                self.missing.retain(|picture| picture.id() != sending.picture.id());
                self.sending = None;
                return true;
            }
        }
    }

    /// How many bytes may be written now.
    pub(crate) fn room(&mut self, now: Instant) -> usize {
        let is_late = self.unanswered.front().is_some_and(|question| now.duration_since(question.asked) > PATIENCE);
        self.is_deaf |= is_late && !self.has_answered;
        let on_the_way: usize = self.unanswered.iter().map(|question| question.bytes).sum();
        if self.is_deaf { usize::MAX } else { self.window.saturating_sub(on_the_way) }
    }

    /// So many bytes were written beside what [`Pace::go_on`] writes: asks for a sign of life behind them.
    pub(crate) fn wrote(&mut self, bytes: usize, out: &mut Vec<u8>, now: Instant) {
        if bytes == 0 || self.is_deaf {
            return;
        }
        out.extend_from_slice(ASK);
        let before: usize = self.unanswered.iter().map(|question| question.bytes).sum();
        self.unanswered.push_back(Question { asked: now, bytes, before: before + bytes });
    }

    /// Takes rows of half-blocks that would hold the frame up out of it, for the next frames. Says whether any have come.
    pub(crate) fn hold_back(&mut self, frame: &mut Buffer, scene: &Scene, now: Instant) -> bool {
        let (room, at_once) = (self.room(now), self.at_once());
        self.rows.hold_back(frame, scene, room, at_once)
    }

    /// Whether rows are to come that may be written now.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        self.rows.is_waiting() && self.room(now) > 0
    }

    /// The terminal has answered.
    pub(crate) fn answered(&mut self, now: Instant) {
        let Some(Question { asked, before, .. }) = self.unanswered.pop_front() else { return };
        self.has_answered = true;
        let took = now.duration_since(asked);
        let speed = before as f64 / took.as_secs_f64().max(1e-3);
        self.speed = Some(self.speed.map_or(speed, |known| 0.5 * (known + speed)));
        if took < SHORT {
            self.window = (self.window * 2).min(MOST);
        } else if took > LONG {
            self.window = (self.window / 2).max(LEAST);
        }
    }

    /// How long to wait before [`Pace::go_on`] may have something to do without an answer.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (!self.unanswered.is_empty() && !self.has_answered && !self.is_deaf).then_some(PATIENCE)
    }

    /// How much of the frame's main picture has gone, in percent; `None` where it is there.
    pub(crate) fn percent(&self) -> Option<u8> {
        if let Some(percent) = self.rows.percent() {
            return Some(percent);
        }
        let main = self.main.filter(|main| self.missing.iter().any(|picture| picture.id() == *main))?;
        let gone = self
            .sending
            .as_ref()
            .filter(|sending| sending.picture.id() == main)
            .map_or(0, |sending| 100 * (sending.total - sending.sequences.len()) / sending.total.max(1));
        Some(gone as u8)
    }

    /// Forgets what was on the way and what stood on the screen: the terminal was cleared.
    pub(crate) fn forget(&mut self, painter: &mut Painter, out: &mut Vec<u8>) {
        self.missing.clear();
        self.break_off(painter, out, true);
        self.stood.clear();
        self.rows = rows::Rows::default();
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
