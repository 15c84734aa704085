//! Saves what is shown: a picture at the photo's own resolution, the heatmap as an array, or all of it as JSON.

use std::{fs, io, path::Path};

use camscope_core::{image::write_png, text::printable_path};
use image::{GenericImage, RgbImage};
use ndarray_npy::WriteNpyExt;

use crate::{
    compose::{Drawing, Scaled, draw},
    engine::Heat,
    message::{NotSaved, Save},
};

/// Pixels between the pictures of a sheet.
const GAP: u32 = 8;
/// The longer side of each picture of a sheet.
const TILE: u32 = 480;

/// Everything that is saved.
pub struct Contents {
    /// The pictures of the view, in their order.
    pub drawings: Vec<Drawing>,
    /// How many stand side by side.
    pub columns: usize,
    /// The heatmap that is shown.
    pub heat: Option<Heat>,
}

/// Saves to the file whose extension says what. Gives the path for the message.
///
/// # Errors
/// The file is there already and may not be overwritten, another extension, nothing to save, or it cannot be written.
pub fn save(save: &Save, contents: &Contents) -> Result<Vec<String>, NotSaved> {
    if !save.overwrite && save.path.exists() {
        return Err(NotSaved::IsThere(save.path.clone()));
    }
    write(save, contents).map_err(NotSaved::Failed)
}

fn write(save: &Save, contents: &Contents) -> Result<Vec<String>, String> {
    let path = &save.path;
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let failed = |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", printable_path(path));
    match extension.as_str() {
        "png" => {
            let sheet = sheet(contents).ok_or("there is no picture to save yet")?;
            whole(path, |file| write_png(&sheet, file))
        }
        "npy" => {
            let heat = contents.heat.as_ref().ok_or("there is no heatmap to save yet")?;
            whole(path, |file| heat.write_npy(file).map_err(io::Error::other))
        }
        "json" => whole(path, |file| {
            use io::Write;
            let text = serde_json::to_string_pretty(&save.description).map_err(io::Error::other)?;
            file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n"))
        }),
        _ => return Err(format!("{}: the name must end in .png, .npy or .json", printable_path(path))),
    }
    .map_err(|error| failed(&error))?;
    Ok(vec![printable_path(path)])
}

/// Writes a file wholly or not at all.
fn whole(path: &Path, write: impl FnOnce(&mut io::Cursor<Vec<u8>>) -> io::Result<()>) -> io::Result<()> {
    let mut bytes = io::Cursor::new(Vec::new());
    write(&mut bytes)?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, bytes.get_ref()).and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
        let _ = fs::remove_file(&part); // it may not even be there
    })
}

/// The view's pictures: one at the part of the photo that it shows, in the photo's own pixels; several as a sheet.
fn sheet(contents: &Contents) -> Option<RgbImage> {
    let mut scaled = Scaled::default();
    let own_size = |drawing: &Drawing| {
        let [_, _, width, height] = drawing.key.window.map(f32::from_bits);
        let (w, h) = drawing.photo.pixels.dimensions();
        (((w as f32 * width).round() as u32).max(1), ((h as f32 * height).round() as u32).max(1))
    };
    match contents.drawings.as_slice() {
        [] => None,
        [one] => Some(draw(one, own_size(one), &mut scaled)),
        many => {
            let columns = contents.columns.max(1) as u32;
            let (width, height) = own_size(&many[0]);
            let scale = f64::from(TILE) / f64::from(width.max(height));
            let tile = ((f64::from(width) * scale) as u32, (f64::from(height) * scale) as u32);
            let tile = (tile.0.max(1), tile.1.max(1));
            let rows = (many.len() as u32).div_ceil(columns);
            let size = |count: u32, side: u32| count * side + (count - 1) * GAP;
            let mut sheet = RgbImage::new(size(columns, tile.0), size(rows, tile.1));
            for (at, drawing) in many.iter().enumerate() {
                let (column, row) = (at as u32 % columns, at as u32 / columns);
                let drawn = draw(drawing, tile, &mut scaled);
                // It fits: the sheet was made for it.
                let _ = sheet.copy_from(&drawn, column * (tile.0 + GAP), row * (tile.1 + GAP));
            }
            Some(sheet)
        }
    }
}
