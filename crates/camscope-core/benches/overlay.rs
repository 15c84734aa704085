//! What pictures cost around a run of the model: reading and preparing a photo, drawing an overlay, writing it as PNG.
//!
//! ```sh
//! cargo bench -p camscope-core --bench overlay
//! ```
//!
//! Medians in milliseconds. The photos are a sample, resized.

use std::{hint::black_box, path::Path, time::Instant};

use camscope_core::{
    image::{Photo, Seen, prepare},
    model::Preprocessing,
    overlay,
};
use image::{ImageFormat, RgbImage, imageops};
use ndarray::Array2;

const SIZES: [(u32, u32); 3] = [(640, 480), (1920, 1080), (4000, 3000)];
const ROUNDS: usize = 9;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/cat_and_coffee.jpg");
    let photo = Photo::open(&sample)?.pixels;
    let preprocessing = Preprocessing::imagenet();
    let decode = time(|| Ok(Photo::open(&sample)?))?;
    let prepared = time(|| Ok(prepare(&photo, &preprocessing)?))?;
    let (width, height) = photo.dimensions();
    println!("a JPEG of {width}×{height}: decode {decode:.2} ms, prepare for 224×224 {prepared:.2} ms\n");

    let heatmap = Array2::from_shape_fn((7, 7), |(y, x)| ((y * 7 + x) as f32 / 48.0 * 6.0).sin().abs());
    let colormap = overlay::by_name("jet")?;
    let folder = tempfile::tempdir()?;
    println!("{:>12}  {:>10}  {:>10}", "photo", "render ms", "PNG ms");
    for (width, height) in SIZES {
        let photo: RgbImage = imageops::resize(&photo, width, height, imageops::FilterType::Triangle);
        // As of a square that was cropped out of the middle.
        let side = f64::from(height);
        let seen = Seen { x: (f64::from(width) - side) / 2.0, y: 0.0, width: side, height: side };
        let draw = || overlay::render(&photo, heatmap.view(), &seen, colormap, overlay::DEFAULT_ALPHA);
        let render = time(|| Ok(draw()))?;
        let (drawn, path) = (draw(), folder.path().join("overlay.png"));
        let png = time(|| Ok(drawn.save_with_format(&path, ImageFormat::Png)?))?;
        println!("{:>12}  {render:>10.2}  {png:>10.2}", format!("{width}×{height}"));
    }
    Ok(())
}

/// The median of some runs, after one that isn't counted; to drop their results isn't either.
fn time<T>(mut run: impl FnMut() -> Result<T, Failure>) -> Result<f64, Failure> {
    run()?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let result = black_box(run()?);
        times.push(start.elapsed().as_secs_f64() * 1e3);
        drop(result);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}
