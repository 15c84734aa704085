//! What pictures cost around a run of the model: reading and preparing a photo, drawing an overlay, writing it as PNG.
//!
//! ```sh
//! cargo bench -p camscope-core --bench overlay
//! ```
//!
//! Milliseconds, the least of some runs: whatever else a machine does only adds to them. The photos are a sample, resized.

use std::{fs, hint::black_box, io::Cursor, time::Instant};

use camscope_core::{
    image::{Photo, Seen, prepare, write_png},
    model::{Color, Filter, Layout, Preprocessing},
    overlay,
};
use image::{RgbImage, codecs::jpeg::JpegEncoder, imageops};
use ndarray::Array2;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/cat_and_coffee.jpg");
const SIZES: [(u32, u32); 4] = [(600, 600), (640, 480), (1920, 1080), (4000, 3000)];
const ROUNDS: usize = 15;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let sample = Photo::open(SAMPLE)?.pixels;
    let heatmap = Array2::from_shape_fn((7, 7), |(y, x)| ((y * 7 + x) as f32 / 48.0 * 6.0).sin().abs());
    let colormap = overlay::by_name("jet")?;
    let usual = Preprocessing::imagenet();
    let folder = tempfile::tempdir()?;

    let columns = ["photo", "JPEG", "prepare", "render", "PNG", "PNG, kB", "its file"];
    println!("{}", columns.map(|column| format!("{column:>10}")).join(""));
    for (width, height) in SIZES {
        let photo = resized(&sample, width, height);
        let mut jpeg = Cursor::new(Vec::new());
        photo.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, 90))?;
        let decode = time(|| Ok(Photo::decode(jpeg.get_ref(), SAMPLE)?))?;
        let prepared = time(|| Ok(prepare(&photo, &usual)?))?;
        // As of a square that was cropped out of the middle.
        let side = f64::from(height);
        let seen = Seen { x: (f64::from(width) - side) / 2.0, y: 0.0, width: side, height: side };
        let draw = || overlay::render(&photo, heatmap.view(), &seen, colormap, overlay::DEFAULT_ALPHA);
        let render = time(|| Ok(draw()))?;
        let drawn = draw();
        let mut bytes = Vec::new();
        let png = time(|| {
            bytes.clear();
            Ok(write_png(&drawn, &mut bytes)?)
        })?;
        // A file of its own each time: some file systems take long for one that takes another's place.
        let mut names = (0..).map(|number| folder.path().join(format!("{number}.png")));
        let file = time(|| Ok(fs::write(names.next().unwrap_or_default(), &bytes)?))?;
        let milliseconds = [decode, prepared, render, png].map(|took| format!("{took:>10.2}")).join("");
        println!("{:>10}{milliseconds}{:>10}{file:>10.2}", format!("{width}×{height}"), bytes.len() / 1000);
    }

    println!("\nprepare a photo of 1920×1080");
    let photo = resized(&sample, 1920, 1080);
    let others = [
        ("for 224×224", usual.clone()),
        ("NHWC", Preprocessing { layout: Layout::Nhwc, ..usual.clone() }),
        ("BGR", Preprocessing { color: Color::Bgr, ..usual.clone() }),
        ("grey", Preprocessing { color: Color::Grey, mean: vec![0.449], std: vec![0.226], ..usual.clone() }),
        ("bicubic", Preprocessing { filter: Filter::Bicubic, ..usual.clone() }),
        ("Lanczos", Preprocessing { filter: Filter::Lanczos, ..usual.clone() }),
        ("for 384×384", Preprocessing { size: (384, 384), ..usual.clone() }),
        ("for 1024×1024", Preprocessing { size: (1024, 1024), ..usual }),
    ];
    for (what, preprocessing) in others {
        println!("{what:>20}{:>10.2}", time(|| Ok(prepare(&photo, &preprocessing)?))?);
    }
    Ok(())
}

fn resized(photo: &RgbImage, width: u32, height: u32) -> RgbImage {
    if photo.dimensions() == (width, height) {
        return photo.clone();
    }
    imageops::resize(photo, width, height, imageops::FilterType::Triangle)
}

/// The least time of some runs, after one that isn't counted; to drop their results isn't either.
fn time<T>(mut run: impl FnMut() -> Result<T, Failure>) -> Result<f64, Failure> {
    run()?;
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let result = black_box(run()?);
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
        drop(result);
    }
    Ok(least)
}
