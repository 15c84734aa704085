//! Whether a JPEG file is whole.
//!
//! The decoder fills what is missing with grey and says nothing, as browsers do. Pillow refuses such a file, and so do we:
//! a heatmap over a photo of which half is missing explains nothing.

/// Whether `bytes`, a JPEG file, reaches its end-of-image marker. What comes after it (a second image, a maker's data)
/// doesn't matter.
///
/// Segments are stepped over by their length, so the end marker of a thumbnail inside of one isn't taken for the photo's.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 2; // after the start-of-image marker
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            0xd9 => return true,
            // Stuffed bytes, restarts and other markers that have no length.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2) else { return false };
                at += usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
    false
}

/// The byte after the next run of `0xff` from `at` on; `at` is moved behind it. In the compressed data of a scan such
/// bytes are stuffing (0) or restart markers.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    let rest = bytes.get(*at..)?;
    let first = rest.iter().position(|&b| b == 0xff)?;
    let marker = first + rest[first..].iter().position(|&b| b != 0xff)?;
    *at += marker + 1;
    Some(rest[marker])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_marker_is_looked_for_outside_of_segments() {
        let with_thumbnail = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xda, 0, 2, 1, 0xff, 0, 2];
        assert!(!is_complete(&with_thumbnail));
        let mut whole = with_thumbnail.to_vec();
        whole.extend([0xff, 0xd9, 7, 7]);
        assert!(is_complete(&whole));
        for end in 0..with_thumbnail.len() {
            assert!(!is_complete(&whole[..end]));
        }
    }
}
