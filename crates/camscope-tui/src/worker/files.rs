//! The thread that reads photos, and notices when a file changes.

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use camscope_core::image::Seen;
use image::{RgbImage, imageops};
use ndarray::ArrayD;

use super::{Desk, Send};
use crate::{
    engine::{Engine, Fault, Photo},
    message::Message,
};

/// How often files are looked at: by their time of change, which works on every file system, also over a network.
const LOOK: Duration = Duration::from_millis(700);
/// A file that is still being written would be read half.
const SETTLED: Duration = Duration::from_millis(150);
/// Pixels of a thumbnail's longer side.
const SMALL: u32 = 160;

/// Files to read, with the model that they are read for, and files to watch.
#[derive(Clone)]
pub struct Files {
    /// The model; `None`: it is being opened, and photos are only looked at.
    pub engine: Option<Arc<dyn Engine>>,
    /// What to read, the most wanted first.
    pub read: Vec<PathBuf>,
    /// What to watch, and each file's time of change when it was read.
    pub watch: Vec<(PathBuf, Option<SystemTime>)>,
    /// Folders whose new images are of interest.
    pub folders: Vec<PathBuf>,
    /// The images that are known.
    pub known: HashSet<PathBuf>,
}

/// The thread's handle; dropping it ends the thread.
pub struct Reader(Desk<Files>);

impl Reader {
    /// Starts the thread.
    pub fn start(send: Send) -> Self {
        let desk: Desk<Files> = Desk::default();
        let wishes = desk.clone();
        let _ = std::thread::Builder::new().name("files".into()).spawn(move || work(&wishes, &send)); // without it nothing is read
        Self(desk)
    }

    /// Replaces what is to be read and watched.
    pub fn want(&self, wish: Files) {
        self.0.put(wish);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn work(desk: &Desk<Files>, send: &Send) {
    let mut watched: Vec<(PathBuf, Option<SystemTime>)> = Vec::new();
    let (mut folders, mut known) = (Vec::new(), HashSet::new());
    // Said once for each time of change.
    let mut said: HashMap<PathBuf, Option<SystemTime>> = HashMap::new();
    // What was read last: a wish can be older than its arrival.
    let mut recent: Option<(PathBuf, Option<SystemTime>, *const (), Message)> = None;
    while let Some(wish) = desk.take_within(LOOK) {
        let Some(wish) = wish else {
            look(&watched, &mut said, send);
            look_for_new(&folders, &mut known, send);
            continue;
        };
        watched = wish.watch;
        folders = wish.folders;
        known.extend(wish.known);
        for path in &wish.read {
            if desk.has_news() {
                break;
            }
            let Some(model) = &wish.engine else {
                // What is wrong with a file is said when it is read for the model.
                if let Ok(Some((photo, small))) = catch_unwind(AssertUnwindSafe(|| preview(path))) {
                    send(Message::Preview(path.clone(), photo, small));
                }
                continue;
            };
            let engine = Arc::as_ptr(model).cast::<()>();
            let now = std::fs::metadata(path).and_then(|data| data.modified()).ok();
            let same = recent.as_ref().filter(|known| known.0 == *path && known.1 == now && known.2 == engine);
            let message = same.map(|known| known.3.clone()).unwrap_or_else(|| {
                let read = catch_unwind(AssertUnwindSafe(|| read(&**model, path)));
                let crashed = || Err(Fault::Failed("a defect of camscope: reading the file panicked".into()));
                Message::Photo(path.clone(), read.unwrap_or_else(|_| crashed()))
            });
            recent = Some((path.clone(), now, engine, message.clone()));
            send(message);
        }
    }
}

fn look(watched: &[(PathBuf, Option<SystemTime>)], said: &mut HashMap<PathBuf, Option<SystemTime>>, send: &Send) {
    for (path, known) in watched {
        let now = std::fs::metadata(path).and_then(|data| data.modified()).ok();
        let settled = now.is_some_and(|now| now.elapsed().is_ok_and(|age| age > SETTLED));
        if settled && now != *known && said.get(path) != Some(&now) {
            said.insert(path.clone(), now);
            send(Message::Changed(path.clone()));
        }
    }
}

/// Says which images of the folders are new; those that are still being written come later.
fn look_for_new(folders: &[PathBuf], known: &mut HashSet<PathBuf>, send: &Send) {
    let is_whole = |path: &PathBuf| {
        let modified = std::fs::metadata(path).and_then(|data| data.modified());
        modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > SETTLED))
    };
    let all = folders.iter().filter_map(|folder| images_of(folder).ok()).flatten();
    let new: Vec<PathBuf> = all.filter(|path| !known.contains(path) && is_whole(path)).collect();
    if !new.is_empty() {
        known.extend(new.iter().cloned());
        send(Message::Found(new));
    }
}

fn read(engine: &dyn Engine, path: &Path) -> Result<(Arc<Photo>, Arc<Photo>), Fault> {
    let photo = engine.photo(path)?;
    let small = thumbnail(&photo);
    Ok((Arc::new(photo), Arc::new(small)))
}

/// Numbers of photos that are only looked at.
static PREVIEWS: AtomicU64 = AtomicU64::new(1 << 62);

/// A photo to look at while the model is being opened, without what a network is fed.
fn preview(path: &Path) -> Option<(Arc<Photo>, Arc<Photo>)> {
    let read = camscope_core::image::Photo::open(path).ok()?;
    let seen = Seen::all(read.pixels.width(), read.pixels.height());
    let id = PREVIEWS.fetch_add(1, Ordering::Relaxed);
    let (notes, tensor) = (Vec::new(), ArrayD::zeros(vec![0]));
    let photo = Photo { id, pixels: read.pixels, seen, tensor, notes, modified: None, beside: None };
    let small = thumbnail(&photo);
    Some((Arc::new(photo), Arc::new(small)))
}

/// A small copy, with a number of its own.
fn thumbnail(photo: &Photo) -> Photo {
    let (width, height) = photo.pixels.dimensions();
    let scale = f64::from(SMALL) / f64::from(width.max(height).max(1));
    let size = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let pixels = if scale < 1.0 && width > 0 && height > 0 {
        imageops::thumbnail(&photo.pixels, size(width), size(height))
    } else {
        RgbImage::clone(&photo.pixels)
    };
    let seen = Seen::all(pixels.width(), pixels.height());
    let (notes, tensor) = (Vec::new(), ArrayD::zeros(vec![0]));
    Photo { id: photo.id | 1 << 63, pixels, seen, tensor, notes, modified: photo.modified, beside: None }
}

/// The paths that begin with `typed`, folders with a slash at the end: what completion offers.
pub fn complete(typed: &str, home: Option<&Path>) -> Vec<String> {
    let (folder, start) = typed.rsplit_once('/').map_or(("", typed), |(folder, start)| (folder, start));
    let place = match folder {
        "" if typed.starts_with('/') => PathBuf::from("/"),
        "" => PathBuf::from("."),
        folder => match (folder.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            _ => PathBuf::from(folder),
        },
    };
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let prefix = &typed[..typed.len() - start.len()];
    let mut paths: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let is_hidden = name.starts_with('.') && !start.starts_with('.');
            let is_folder = entry.path().is_dir();
            let fits = name.starts_with(start) && !is_hidden && (is_folder || is_openable(&name));
            fits.then(|| format!("{prefix}{name}{}", if is_folder { "/" } else { "" }))
        })
        .collect();
    paths.sort_unstable();
    paths
}

/// Whether a file of that name can be opened: a model or an image.
pub fn is_openable(name: &str) -> bool {
    is_image(name) || name.to_lowercase().ends_with(".onnx")
}

/// Whether a file of that name is an image.
pub fn is_image(name: &str) -> bool {
    const IMAGES: &[&str] = &["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pnm"];
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
    extension.is_some_and(|extension| IMAGES.contains(&extension.as_str()))
}

/// The images of a folder, by name.
///
/// # Errors
/// It cannot be read.
pub fn images_of(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_image) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_completed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("cats")).unwrap();
        for name in ["cat.jpg", "car.onnx", "car.txt", ".hidden.png", "dog.PNG"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let at = folder.path().to_str().unwrap();
        let found = |typed: &str| {
            let all = complete(&format!("{at}/{typed}"), None);
            all.into_iter().map(|path| path[at.len() + 1..].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("ca"), ["car.onnx", "cat.jpg", "cats/"]);
        assert_eq!(found(""), ["car.onnx", "cat.jpg", "cats/", "dog.PNG"]);
        assert_eq!(found(".h"), [".hidden.png"]);
        let at_home = complete("~/", Some(folder.path()));
        assert!(
            !at_home.is_empty() && at_home.iter().all(|path| path.starts_with("~/") && !path.contains("//")),
            "{at_home:?}"
        );
        assert!(complete("/no/such/folder/x", None).is_empty());
        let images: Vec<_> = images_of(folder.path()).unwrap();
        assert_eq!(images.len(), 3);
    }
}
