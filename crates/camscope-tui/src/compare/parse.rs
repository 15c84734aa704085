//! What to compare with, as `--against` has it.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    str::FromStr,
};

/// What `--against` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum With {
    /// A model's file.
    Model(PathBuf),
    /// A photo's file.
    Photo(PathBuf),
    /// A method's name.
    Method(String),
}

impl With {
    /// The model's file.
    pub fn model(&self) -> Option<&Path> {
        match self {
            Self::Model(path) => Some(path),
            Self::Photo(_) | Self::Method(_) => None,
        }
    }
}

impl FromStr for With {
    type Err = Infallible;

    /// What ends in `.onnx` is a model, what is a file or looks like the path of one a photo, and all else a method.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let path = Path::new(text);
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx")) {
            return Ok(Self::Model(path.to_owned()));
        }
        let looks_like_a_file = path.components().count() > 1 || path.extension().is_some() || path.exists();
        Ok(if looks_like_a_file { Self::Photo(path.to_owned()) } else { Self::Method(text.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_photos_and_methods_are_told_apart() {
        let of = |text: &str| text.parse::<With>().unwrap_or_else(|never| match never {});
        assert_eq!(of("dir/b.ONNX"), With::Model("dir/b.ONNX".into()));
        assert_eq!([of("cow.jpg"), of("photos/cow")], ["cow.jpg", "photos/cow"].map(|path| With::Photo(path.into())));
        assert_eq!(of("layercam"), With::Method("layercam".into()));
    }
}
