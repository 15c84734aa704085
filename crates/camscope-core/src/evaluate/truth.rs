//! Where things are in pictures: boxes from a file, or masks.

use std::{collections::HashMap, path::Path};

use ndarray::{Array2, ArrayView2};
use serde::Deserialize;

use crate::{
    error::{Error, Result},
    image::{Photo, Viewport},
    text::printable_path,
};

/// A thing in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Thing {
    /// Where the file has it: the line, or which of the annotations.
    pub at: String,
    /// The picture's file, with as many of its folders as are needed.
    pub image: String,
    /// What it is; empty: whatever is explained.
    pub label: String,
    /// Left, top, right, bottom in the photo's pixels.
    pub corners: [f64; 4],
}

/// The boxes of a file.
#[derive(Clone, Debug)]
pub struct Boxes {
    path: String,
    things: Vec<Thing>,
}

/// How far a box may reach beyond its picture, in pixels: some tools round up.
const BEYOND: f64 = 1.0;

impl Boxes {
    /// Reads COCO's JSON (`images`, `annotations` with `bbox`, `categories`), or CSV with the header `image,label,x0,y0,x1,y1`.
    ///
    /// # Errors
    /// The file can't be read, or is neither; the message says in which line.
    pub fn read(path: &Path) -> Result<Self> {
        let name = printable_path(path);
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NoSuchFile { what: "boxes file", path: name.clone() },
            std::io::ErrorKind::IsADirectory => Error::IsFolder { what: "boxes file", path: name.clone() },
            _ => Error::Io { action: "read", path: name.clone(), source },
        })?;
        let things = if text.trim_start().starts_with('{') { coco(&name, &text) } else { csv(&name, &text) }?;
        if things.is_empty() {
            return Err(bad(&name, "", "there are no boxes in it".into()));
        }
        Ok(Self { path: name, things })
    }

    /// Every box.
    pub fn all(&self) -> &[Thing] {
        &self.things
    }

    /// Those of a picture.
    pub fn of(&self, picture: &Path) -> Vec<&Thing> {
        self.things.iter().filter(|thing| picture.ends_with(&thing.image)).collect()
    }

    /// The error of one of the boxes.
    pub fn fault(&self, thing: &Thing, reason: String) -> Error {
        bad(&self.path, &thing.at, reason)
    }

    /// Checks that the boxes of a picture lie within it.
    ///
    /// # Errors
    /// One doesn't.
    pub fn check(&self, picture: &Path, (width, height): (u32, u32)) -> Result<()> {
        for thing in self.of(picture) {
            let [left, top, right, bottom] = thing.corners;
            let (right_edge, lower_edge) = (f64::from(width) + BEYOND, f64::from(height) + BEYOND);
            if left < -BEYOND || top < -BEYOND || right > right_edge || bottom > lower_edge {
                let own = format!("{left},{top},{right},{bottom}");
                let reason =
                    format!("the box {own} lies outside of {}, {width} × {height} pixels", printable_path(picture));
                return Err(self.fault(thing, reason));
            }
        }
        Ok(())
    }
}

fn bad(path: &str, at: &str, reason: String) -> Error {
    Error::Truth { path: path.to_owned(), at: at.to_owned(), reason }
}

fn corners(path: &str, at: &str, corners: [f64; 4]) -> Result<[f64; 4]> {
    let [left, top, right, bottom] = corners;
    match corners.iter().all(|side| side.is_finite()) && left < right && top < bottom {
        true => Ok(corners),
        false => Err(bad(path, at, format!("{left},{top},{right},{bottom} is no box: x0 < x1 and y0 < y1 are wanted"))),
    }
}

const COLUMNS: [&str; 6] = ["image", "label", "x0", "y0", "x1", "y1"];

fn csv(path: &str, text: &str) -> Result<Vec<Thing>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let line = |position: Option<&csv::Position>| position.map_or_else(String::new, |at| format!("line {}", at.line()));
    let header = reader.headers().map_err(|error| bad(path, "line 1", error.to_string()))?;
    if !header.iter().map(str::to_lowercase).eq(COLUMNS) {
        return Err(bad(path, "line 1", format!("the header is not {}", COLUMNS.join(","))));
    }
    let mut things = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let count = match error.kind() {
                csv::ErrorKind::UnequalLengths { len, .. } => format!("it has {len} columns, not {}", COLUMNS.len()),
                _ => error.to_string(),
            };
            bad(path, &line(error.position()), count)
        })?;
        let at = line(record.position());
        let mut sides = [0.0; 4];
        for (side, text) in sides.iter_mut().zip(record.iter().skip(2)) {
            *side = text.parse().map_err(|_| bad(path, &at, format!("`{text}` is not a number")))?;
        }
        let text = |column: usize| record.get(column).unwrap_or_default().to_owned();
        if text(0).is_empty() {
            return Err(bad(path, &at, "it names no image".into()));
        }
        things.push(Thing { image: text(0), label: text(1), corners: corners(path, &at, sides)?, at });
    }
    Ok(things)
}

/// What is read of COCO's format.
#[derive(Deserialize)]
struct Coco {
    images: Vec<CocoImage>,
    annotations: Vec<CocoBox>,
    #[serde(default)]
    categories: Vec<CocoCategory>,
}

#[derive(Deserialize)]
struct CocoImage {
    id: i64,
    file_name: String,
}

#[derive(Deserialize)]
struct CocoBox {
    image_id: i64,
    category_id: Option<i64>,
    bbox: [f64; 4],
}

#[derive(Deserialize)]
struct CocoCategory {
    id: i64,
    name: String,
}

fn coco(path: &str, text: &str) -> Result<Vec<Thing>> {
    let coco: Coco =
        serde_json::from_str(text).map_err(|error| bad(path, &format!("line {}", error.line()), error.to_string()))?;
    let images: HashMap<i64, String> = coco.images.into_iter().map(|image| (image.id, image.file_name)).collect();
    let names: HashMap<i64, String> =
        coco.categories.into_iter().map(|category| (category.id, category.name)).collect();
    let thing = |(at, found): (usize, CocoBox)| {
        let at = format!("annotation {}", at + 1);
        let image = images.get(&found.image_id);
        let image = image.ok_or_else(|| bad(path, &at, format!("there is no image of id {}", found.image_id)))?;
        let label = found.category_id.map(|id| {
            names.get(&id).cloned().ok_or_else(|| bad(path, &at, format!("there is no category of id {id}")))
        });
        let [left, top, width, height] = found.bbox;
        let corners = corners(path, &at, [left, top, left + width, top + height])?;
        Ok(Thing { image: image.clone(), label: label.transpose()?.unwrap_or_default(), corners, at })
    };
    coco.annotations.into_iter().enumerate().map(thing).collect()
}

/// Reads a mask of a photo of that width and height: what isn't black is the thing.
///
/// # Errors
/// It can't be read, or has another size.
pub fn read_mask(path: &Path, (width, height): (u32, u32)) -> Result<Array2<bool>> {
    let mask = Photo::open(path)?.pixels;
    if mask.dimensions() != (width, height) {
        let reason =
            format!("the mask has {} × {} pixels, and its picture {width} × {height}", mask.width(), mask.height());
        return Err(bad(&printable_path(path), "", reason));
    }
    Ok(Array2::from_shape_fn((height as usize, width as usize), |(y, x)| {
        mask.get_pixel(x as u32, y as u32).0.iter().any(|level| *level > 0)
    }))
}

/// The pixels of the network's input whose centres lie in one of some boxes of the photo; `None` where there are none.
pub fn within_boxes(viewport: &Viewport, size: [usize; 2], boxes: &[[f64; 4]]) -> Option<Array2<bool>> {
    region(viewport, size, |[x, y]| {
        boxes.iter().any(|[left, top, right, bottom]| *left <= x && x < *right && *top <= y && y < *bottom)
    })
}

/// The pixels of the network's input whose centres lie in a mask of the photo; `None` where there are none.
pub fn within_mask(viewport: &Viewport, size: [usize; 2], mask: ArrayView2<'_, bool>) -> Option<Array2<bool>> {
    region(viewport, size, |[x, y]| {
        x >= 0.0 && y >= 0.0 && mask.get([y as usize, x as usize]).copied().unwrap_or(false)
    })
}

fn region(
    viewport: &Viewport,
    [height, width]: [usize; 2],
    is_within: impl Fn([f64; 2]) -> bool,
) -> Option<Array2<bool>> {
    let region =
        Array2::from_shape_fn((height, width), |(y, x)| is_within(viewport.to_photo([x as f64 + 0.5, y as f64 + 0.5])));
    region.iter().any(|within| *within).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Seen;

    fn read(text: &str) -> Result<Vec<Thing>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boxes");
        std::fs::write(&path, text).unwrap();
        Boxes::read(&path).map(|boxes| boxes.things)
    }

    #[test]
    fn both_formats_say_the_same() {
        let csv = read("image,label,x0,y0,x1,y1\na.jpg,\"tabby, tabby cat\",1,2,11,22\nb/a.jpg,,0,0,1.5,1\n").unwrap();
        let coco = read(
            r#"{"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b/a.jpg"}],
                "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]}, {"image_id": 8, "bbox": [0, 0, 1.5, 1]}],
                "categories": [{"id": 3, "name": "tabby, tabby cat"}]}"#,
        )
        .unwrap();
        let told = |things: &[Thing]| {
            things.iter().map(|thing| Thing { at: String::new(), ..thing.clone() }).collect::<Vec<_>>()
        };
        assert_eq!(told(&csv), told(&coco));
        assert_eq!((csv[1].at.as_str(), coco[1].at.as_str()), ("line 3", "annotation 2"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, at, reason) in [
            ("", "line 1", "header"),
            ("picture,label,x0,y0,x1,y1\n", "line 1", "header"),
            ("image,label,x0,y0,x1,y1\na.jpg,cat,0,0,1,1\na.jpg,cat,0,0,one,1\n", "line 3", "`one` is not a number"),
            ("image,label,x0,y0,x1,y1\na.jpg,cat,5,0,1,1\n", "line 2", "no box"),
            ("image,label,x0,y0,x1,y1\na.jpg,cat,5,0,1\n", "line 2", "5 columns"),
            ("image,label,x0,y0,x1,y1\n,cat,0,0,1,1\n", "line 2", "no image"),
            ("image,label,x0,y0,x1,y1\n", "", "no boxes"),
            ("{\n\"images\": 3}", "line 2", "sequence"),
            ("{\"images\": [], \"annotations\": [{\"image_id\": 1, \"bbox\": [0,0,1,1]}]}", "annotation 1", "id 1"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(at) && error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn boxes_have_to_lie_within_their_pictures() {
        let thing = |right: f64| Thing {
            at: "line 2".into(),
            image: "a.jpg".into(),
            label: String::new(),
            corners: [0.0, 0.0, right, 5.0],
        };
        let check =
            |right| Boxes { path: "boxes".into(), things: vec![thing(right)] }.check(Path::new("in/a.jpg"), (10, 10));
        assert!(check(10.6).is_ok());
        let error = check(12.0).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("10 × 10"), "{error}");
    }

    #[test]
    fn what_the_network_does_not_see_is_no_region() {
        let viewport = Viewport::onto(Seen { x: 10.0, y: 0.0, width: 20.0, height: 20.0 }, [4, 4]);
        let region = within_boxes(&viewport, [4, 4], &[[0.0, 0.0, 20.0, 10.0]]).unwrap();
        assert_eq!(region.iter().filter(|within| **within).count(), 4);
        assert_eq!(within_boxes(&viewport, [4, 4], &[[0.0, 0.0, 10.0, 10.0]]), None);
        let mask = Array2::from_shape_fn((20, 40), |(y, x)| y < 10 && x < 20);
        assert_eq!(within_mask(&viewport, [4, 4], mask.view()), Some(region));
    }
}
