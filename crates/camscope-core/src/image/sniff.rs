//! What a file that is no readable image looks like, for the error message.

/// What the pointer is that Git LFS leaves in place of a file it has not fetched.
pub(crate) const LFS_POINTER: &str = "a Git LFS pointer, not the file itself";
/// Medical images.
pub(crate) const DICOM: &str = "a DICOM file";
pub(crate) const HEIC: &str = "a HEIC photo";
pub(crate) const AVIF: &str = "an AVIF image";
pub(crate) const JPEG_XL: &str = "a JPEG XL image";
pub(crate) const JPEG_2000: &str = "a JPEG 2000 image";

/// Whether that is a kind of image, though one that isn't read.
pub(crate) fn is_image(looks_like: &str) -> bool {
    [DICOM, HEIC, AVIF, JPEG_XL, JPEG_2000].contains(&looks_like)
}

/// What to do about a file that looks like one of these.
pub(crate) fn advice(looks_like: &str) -> Option<&'static str> {
    Some(match looks_like {
        LFS_POINTER => "fetch the file itself: `git lfs pull` in its repository",
        DICOM => {
            "write its pixels as a 16-bit PNG, by pydicom or `dcmj2pnm --write-16-bit-png`, and give --white where its values have \
             fewer than 16 bits"
        }
        HEIC => "convert it to PNG or JPEG: `heif-convert photo.heic photo.png`",
        AVIF => "convert it to PNG: `avifdec photo.avif photo.png`",
        JPEG_XL => "convert it to PNG: `djxl photo.jxl photo.png`",
        JPEG_2000 => "convert it to PNG: `opj_decompress -i photo.jp2 -o photo.png`",
        _ => return None,
    })
}

/// What the content looks like in a few words ("a PDF document"), by its first bytes; `None` if nothing is recognised.
pub(crate) fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("an empty file");
    }
    let starts = |prefix: &[u8]| bytes.starts_with(prefix);
    // After a preamble of 128 bytes that may hold anything.
    if bytes.get(128..132) == Some(b"DICM") {
        return Some(DICOM);
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return Some(match bytes.get(8..12) {
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"mif1" | b"msf1") => HEIC,
            Some(b"avif" | b"avis") => AVIF,
            _ => "a video",
        });
    }
    const SIGNATURES: [(&[u8], &str); 18] = [
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\x93NUMPY", "a NumPy array"),
        (b"\x7fELF", "a program or library"),
        (b"\x00\x00\x01\x00", "an ICO icon"),
        (b"\xff\x0a", JPEG_XL),
        (b"\x00\x00\x00\x0cJXL ", JPEG_XL),
        (b"\x00\x00\x00\x0cjP  ", JPEG_2000),
        (b"\xff\x4f\xff\x51", JPEG_2000),
        (b"8BPS", "a Photoshop document"),
        (b"\x76\x2f\x31\x01", "an OpenEXR image"),
        (b"#?RADIANCE", "a Radiance HDR image"),
        (b"DDS ", "a DDS texture"),
        (b"qoif", "a QOI image"),
        (b"farbfeld", "a farbfeld image"),
        (b"\x1a\x45\xdf\xa3", "a video"),
        (b"version https://git-lfs", LFS_POINTER),
    ];
    if let Some((_, name)) = SIGNATURES.iter().find(|(signature, _)| starts(signature)) {
        return Some(name);
    }
    let head = &bytes[..bytes.len().min(512)];
    let text =
        String::from_utf8_lossy(head).trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']).to_ascii_lowercase();
    if text.contains("<svg") {
        return Some("an SVG drawing");
    }
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        return Some("an HTML page");
    }
    // A few control characters are common in text; a NUL never is.
    let is_text = head.iter().all(|&b| b >= 0x20 || matches!(b, b'\n' | b'\r' | b'\t' | 0x0c | 0x1b));
    // A multi-byte character may be cut at the end of the head.
    let is_utf8 = std::str::from_utf8(head).map_or_else(|e| e.error_len().is_none(), |_| true);
    (is_text && is_utf8).then_some("text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_mistakes_are_named() {
        assert_eq!(looks_like(b""), Some("an empty file"));
        assert_eq!(looks_like(b"%PDF-1.7"), Some("a PDF document"));
        assert_eq!(looks_like(b"\0\0\0\x18ftypheic\0\0"), Some("a HEIC photo"));
        assert_eq!(looks_like(b"\0\0\0\x18ftypisom\0\0"), Some("a video"));
        assert_eq!(looks_like(b"\n<!DOCTYPE html><html>"), Some("an HTML page"));
        assert_eq!(looks_like("Grüße".as_bytes()), Some("text"));
        assert_eq!(looks_like(&[0, 1, 2, 3]), None);
        let dicom = [&[0; 128], &b"DICM\x02\0\0\0"[..]].concat();
        assert_eq!(looks_like(&dicom), Some("a DICOM file"));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        assert_eq!(looks_like(pointer), Some("a Git LFS pointer, not the file itself"));
    }
}
