//! Several pictures on one, each with a caption.

use image::{
    Rgb, RgbImage,
    imageops::{self, FilterType},
};

use super::marks::{draw_text, text_size};

/// One picture of a sheet.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The picture, drawn as it is.
    pub picture: RgbImage,
    /// What stands below it, a line each; of a long one the middle is left out.
    pub lines: Vec<String>,
}

/// Pixels between pictures, and around all of them.
const GAP: u32 = 8;

const GROUND: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [20, 20, 20];

/// The picture no larger than `side` × `side` pixels, its proportions kept; a smaller one is left as it is.
pub fn shrunk(picture: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let longer = width.max(height);
    if longer <= side || longer == 0 {
        return picture.clone();
    }
    let of = |length: u32| (u64::from(length) * u64::from(side)).div_ceil(u64::from(longer)).max(1) as u32;
    imageops::resize(picture, of(width), of(height), FilterType::Triangle)
}

/// Rows of pictures on a white ground, each in a place of one size with its caption below. Without a picture it is empty.
pub fn sheet(rows: &[Vec<Cell>]) -> RgbImage {
    let cells = || rows.iter().flatten();
    let most = |of: &dyn Fn(&Cell) -> u32| cells().map(of).max().unwrap_or(0);
    let (width, height) = (most(&|cell| cell.picture.width()), most(&|cell| cell.picture.height()));
    let lines = most(&|cell| cell.lines.len() as u32);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let line = text_size("", 1)[1] + 2;
    let place = [width + GAP, height + 2 + lines * line + GAP];
    if width == 0 || height == 0 {
        return RgbImage::new(0, 0);
    }
    let size = [GAP + columns * place[0], GAP + rows.len() as u32 * place[1]];
    let mut all = RgbImage::from_pixel(size[0], size[1], Rgb(GROUND));
    for (row, cells) in rows.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let (left, top) = (GAP + column as u32 * place[0], GAP + row as u32 * place[1]);
            // In the middle of its place, at the lower end of it: captions are on one line.
            let x = left + (width - cell.picture.width()) / 2;
            let y = top + height - cell.picture.height();
            imageops::replace(&mut all, &cell.picture, x.into(), y.into());
            for (number, text) in cell.lines.iter().enumerate() {
                let at = (i64::from(left), i64::from(top + height + 2 + number as u32 * line));
                draw_text(&mut all, &fitted(text, (width / text_size("x", 1)[0]) as usize), at, 1, INK);
            }
        }
    }
    all
}

/// The text in so many letters, dots in place of its middle where it is longer.
fn fitted(text: &str, letters: usize) -> String {
    let all: Vec<char> = text.chars().collect();
    if all.len() <= letters {
        return text.to_owned();
    }
    let kept = letters.saturating_sub(2);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let dots = ['.'; 2].into_iter().take(letters);
    all[..head].iter().copied().chain(dots).chain(all[all.len() - tail..].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(width: u32, height: u32, red: u8, line: &str) -> Cell {
        Cell { picture: RgbImage::from_pixel(width, height, Rgb([red, 0, 0])), lines: vec![line.to_owned()] }
    }

    #[test]
    fn every_picture_and_caption_is_there() {
        let rows = [vec![cell(60, 40, 200, "one"), cell(30, 40, 201, "two")], vec![cell(60, 20, 202, "three")]];
        let all = sheet(&rows);
        assert_eq!(all.dimensions(), (8 + 2 * 68, 8 + 2 * (40 + 2 + 12 + 8)));
        for (red, pixels) in [(200, 60 * 40), (201, 30 * 40), (202, 60 * 20)] {
            assert_eq!(all.pixels().filter(|pixel| pixel.0 == [red, 0, 0]).count(), pixels);
        }
        let ink = |[left, top]: [u32; 2]| {
            let caption = imageops::crop_imm(&all, left, top, 60, 12);
            caption.to_image().pixels().filter(|pixel| pixel.0 == INK).count()
        };
        assert!(ink([8, 50]) > 10 && ink([76, 50]) > 10 && ink([8, 112]) > 10);
        assert_eq!(ink([76, 112]), 0);
        assert_eq!(sheet(&[]).dimensions(), (0, 0));
    }

    #[test]
    fn long_captions_keep_both_ends_and_stay_in_their_place() {
        assert_eq!(fitted("gradcam", 7), "gradcam");
        assert_eq!(fitted("/layer4/layer4.1/relu_1/Relu_output_0", 12), "/laye..put_0");
        assert_eq!([fitted("abcdef", 2), fitted("abcdef", 1), fitted("abcdef", 0)], ["..", ".", ""]);
        let wide = sheet(&[vec![cell(30, 5, 1, &"m".repeat(100)), cell(30, 5, 2, "")]]);
        // Between the two places nothing is written.
        assert!((8 + 30..16 + 30).all(|x| (0..wide.height()).all(|y| wide.get_pixel(x, y).0 == GROUND)));
    }

    #[test]
    fn pictures_shrink_and_never_grow() {
        assert_eq!(shrunk(&RgbImage::new(600, 300), 200).dimensions(), (200, 100));
        assert_eq!(shrunk(&RgbImage::new(3, 3000), 200).dimensions(), (1, 200));
        assert_eq!(shrunk(&RgbImage::new(20, 30), 200).dimensions(), (20, 30));
    }
}
