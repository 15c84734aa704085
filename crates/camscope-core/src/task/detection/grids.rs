//! The grids that detectors without anchors lay over the image, one a level, and their cells.

/// The strides of the levels, in pixels, as families have them: P3 to P5, with P6, with P2, and the small ones.
const LEVELS: &[&[usize]] = &[&[8, 16, 32], &[8, 16, 32, 64], &[4, 8, 16, 32], &[16, 32], &[8, 16]];

/// The strides whose grids have `boxes` cells in all, with `anchors` boxes a cell.
pub(super) fn strides(size: [usize; 2], boxes: usize, anchors: usize) -> Option<&'static [usize]> {
    LEVELS.iter().copied().find(|strides| cells(size, strides) * anchors == boxes)
}

/// How many cells grids of those strides have.
fn cells([height, width]: [usize; 2], strides: &[usize]) -> usize {
    strides.iter().map(|stride| height.div_ceil(*stride) * width.div_ceil(*stride)).sum()
}

/// Every cell in order, level by level and row by row: its column, its row, and its stride.
pub(super) fn each([height, width]: [usize; 2], strides: &[usize]) -> impl Iterator<Item = [f32; 3]> {
    strides.iter().flat_map(move |&stride| {
        let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
        (0..rows).flat_map(move |row| (0..columns).map(move |column| [column as f32, row as f32, stride as f32]))
    })
}

/// `8, 16 and 32`.
pub(super) fn listed(strides: &[usize]) -> String {
    let numbers: Vec<String> = strides.iter().map(usize::to_string).collect();
    match numbers.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => numbers.join(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_counted_by_stride() {
        assert_eq!(strides([640, 640], 8400, 1), Some(&[8, 16, 32][..]));
        assert_eq!(strides([640, 640], 25200, 3), Some(&[8, 16, 32][..]));
        assert_eq!(strides([1280, 1280], 34000, 1), Some(&[8, 16, 32, 64][..]));
        assert_eq!(strides([480, 640], 6300, 1), Some(&[8, 16, 32][..]));
        assert_eq!(strides([640, 640], 8401, 1), None);
        let all: Vec<_> = each([32, 64], &[16, 32]).collect();
        assert_eq!(all.len(), 10);
        assert_eq!([all[0], all[5], all[9]], [[0.0, 0.0, 16.0], [1.0, 1.0, 16.0], [1.0, 0.0, 32.0]]);
        assert_eq!(listed(&[8, 16, 32]), "8, 16 and 32");
    }
}
