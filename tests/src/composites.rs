//! Pictures whose truth is known, since they are drawn: the sample photos' cat beside their cup of coffee.

use std::path::Path;

use image::{Rgb, RgbImage, imageops};

use crate::root;

/// A drawn picture, and the one thing in it that is asked for.
pub struct Composite {
    /// Its file's name, without an extension.
    pub name: String,
    /// 600 × 600 pixels.
    pub picture: RgbImage,
    /// The label of the thing.
    pub label: &'static str,
    /// Its number among ImageNet's classes.
    pub class: usize,
    /// Left, top, right, bottom.
    pub corners: [u32; 4],
}

const SIDE: u32 = 600;

/// Twenty-four pictures: the cat on the left or on the right, in four sizes, the cup on the other side in three. In every other one the cat is
/// asked for, else the cup.
pub fn composites() -> Vec<Composite> {
    let photo = |name: &str| image::open(root().join("samples").join(name)).expect("a sample photo").to_rgb8();
    // The parts that `samples/make_samples.py` takes.
    let cat = imageops::crop_imm(&photo("chelsea.jpg"), 130, 0, 150, 300).to_image();
    let cup = imageops::crop_imm(&photo("coffee.jpg"), 200, 0, 200, 400).to_image();
    let mut all = Vec::new();
    for cat_is_left in [true, false] {
        for (at, cat_size) in [0.55, 0.7, 0.85, 1.0].into_iter().enumerate() {
            for (beside, cup_size) in [0.6, 0.8, 1.0].into_iter().enumerate() {
                let mut picture = RgbImage::from_pixel(SIDE, SIDE, Rgb([128; 3]));
                // Higher and lower, so that not all lie in the middle.
                let sunk = [0.5, 0.2, 0.8][(at + beside) % 3];
                let of_cat = put(&mut picture, &cat, cat_size, cat_is_left, sunk);
                let of_cup = put(&mut picture, &cup, cup_size, !cat_is_left, 1.0 - sunk);
                let asks_for_cat = (at + beside + usize::from(cat_is_left)).is_multiple_of(2);
                let (label, class, corners) =
                    if asks_for_cat { ("Egyptian cat", 285, of_cat) } else { ("espresso", 967, of_cup) };
                let side = if cat_is_left { "left" } else { "right" };
                let name = format!("cat_{side}_{:.0}_cup_{:.0}", 100.0 * cat_size, 100.0 * cup_size);
                all.push(Composite { name, picture, label, class, corners });
            }
        }
    }
    all
}

/// Puts a thing, `size` times as large as half of the picture, into its left or right half; `sunk` is 0 at the top and 1 at the bottom.
fn put(picture: &mut RgbImage, thing: &RgbImage, size: f64, is_left: bool, sunk: f64) -> [u32; 4] {
    let [width, height] = [300.0, 600.0].map(|side| (side * size) as u32);
    let thing = imageops::resize(thing, width, height, imageops::FilterType::CatmullRom);
    let left = if is_left { 0 } else { SIDE / 2 } + (SIDE / 2 - width) / 2;
    let top = (f64::from(SIDE - height) * sunk) as u32;
    imageops::replace(picture, &thing, left.into(), top.into());
    [left, top, left + width, top + height]
}

/// Writes them as PNG into a folder, with `boxes.csv`.
pub fn write(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut boxes = "image,label,x0,y0,x1,y1\n".to_owned();
    for Composite { name, picture, label, corners: [left, top, right, bottom], .. } in composites() {
        picture.save(folder.join(format!("{name}.png"))).map_err(std::io::Error::other)?;
        boxes += &format!("{name}.png,{label},{left},{top},{right},{bottom}\n");
    }
    std::fs::write(folder.join("boxes.csv"), boxes)
}
