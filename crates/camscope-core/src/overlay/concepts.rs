//! Concepts of a layer over the photo, each in a colour of its own.

use image::{Rgb, RgbImage};
use ndarray::ArrayView3;

use super::{
    blend::DIMMED,
    enlarge::heat_on_photo,
    marks::{draw_text, text_size},
};
use crate::image::Seen;

const GROUND: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [20, 20, 20];

/// So many colours, as far apart as they come: hues in even steps, fully saturated.
pub fn hues(count: usize) -> Vec<[u8; 3]> {
    let of = |at: usize| {
        let hue = 6.0 * at as f32 / count.max(1) as f32;
        // One of the three rises or falls between each sixth of the circle.
        let channel = |shift: f32| {
            let place = (hue + shift).rem_euclid(6.0);
            (255.0 * (2.0 - (place - 3.0).abs()).clamp(0.0, 1.0)).round() as u8
        };
        [channel(3.0), channel(1.0), channel(5.0)]
    };
    (0..count).map(of).collect()
}

/// `alpha` · photo + (1 − `alpha`) · colour within the rectangle `seen`, the photo dimmed outside of it. A pixel has the colour of the concept
/// that is strongest there, as bright as that is. `maps`, `[concepts, h, w]`, are from 0 to 1.
pub fn render_concepts(
    photo: &RgbImage,
    maps: ArrayView3<'_, f32>,
    seen: &Seen,
    colours: &[[u8; 3]],
    alpha: f32,
) -> RgbImage {
    let (width, height) = photo.dimensions();
    let large: Vec<_> = maps.outer_iter().map(|map| heat_on_photo(map, seen, width, height)).collect();
    let inside = |x: u32, y: u32| {
        let within = |at: u32, start: f64, length: f64| {
            let centre = f64::from(at) + 0.5;
            centre >= start && centre < start + length
        };
        within(x, seen.x, seen.width) && within(y, seen.y, seen.height)
    };
    RgbImage::from_fn(width, height, |x, y| {
        let pixel = photo.get_pixel(x, y).0;
        if !inside(x, y) {
            return Rgb(pixel.map(|value| (f32::from(value) * DIMMED + 0.5) as u8));
        }
        let place = [y as usize, x as usize];
        let strongest = large.iter().zip(colours).max_by(|a, b| a.0[place].total_cmp(&b.0[place]));
        let (strength, colour) = strongest.map_or((0.0, [0; 3]), |(map, colour)| (map[place].clamp(0.0, 1.0), *colour));
        Rgb(std::array::from_fn(|at| {
            let blend = alpha * f32::from(pixel[at]) + (1.0 - alpha) * strength * f32::from(colour[at]);
            (blend + 0.5) as u8
        }))
    })
}

/// The picture with lines of text below it, each behind a square of its colour.
pub fn with_legend(picture: &RgbImage, lines: &[([u8; 3], String)]) -> RgbImage {
    let (width, height) = picture.dimensions();
    let scale = (width.max(height) / 480).max(1);
    let line = text_size("", scale)[1] + 4 * scale;
    let mut all = RgbImage::from_pixel(width, height + line * lines.len() as u32, Rgb(GROUND));
    image::imageops::replace(&mut all, picture, 0, 0);
    for (number, (colour, text)) in lines.iter().enumerate() {
        let top = height + number as u32 * line;
        for y in top + 2 * scale..top + line - 2 * scale {
            for x in 2 * scale..(line - 2 * scale).min(width) {
                all.put_pixel(x, y, Rgb(*colour));
            }
        }
        draw_text(&mut all, text, (i64::from(line + 2 * scale), i64::from(top + 2 * scale)), scale, INK);
    }
    all
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn hues_go_around_the_circle() {
        assert_eq!(hues(3), [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
        assert_eq!(hues(6)[1], [255, 255, 0]);
        let all = hues(12);
        assert!((1..all.len()).all(|at| !all[..at].contains(&all[at])));
    }

    #[test]
    fn a_pixel_has_the_colour_of_the_strongest_concept() {
        let photo = RgbImage::from_pixel(4, 2, Rgb([100, 100, 100]));
        let maps = Array3::from_shape_vec((2, 1, 2), vec![1.0, 0.0, 0.0, 0.5]).unwrap();
        let drawn = render_concepts(&photo, maps.view(), &Seen::all(4, 2), &hues(3), 0.5);
        assert_eq!(drawn.get_pixel(0, 0).0, [178, 50, 50]);
        assert_eq!(drawn.get_pixel(3, 1).0, [50, 114, 50]);
        let seen = Seen { x: 0.0, y: 0.0, width: 2.0, height: 2.0 };
        assert_eq!(render_concepts(&photo, maps.view(), &seen, &hues(2), 0.5).get_pixel(3, 0).0, [35, 35, 35]);
        let legend = with_legend(&photo, &[([255, 0, 0], "cat".into()), ([0, 255, 0], "cup".into())]);
        assert_eq!(legend.dimensions(), (4, 2 + 28));
        assert_eq!([legend.get_pixel(3, 8).0, legend.get_pixel(3, 22).0], [[255, 0, 0], [0, 255, 0]]);
    }
}
