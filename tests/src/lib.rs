//! What the end-to-end tests share: the runtime, fixtures, one-operator models.

pub mod composites;
pub mod recording;

use std::path::PathBuf;

use camscope_core::runtime::{Runtime, Search, ensure};

/// ONNX Runtime, fetched if this machine has none.
pub fn runtime() -> &'static Runtime {
    let library = ensure(&Search::of_process(), &mut |_| {}).expect("an ONNX Runtime");
    Runtime::load(&library).expect("ONNX Runtime loads")
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A file of the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// ‖a − b‖ / ‖b‖ over all elements; the plain ‖a‖ where b is zero.
pub fn relative_error<'a>(a: impl IntoIterator<Item = &'a f32>, b: impl IntoIterator<Item = &'a f32>) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (a, b) in a.into_iter().zip(b) {
        difference += f64::from(a - b).powi(2);
        norm += f64::from(*b).powi(2);
    }
    if norm == 0.0 { difference.sqrt() } else { (difference / norm).sqrt() }
}

/// Numbers that look random and are the same in every run: xorshift*.
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next, evenly spread over 0 to 1.
    pub fn draw(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Puts a list in another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, (self.draw() * (i + 1) as f64) as usize);
        }
    }
}
