//! Half-blocks: a cell is the character `▀`, its colour the upper pixel and its background the lower one.

use image::RgbImage;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

/// The colours of a cell's upper and lower half.
pub(super) type Halves = [Color; 2];

/// The colours of each cell, row by row. The image should have one column and two rows of pixels a cell; of one of another size
/// the nearest pixels are taken.
pub(super) fn encode(image: &RgbImage, cells: (u16, u16), truecolor: bool) -> Vec<Halves> {
    let (columns, rows) = (u32::from(cells.0), u32::from(cells.1));
    let color = |column: u32, half: u32| {
        shown(image.get_pixel(column * image.width() / columns, half * image.height() / (rows * 2)).0, truecolor)
    };
    let cell = |row, column| [color(column, row * 2), color(column, row * 2 + 1)];
    (0..rows).flat_map(|row| (0..columns).map(move |column| cell(row, column))).collect()
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
    fn an_image_of_another_size_is_sampled() {
        let image = RgbImage::from_fn(4, 8, |x, y| image::Rgb([x as u8, y as u8, 0]));
        let cells = encode(&image, (2, 1), true);
        assert_eq!(cells, [[Color::Rgb(0, 0, 0), Color::Rgb(0, 4, 0)], [Color::Rgb(2, 0, 0), Color::Rgb(2, 4, 0)]]);
    }
}
