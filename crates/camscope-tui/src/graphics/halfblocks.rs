//! Half-blocks: a cell is the character `▀`, its colour the upper pixel and its background the lower one.

use image::{RgbImage, imageops};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

/// The colours of a cell's upper and lower half.
pub(super) type Halves = [Color; 2];

/// The colours of each cell, row by row. The image should have one column and two rows of pixels a cell; of one of another size
/// the nearest pixels are taken. Where the terminal has 256 colours, half of what a pixel's colour is off by goes to its neighbours: so many
/// colours alone would draw edges that are not there.
pub(super) fn encode(image: &RgbImage, cells: (u16, u16), truecolor: bool) -> Vec<Halves> {
    let (columns, rows) = (usize::from(cells.0), usize::from(cells.1));
    let at = |at: usize, count: usize, length: u32| (at as u64 * u64::from(length) / count as u64) as u32;
    let pixel = |column: usize, half: usize| {
        image.get_pixel(at(column, columns, image.width()), at(half, rows * 2, image.height())).0
    };
    let pixels: Vec<[u8; 3]> = (0..rows * 2)
        .flat_map(|half| (0..columns).map(move |column| (column, half)))
        .map(|(x, y)| pixel(x, y))
        .collect();
    let colors: Vec<Color> = if truecolor {
        pixels.iter().map(|pixel| shown(*pixel, true)).collect()
    } else {
        diffused(&pixels, columns).into_iter().map(Color::Indexed).collect()
    };
    let cell = |row, column| [row * 2, row * 2 + 1].map(|half| colors[half * columns + column]);
    (0..rows).flat_map(|row| (0..columns).map(move |column| cell(row, column))).collect()
}

/// The same in few pixels, each of [`FEW`] cells: for a slow line.
pub(super) fn few(image: &RgbImage, cells: (u16, u16), truecolor: bool) -> Vec<Halves> {
    let (columns, rows) = (cells.0.div_ceil(FEW.0), cells.1.div_ceil(FEW.1));
    let small = imageops::thumbnail(image, columns.max(1).into(), rows.max(1).into());
    let color =
        |column: u16, row: u16| shown(small.get_pixel((column / FEW.0).into(), (row / FEW.1).into()).0, truecolor);
    (0..cells.1).flat_map(|row| (0..cells.0).map(move |column| (column, row))).map(|(x, y)| [color(x, y); 2]).collect()
}

/// Columns and rows of cells of a pixel in a picture of few.
const FEW: (u16, u16) = (5, 2);

/// How many bytes a row of cells takes, about: each change of colours, and each character.
pub(super) fn wire_bytes(row: &[Halves]) -> usize {
    let colors = |[upper, lower]: &Halves| match (upper == lower, upper) {
        (true, Color::Rgb(..)) => 24,
        (false, Color::Rgb(..)) => 36,
        _ => 18,
    };
    let changes = row.first().into_iter().chain(row.windows(2).filter(|two| two[0] != two[1]).map(|two| &two[1]));
    changes.map(colors).sum::<usize>() + 3 * row.len()
}

/// The share of a pixel's error that goes to its neighbours, and how it is divided among the next one and those below, as Floyd and Steinberg
/// (1976) do.
const DIFFUSION: f32 = 0.5;
const NEIGHBOURS: [(isize, usize, f32); 4] =
    [(1, 0, 7.0 / 16.0), (-1, 1, 3.0 / 16.0), (0, 1, 5.0 / 16.0), (1, 1, 1.0 / 16.0)];

/// One of the 256 colours for each pixel.
fn diffused(pixels: &[[u8; 3]], columns: usize) -> Vec<u8> {
    let mut left: Vec<[f32; 3]> = pixels.iter().map(|pixel| pixel.map(f32::from)).collect();
    let mut colors = Vec::with_capacity(pixels.len());
    for at in 0..pixels.len() {
        let wanted = left[at];
        let index = nearest_of_256(wanted.map(|value| value.round().clamp(0.0, 255.0) as u8));
        let taken = color_of(index);
        for (across, down, share) in NEIGHBOURS {
            let column = (at % columns).checked_add_signed(across).filter(|column| *column < columns);
            let Some(neighbour) = column.and_then(|column| left.get_mut((at / columns + down) * columns + column))
            else {
                continue;
            };
            for channel in 0..3 {
                neighbour[channel] += (wanted[channel] - f32::from(taken[channel])) * share * DIFFUSION;
            }
        }
        colors.push(index);
    }
    colors
}

/// Red, green and blue of one of the colours from 16 on.
fn color_of(index: u8) -> [u8; 3] {
    match index {
        0..232 => {
            let cube = usize::from(index.saturating_sub(16));
            [cube / 36, cube / 6 % 6, cube % 6].map(|level| LEVELS[level])
        }
        _ => [8 + 10 * (index - 232); 3],
    }
}

/// Red, green and blue as the terminal can show them.
pub(crate) fn shown([r, g, b]: [u8; 3], truecolor: bool) -> Color {
    if truecolor { Color::Rgb(r, g, b) } else { Color::Indexed(nearest_of_256([r, g, b])) }
}

/// Writes the cells that fit into `area`.
pub(super) fn fill(cells: &[Halves], size: (u16, u16), area: Rect, buf: &mut Buffer) {
    for (row, y) in (0..size.1).zip(area.top()..area.bottom()) {
        for (column, x) in (0..size.0).zip(area.left()..area.right()) {
            let [upper, lower] = cells[usize::from(row) * usize::from(size.0) + usize::from(column)];
            buf[(x, y)].set_symbol("▀").set_fg(upper).set_bg(lower);
        }
    }
}

/// The levels of red, green and blue in the colour cube of the 256 colours.
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// The nearest of the 256 colours, of its cube (16 to 231) and its greys (232 to 255); the first 16 are the user's own.
fn nearest_of_256(pixel: [u8; 3]) -> u8 {
    let level = |value: u8| (0..6).min_by_key(|&i| LEVELS[i].abs_diff(value)).unwrap_or(0);
    let [r, g, b] = pixel.map(level);
    let cube = ([LEVELS[r], LEVELS[g], LEVELS[b]], 16 + 36 * r + 6 * g + b);
    let mean = pixel.iter().map(|&value| usize::from(value)).sum::<usize>() / 3;
    let step = (mean.saturating_sub(3) / 10).min(23);
    let grey = ([(8 + 10 * step) as u8; 3], 232 + step);
    let distance =
        |color: [u8; 3]| -> u32 { color.iter().zip(pixel).map(|(&a, b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
    let (_, index) = if distance(grey.0) < distance(cube.0) { grey } else { cube };
    index as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_of_256_colours_is_taken() {
        assert_eq!(nearest_of_256([0, 0, 0]), 16);
        assert_eq!(nearest_of_256([255, 255, 255]), 231);
        assert_eq!(nearest_of_256([255, 0, 0]), 196);
        assert_eq!(nearest_of_256([128, 128, 128]), 244);
        assert_eq!(nearest_of_256([10, 10, 10]), 232);
        assert_eq!(nearest_of_256([94, 136, 170]), 67);
    }

    #[test]
    fn of_256_colours_neighbours_make_up_for_what_one_is_off_by() {
        let grey = [115, 115, 175];
        let image = RgbImage::from_pixel(20, 20, image::Rgb(grey));
        let cells = encode(&image, (20, 10), false);
        let pixels: Vec<[u8; 3]> = cells
            .iter()
            .flatten()
            .map(|color| match color {
                Color::Indexed(index) => color_of(*index),
                other => panic!("{other:?}"),
            })
            .collect();
        let mean = |channel: usize| pixels.iter().map(|pixel| f64::from(pixel[channel])).sum::<f64>() / 400.0;
        let off = f64::from(color_of(nearest_of_256(grey))[0].abs_diff(grey[0]));
        assert!(off >= 15.0 && (mean(0) - 115.0).abs() < 0.6 * off, "{off} {}", mean(0));
        // What is one of the colours stays it.
        let black = encode(&RgbImage::new(4, 4), (4, 2), false);
        assert!(black.iter().flatten().all(|color| *color == Color::Indexed(16)));
        assert!((16..=255).all(|index| nearest_of_256(color_of(index)) == index
            || color_of(nearest_of_256(color_of(index))) == color_of(index)));
    }

    #[test]
    fn an_image_of_another_size_is_sampled() {
        let image = RgbImage::from_fn(4, 8, |x, y| image::Rgb([x as u8, y as u8, 0]));
        let cells = encode(&image, (2, 1), true);
        assert_eq!(cells, [[Color::Rgb(0, 0, 0), Color::Rgb(0, 4, 0)], [Color::Rgb(2, 0, 0), Color::Rgb(2, 4, 0)]]);
    }
}
