//! `--sheet`: what was drawn, on one picture.

use std::path::Path;

use camscope_core::{
    Error, Result,
    explain::Explained,
    method::Chosen,
    overlay::{self, Cell},
};
use image::{RgbImage, codecs::jpeg::JpegEncoder};

use super::deliver::write_overlay;
use crate::{setup::failed, whole::whole};

/// The longer side of a picture on the sheet, in pixels.
pub(crate) const SIDE: u32 = 224;

/// Of a JPEG, from 1 to 100.
const QUALITY: u8 = 75;

/// A picture, and what it is of.
struct Piece {
    photo: usize,
    method: String,
    cell: Cell,
}

/// What was drawn so far.
#[derive(Default)]
pub(crate) struct Sheet {
    photos: Vec<(usize, Cell)>,
    pieces: Vec<Piece>,
}

impl Sheet {
    /// Puts a photo there, once.
    pub(crate) fn photo(&mut self, number: usize, path: &Path, photo: &RgbImage) {
        if self.photos.iter().all(|(known, _)| *known != number) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.photos.push((number, Cell { picture: overlay::shrunk(photo, SIDE), lines: vec![name] }));
        }
    }

    /// Puts an explanation of a photo there.
    pub(super) fn add(
        &mut self,
        photo: usize,
        (method, layer): (&Chosen, String),
        target: &Explained,
        picture: RgbImage,
    ) {
        let what = match (&target.label, &target.class) {
            (Some(label), _) => label.clone(),
            (None, Some(class)) => format!("class {}", class.class),
            (None, None) => target.spec.clone(),
        };
        let lines = vec![method.spec(), layer, format!("{what} {:.2}", target.score)];
        self.add_as(photo, method.spec(), Cell { picture, lines });
    }

    /// Puts a picture of a photo there, by a method of that name.
    pub(crate) fn add_as(&mut self, photo: usize, method: String, cell: Cell) {
        self.pieces.push(Piece { photo, method, cell });
    }

    /// Writes it: as JPEG where the file is called so, else as PNG.
    ///
    /// # Errors
    /// Nothing was drawn, or the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if self.pieces.is_empty() {
            return Err(Error::Value("nothing was drawn, so there is no sheet".into()));
        }
        let picture = self.picture();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if !matches!(&*ending, "jpg" | "jpeg") {
            return write_overlay(&picture, path).map(drop);
        }
        let mut bytes = Vec::new();
        let encoded = picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY));
        encoded
            .map_err(std::io::Error::other)
            .and_then(|()| whole(|| std::fs::write(path, &bytes)))
            .map_err(|source| failed("write", path, source))
    }

    /// All of it.
    pub(crate) fn picture(&self) -> RgbImage {
        overlay::sheet(&self.rows())
    }

    /// A photo after the other, each before its explanations. Where a method has several pictures of a photo, each method has a row.
    fn rows(&self) -> Vec<Vec<Cell>> {
        let mut numbers: Vec<usize> = self.pieces.iter().map(|piece| piece.photo).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut rows = Vec::new();
        for number in numbers {
            let photo = self.photos.iter().find(|(known, _)| *known == number).map(|(_, cell)| cell);
            let pieces: Vec<&Piece> = self.pieces.iter().filter(|piece| piece.photo == number).collect();
            let by_method: Vec<&[&Piece]> = pieces.chunk_by(|one, next| one.method == next.method).collect();
            if by_method.len() > 1 && by_method.iter().any(|of_method| of_method.len() > 1) {
                for (at, of_method) in by_method.into_iter().enumerate() {
                    let first = photo.map(|photo| if at == 0 { photo.clone() } else { empty() });
                    rows.push(first.into_iter().chain(of_method.iter().map(|piece| piece.cell.clone())).collect());
                }
                continue;
            }
            let cells: Vec<Cell> = photo.into_iter().chain(pieces.iter().map(|piece| &piece.cell)).cloned().collect();
            rows.extend(cells.chunks(columns(cells.len())).map(<[Cell]>::to_vec));
        }
        rows
    }
}

fn empty() -> Cell {
    Cell { picture: RgbImage::new(0, 0), lines: Vec::new() }
}

/// A row for a few; of more a sheet that is somewhat wider than high.
fn columns(cells: usize) -> usize {
    if cells <= 6 { cells.max(1) } else { (cells as f64 * 1.3).sqrt().ceil() as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(photo: usize, method: &str) -> Piece {
        let cell = Cell { picture: RgbImage::new(2, 2), lines: vec![format!("{method} of {photo}")] };
        Piece { photo, method: method.to_owned(), cell }
    }

    fn lines(sheet: &Sheet) -> Vec<Vec<String>> {
        let of = |cell: &Cell| cell.lines.first().cloned().unwrap_or_default();
        sheet.rows().iter().map(|row| row.iter().map(of).collect()).collect()
    }

    #[test]
    fn photos_come_in_order_each_before_its_explanations() {
        let mut sheet = Sheet::default();
        sheet.photo(0, Path::new("a/cat.jpg"), &RgbImage::new(2, 2));
        sheet.photo(1, Path::new("b/dog.jpg"), &RgbImage::new(2, 2));
        sheet.photo(0, Path::new("a/cat.jpg"), &RgbImage::new(2, 2));
        sheet.pieces = vec![piece(0, "gradcam"), piece(1, "gradcam"), piece(0, "rise"), piece(1, "rise")];
        assert_eq!(lines(&sheet), [["cat.jpg", "gradcam of 0", "rise of 0"], ["dog.jpg", "gradcam of 1", "rise of 1"]]);
    }

    #[test]
    fn a_method_has_a_row_where_it_has_several_pictures() {
        let mut sheet = Sheet::default();
        sheet.photo(0, Path::new("cat.jpg"), &RgbImage::new(2, 2));
        sheet.pieces = vec![piece(0, "gradcam"), piece(0, "gradcam"), piece(0, "rise")];
        assert_eq!(lines(&sheet), [vec!["cat.jpg", "gradcam of 0", "gradcam of 0"], vec!["", "rise of 0"]]);
        // One method alone flows.
        sheet.pieces.truncate(2);
        assert_eq!(lines(&sheet), [["cat.jpg", "gradcam of 0", "gradcam of 0"]]);
    }

    #[test]
    fn many_pictures_make_a_sheet_a_little_wider_than_high() {
        let mut sheet = Sheet { photos: Vec::new(), pieces: (0..31).map(|at| piece(0, &at.to_string())).collect() };
        assert_eq!(lines(&sheet).iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 7, 7, 3]);
        sheet.pieces.truncate(6);
        assert_eq!(lines(&sheet).len(), 1);
    }
}
