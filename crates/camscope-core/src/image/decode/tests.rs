//! Photos of every kind against what Pillow made of them, and files that are none.

use std::path::PathBuf;

use ndarray::Array3;
use serde_json::Value;

use super::*;

/// JPEG and lossy WebP decoders differ: in the inverse transform by a level or two, in smoothing colour by more.
const LOSSY: u8 = 6;

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/images"))
}

fn write(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn every_kind_is_decoded_as_pillow_does() {
    let index: Value = serde_json::from_slice(&std::fs::read(fixtures().join("index.json")).unwrap()).unwrap();
    let decoded = index["decoded"].as_array().unwrap();
    assert!(!decoded.is_empty());
    for entry in decoded {
        let source = entry["source"].as_str().unwrap();
        let photo = Photo::open(fixtures().join(source)).unwrap();
        let expected: Array3<u8> = ndarray_npy::read_npy(fixtures().join(entry["file"].as_str().unwrap())).unwrap();
        let (height, width, _) = expected.dim();
        assert_eq!((photo.pixels.width() as usize, photo.pixels.height() as usize), (width, height), "{source}");
        let worst = photo.pixels.as_raw().iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        let allowed = if entry["lossy"].as_bool().unwrap() { LOSSY } else { 0 };
        assert!(worst.unwrap() <= allowed, "{source} differs by {worst:?}");
        assert_eq!(photo.name, source);
    }
}

#[test]
fn the_name_does_not_decide_what_a_file_is() {
    let (_folder, path) = write("photo.png", &std::fs::read(fixtures().join("rgb.jpg")).unwrap());
    assert_eq!(Photo::open(path).unwrap().pixels.dimensions(), (61, 47));
}

#[test]
fn files_cut_anywhere_are_errors() {
    for name in
        ["rgb.jpg", "progressive.jpg", "rgb.png", "rgb.bmp", "palette.gif", "lossless.webp", "lossy.webp", "rgb.tiff"]
    {
        let whole = std::fs::read(fixtures().join(name)).unwrap();
        for part in [0.02, 0.1, 0.5, 0.9, 0.99] {
            let cut = &whole[..(whole.len() as f64 * part) as usize];
            match Photo::decode(cut, name) {
                Err(Error::ImageTruncated { .. } | Error::ImageCorrupt { .. } | Error::NotAnImage { .. }) => {}
                // What comes after the image (TIFF's directory may lie before it) can be missed.
                Ok(_) if name != "rgb.jpg" && part == 0.99 => {}
                other => panic!("{name} cut at {part}: {:?}", other.map(|p| p.pixels.dimensions())),
            }
        }
    }
    for name in ["truncated.jpg", "truncated.png"] {
        let error = Photo::open(fixtures().join(name)).unwrap_err();
        assert!(matches!(error, Error::ImageTruncated { .. }), "{error}");
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut state = 7u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    for name in
        ["rgb.jpg", "progressive.jpg", "cmyk.jpg", "rgb.png", "palette.gif", "lossy.webp", "rgb.tiff", "rgb.bmp"]
    {
        let whole = std::fs::read(fixtures().join(name)).unwrap();
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random() % 8 {
                let at = random() as usize % bytes.len();
                bytes[at] = random() as u8;
            }
            let _ = Photo::decode(&bytes, name); // an error or a photo, both will do
        }
    }
}

#[test]
fn what_is_no_photo_is_named() {
    let open = |path: &Path| Photo::open(path).unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open(&folder.path().join("none.jpg")), Error::NoSuchFile { what: "image", .. }));
    let error = open(folder.path());
    assert!(error.to_string().ends_with("is a folder, not an image"), "{error}");
    let error = open(&fixtures().join("not_an_image.txt"));
    assert!(matches!(error, Error::NotAnImage { looks_like: Some("text"), .. }), "{error}");
    let (_folder, path) = write("photo.jpg", b"\0\0\0\x18ftypheic\0\0\0\0");
    assert!(open(&path).to_string().ends_with("photo.jpg: it is a HEIC photo, of which there is no decoder here"));
    let (_folder, path) = write("empty.png", b"");
    assert!(open(&path).to_string().ends_with("looks like an empty file"));
}

/// A PNG that claims to be `side` × `side`, with one row of data.
fn bomb(side: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let encoder = ::image::codecs::png::PngEncoder::new(&mut out);
    ::image::ImageEncoder::write_image(encoder, &[0; 3], 1, 1, ::image::ExtendedColorType::Rgb8).unwrap();
    out[16..20].copy_from_slice(&side.to_be_bytes());
    out[20..24].copy_from_slice(&side.to_be_bytes());
    let sum = crc32(&out[12..29]);
    out[29..33].copy_from_slice(&sum.to_be_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn huge_images_are_refused_before_they_are_decoded() {
    for side in [30_000, 100_000, i32::MAX as u32] {
        let error = Photo::decode(&bomb(side), "bomb.png").unwrap_err();
        assert!(matches!(error, Error::ImageSize { .. }), "{error}");
    }
    // A JPEG header of 65 500 × 65 500.
    let mut jpeg = std::fs::read(fixtures().join("rgb.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    let error = Photo::decode(&jpeg, "bomb.jpg").unwrap_err();
    assert!(matches!(error, Error::ImageSize { .. }), "{error}");
}
