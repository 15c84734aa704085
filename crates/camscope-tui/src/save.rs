//! Saves what is shown: a picture at the photo's own resolution, the heatmap as an array, or all of it as JSON.

use std::{fs, io, path::Path, sync::Arc};

use camscope_core::{image::write_png, text::printable_path};
use ndarray_npy::WriteNpyExt;

use crate::{
    engine::{Engine, Heat},
    message::{NotSaved, Save},
    prompt::Purpose,
    sheet::Sheet,
};

/// Everything that is saved.
pub struct Contents {
    /// What the view shows, and the model, for what of it is not computed yet.
    pub sheet: Option<(Sheet, Arc<dyn Engine>)>,
    /// The heatmap that is shown.
    pub heat: Option<Heat>,
}

/// Saves to the file whose extension says what. Gives the path for the message.
///
/// # Errors
/// The file is there already and may not be overwritten, another extension, nothing to save, or it cannot be written.
pub fn save(save: &Save, contents: &Contents) -> Result<Vec<String>, NotSaved> {
    if !save.overwrite && save.path.exists() {
        return Err(NotSaved::IsThere(save.path.clone(), Purpose::Save));
    }
    write(save, contents).map_err(NotSaved::Failed)
}

fn write(save: &Save, contents: &Contents) -> Result<Vec<String>, String> {
    let path = &save.path;
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let failed = |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", printable_path(path));
    match extension.as_str() {
        "png" => {
            let (sheet, engine) = contents.sheet.as_ref().ok_or("there is no picture to save yet")?;
            let picture = sheet.draw(&**engine).map_err(|fault| fault.to_string())?;
            whole(path, |file| write_png(&picture, file))
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
