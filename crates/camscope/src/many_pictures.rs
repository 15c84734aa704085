//! Which pictures a command is given: files, folders, globs, a list of names; and which of them are its share. Shared by the commands that
//! take many.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{Error, Result, text::printable_path};
use camscope_tui::worker::files::images_of;
use clap::Args;
use glob::{MatchOptions, glob_with};

use crate::setup::failed;

/// What names pictures besides the words of the command line.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ListArgs {
    /// Take photos and folders from this file too, one a line (or ended by NUL, as `find -print0` gives them); - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "tensor")]
    pub(crate) list: Option<PathBuf>,
    /// Take only the Ith of every N photos, as in 3/8: for N jobs that share the work
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    pub(crate) shard: Option<Shard>,
}

/// The part of all pictures that one of several runs takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Which, from 1.
    pub(crate) which: usize,
    /// Of how many.
    pub(crate) of: usize,
}

impl Shard {
    fn parse(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(which, of)| Some((which.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((which, of)) if (1..=of).contains(&which) => Ok(Self { which, of }),
            _ => Err("it must be I/N with I from 1 to N, as 3/8".into()),
        }
    }
}

/// One of many: what is kept of each grows with their number, so it is little more than the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// The file.
    pub(crate) path: Arc<Path>,
    /// Its place among all that were named, from 1: the same in every shard.
    pub(crate) number: usize,
    /// The stem, where it is not the file's own.
    other_stem: Option<Box<str>>,
}

impl Picture {
    /// The name of what is written of it, without an ending: the file's own, with a number where an earlier one has the same. The same in
    /// every shard.
    pub(crate) fn stem(&self) -> Cow<'_, str> {
        self.other_stem.as_deref().map_or_else(|| file_stem(&self.path), Cow::Borrowed)
    }
}

fn file_stem(path: &Path) -> Cow<'_, str> {
    path.file_stem().unwrap_or_default().to_string_lossy()
}

impl ListArgs {
    /// The pictures that `named` and the list stand for, in that order: a folder for its photos by name, a glob for what it matches by name.
    /// A name that stands for nothing is left: reading it says what is wrong.
    ///
    /// # Errors
    /// The list cannot be read, or it is empty.
    pub(crate) fn pictures(&self, named: &[PathBuf]) -> Result<Vec<Picture>> {
        let mut all: Vec<Arc<Path>> = named.iter().flat_map(|path| matching(path)).flat_map(in_folder).collect();
        if let Some(list) = &self.list {
            all.extend(listed(list)?.into_iter().flat_map(in_folder));
        }
        Ok(self.share(all))
    }

    /// As [`pictures`](Self::pictures); where there are arrays, they are the pictures.
    ///
    /// # Errors
    /// The list cannot be read, or it is empty.
    pub(crate) fn given(&self, named: &[PathBuf], arrays: &[PathBuf]) -> Result<Vec<Picture>> {
        match arrays {
            [] => self.pictures(named),
            arrays => Ok(self.share(arrays.iter().map(|path| Arc::from(path.as_path())).collect())),
        }
    }

    /// Of these files those of the shard.
    fn share(&self, all: Vec<Arc<Path>>) -> Vec<Picture> {
        let Shard { which, of } = self.shard.unwrap_or(Shard { which: 1, of: 1 });
        let others = other_stems(&all);
        let numbered = all.into_iter().zip(others).enumerate();
        let picture = |(at, (path, other_stem))| Picture { path, number: at + 1, other_stem };
        numbered.filter(|(at, _)| at % of == which - 1).map(picture).collect()
    }
}

/// For each file the stem that it gets in place of its own, where an earlier one has that.
fn other_stems(all: &[Arc<Path>]) -> Vec<Option<Box<str>>> {
    let mut stems = Stems::default();
    all.iter().map(|path| stems.other(file_stem(path))).collect()
}

/// Names that were given, so that each is given once.
#[derive(Default)]
struct Stems<'a> {
    /// With each name the number to try next.
    next: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Stems<'a> {
    /// The name in place of this one, if that was given.
    fn other(&mut self, stem: Cow<'a, str>) -> Option<Box<str>> {
        let Some(next) = self.next.get_mut(&stem) else {
            self.next.insert(stem, 2);
            return None;
        };
        let mut number = *next;
        let mut name = format!("{stem}-{number}");
        while self.next.contains_key(name.as_str()) {
            number += 1;
            name = format!("{stem}-{number}");
        }
        self.next.insert(stem, number + 1);
        let given = name.clone().into_boxed_str();
        self.next.insert(Cow::Owned(name), 2);
        Some(given)
    }
}

/// What a glob matches, which a shell didn't expand; a file that is called so comes first.
fn matching(path: &Path) -> Vec<PathBuf> {
    let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']) && !path.exists());
    // As a shell has it.
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let found = pattern.and_then(|pattern| glob_with(pattern, options).ok());
    let found: Vec<PathBuf> = found.into_iter().flatten().flatten().collect();
    if found.is_empty() { vec![path.to_owned()] } else { found }
}

/// The photos of a folder by name; anything else is itself.
fn in_folder(path: PathBuf) -> impl Iterator<Item = Arc<Path>> {
    let images = if path.is_dir() { images_of(&path).unwrap_or_default() } else { Vec::new() };
    let itself = images.is_empty().then_some(path);
    itself.into_iter().chain(images).map(Arc::from)
}

/// The names in a list.
fn listed(list: &Path) -> Result<Vec<PathBuf>> {
    let is_stdin = list == Path::new("-");
    let mut bytes = Vec::new();
    let read = match is_stdin {
        true => std::io::stdin().lock().read_to_end(&mut bytes),
        false => std::fs::File::open(list).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    let shown = if is_stdin { Path::new("stdin") } else { list };
    read.map_err(|source| failed("read", shown, source))?;
    let end = if bytes.contains(&0) { 0 } else { b'\n' };
    let name = |name: &[u8]| match name.strip_suffix(b"\r").filter(|_| end == b'\n').unwrap_or(name) {
        [] => None,
        name => Some(path_of(name)),
    };
    let names: Vec<PathBuf> = bytes.split(|byte| *byte == end).filter_map(name).collect();
    match names.is_empty() {
        true => Err(Error::Value(format!("{} names no photos", printable_path(shown)))),
        false => Ok(names),
    }
}

#[cfg(unix)]
fn path_of(name: &[u8]) -> PathBuf {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    OsStr::from_bytes(name).into()
}

#[cfg(not(unix))]
fn path_of(name: &[u8]) -> PathBuf {
    String::from_utf8_lossy(name).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn shards_share_all_pictures_and_their_names() {
        let all = paths(&["a/x.png", "b/x.png", "c/y.png", "x-2.png", "d/x.png"]);
        let all: Vec<Arc<Path>> = all.into_iter().map(Arc::from).collect();
        let whole = ListArgs::default().share(all.clone());
        let stems: Vec<Cow<'_, str>> = whole.iter().map(Picture::stem).collect();
        assert_eq!(stems, ["x", "x-2", "y", "x-2-2", "x-3"]);
        let shard = |text: &str| {
            let shard = Some(Shard::parse(text).expect("a shard"));
            ListArgs { shard, ..Default::default() }.share(all.clone())
        };
        assert_eq!(shard("2/3"), [whole[1].clone(), whole[4].clone()]);
        let mut together = [shard("1/3"), shard("2/3"), shard("3/3")].concat();
        together.sort_by_key(|picture| picture.number);
        assert_eq!(together, whole);
        assert!(shard("7/8").is_empty());
    }

    #[test]
    fn a_shard_is_one_of_several() {
        for wrong in ["", "3", "0/8", "9/8", "3/0", "-1/2", "a/b", "1/2/3"] {
            assert!(Shard::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Shard::parse("8/8"), Ok(Shard { which: 8, of: 8 }));
    }

    #[test]
    fn a_list_is_lines_or_ended_by_nul() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("list");
        let names = |content: &[u8]| {
            std::fs::write(&list, content).expect("it is written");
            listed(&list)
        };
        assert_eq!(names(b"a b.png\r\n\n*.png\nlast").expect("names"), paths(&["a b.png", "*.png", "last"]));
        assert_eq!(names(b"two\nlines\0next\r\0").expect("names"), paths(&["two\nlines", "next\r"]));
        assert!(names(b"\n\n").is_err_and(|error| error.to_string().contains("names no photos")));
    }

    #[test]
    fn globs_are_as_in_a_shell() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.png", "a.png", ".c.png", "[d].png", "deep/e.png"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
            std::fs::write(path, b"").expect("it is written");
        }
        let found = |pattern: &str| {
            let found = ListArgs::default().pictures(&[folder.path().join(pattern)]).expect("pictures");
            let within = |picture: Picture| picture.path.strip_prefix(folder.path()).map(Path::to_owned);
            found.into_iter().map(|picture| within(picture).expect("within")).collect::<Vec<_>>()
        };
        assert_eq!(found("?.png"), paths(&["a.png", "b.png"]));
        assert_eq!(found("[d].png"), paths(&["[d].png"]));
        assert_eq!(found("**/e.*"), paths(&["deep/e.png"]));
        assert_eq!(found("dee*"), paths(&["deep/e.png"]));
        assert_eq!(found("none*"), paths(&["none*"]));
    }
}
