//! The threads that draw: photo, heat and colours to a picture as the terminal takes it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{Desk, Send};
use crate::{
    compose::{Drawing, Scaled, draw},
    graphics::{Picture, Screen, encode, pixels},
    message::Message,
    tiles::TileKey,
};

/// Pictures to draw for a screen, the most wanted first.
#[derive(Clone)]
pub struct Drawings {
    /// The screen that they are for.
    pub screen: Screen,
    /// Another number where the same keys give other pictures than before.
    pub round: u32,
    /// What to draw.
    pub drawings: Vec<Drawing>,
}

/// The thread's handle; dropping it ends the thread.
pub struct Painters(Desk<Drawings>);

impl Painters {
    /// Starts the thread.
    pub fn start(send: Send) -> Self {
        let desk: Desk<Drawings> = Desk::default();
        let wishes = desk.clone();
        let thread = move || {
            let mut hand = Hand::default();
            while let Some(wish) = wishes.take() {
                hand.work(&wishes, &wish, &send);
            }
        };
        let _ = std::thread::Builder::new().name("pictures".into()).spawn(thread); // without it there are no pictures, only text
        Self(desk)
    }

    /// Replaces what is to be drawn.
    pub fn want(&self, wish: Drawings) {
        self.0.put(wish);
    }
}

impl Drop for Painters {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the thread has at hand.
#[derive(Default)]
struct Hand {
    scaled: Scaled,
    /// The pictures made last. A wish can be older than their arrival: it is answered from here.
    recent: Vec<(TileKey, Arc<Picture>)>,
    made_for: Option<(Screen, u32)>,
}

const RECENT: usize = 8;

impl Hand {
    fn work(&mut self, desk: &Desk<Drawings>, wish: &Drawings, send: &Send) {
        if self.made_for.as_ref().is_none_or(|(screen, round)| *screen != wish.screen || *round != wish.round) {
            self.recent.clear();
            self.made_for = Some((wish.screen.clone(), wish.round));
        }
        for drawing in &wish.drawings {
            if desk.has_news() {
                return;
            }
            let known = self.recent.iter().find(|(key, _)| *key == drawing.key).map(|(_, picture)| Arc::clone(picture));
            let picture = known.or_else(|| self.draw(&wish.screen, drawing));
            // A picture that cannot be drawn stays what it was.
            if let Some(picture) = picture {
                send(Message::Picture(drawing.key, picture));
            }
        }
    }

    fn draw(&mut self, screen: &Screen, drawing: &Drawing) -> Option<Arc<Picture>> {
        let scaled = &mut self.scaled;
        let drawn = catch_unwind(AssertUnwindSafe(|| {
            let image = draw(drawing, pixels(screen, drawing.key.cells), scaled);
            encode(screen, &image, drawing.key.cells)
        }));
        let picture = Arc::new(drawn.ok()?);
        self.recent.push((drawing.key, Arc::clone(&picture)));
        if self.recent.len() > RECENT {
            self.recent.remove(0);
        }
        Some(picture)
    }
}
