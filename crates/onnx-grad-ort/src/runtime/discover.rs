//! Searches the places where an ONNX Runtime may lie, in a fixed order, and says of each what is there.

use std::cmp::Reverse;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::config;
use super::dirs;
use super::inspect::{Unusable, inspect};
use super::itself;
use super::known::Known;
use super::places;
use super::prober::Prober;
use super::vars::Vars;
use super::version::Version;
use crate::error::{Error, Result};
use crate::text::printable_path;

/// A kind of place that is searched. [`Origin::ALL`] has them in the order of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The environment variable `ORT_DYLIB_PATH`.
    Variable,
    /// `library` in the section `[runtime]` of `config.toml` in the folder [`dirs::config`].
    Config,
    /// The program's own folder, and `lib` beside that folder.
    Program,
    /// The folder [`dirs::runtimes`], which [`install`](super::install()) fills.
    Data,
    /// The package `onnxruntime` (or `onnxruntime-gpu`, …) of the active Python environment.
    Python,
    /// The folders of the system's loader.
    System,
}

impl Origin {
    /// Every kind of place, in the order of the search.
    pub const ALL: [Origin; 6] =
        [Origin::Variable, Origin::Config, Origin::Program, Origin::Data, Origin::Python, Origin::System];

    /// Whether the user named the file: then an unusable one is an error rather than passed over.
    fn is_explicit(self) -> bool {
        matches!(self, Origin::Variable | Origin::Config)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Variable => "ORT_DYLIB_PATH",
            Origin::Config => "configuration",
            Origin::Program => "beside the program",
            Origin::Data => "data folder",
            Origin::Python => "Python environment",
            Origin::System => "system's loader path",
        })
    }
}

/// A place, and what was found there.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The kind of place.
    pub origin: Origin,
    /// The file found; `None` where there is nothing.
    pub path: Option<PathBuf>,
    /// What the file is worth.
    pub verdict: Verdict,
}

/// What was found at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing; the text says what was looked at, or why there was nothing to look at.
    Nothing(String),
    /// An ONNX Runtime that can be used.
    Usable(Version),
    /// A file that cannot be used.
    Unusable(Unusable),
    /// The configuration file, with what is wrong with it.
    BadConfig(String),
}

/// An ONNX Runtime that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Where it was found.
    pub origin: Origin,
    /// The file, by its absolute path.
    pub path: PathBuf,
    /// Its version.
    pub version: Version,
}

/// The search: everything it depends on outside of the files themselves.
#[derive(Clone, Debug)]
pub struct Search {
    /// The environment variables.
    pub vars: Vars,
    /// The program's file.
    pub program: Option<PathBuf>,
    /// Who loads libraries that aren't known yet.
    pub prober: Prober,
    /// The libraries known to be good.
    pub known: Known,
    /// The folders of the system's loader.
    pub system: Vec<PathBuf>,
}

/// Which of the candidates to take: the first usable one.
///
/// # Errors
///
/// [`Error::RuntimeUnusable`] where `ORT_DYLIB_PATH` or the configuration names a file that cannot be used, for who names
/// one wants that one; [`Error::Config`] where the configuration cannot be read, for it may name one;
/// [`Error::RuntimeMissing`] where there is none.
pub fn choose(candidates: impl IntoIterator<Item = Candidate>) -> Result<Library> {
    let mut refused = Vec::new();
    for Candidate { origin, path, verdict } in candidates {
        let Some(path) = path else { continue };
        match verdict {
            Verdict::Nothing(_) => {}
            Verdict::Usable(version) => return Ok(Library { origin, path, version }),
            Verdict::Unusable(reason) if origin.is_explicit() => {
                return Err(Error::RuntimeUnusable { named_by: Some(origin), path, reason });
            }
            Verdict::Unusable(reason) => refused.push((path, reason)),
            Verdict::BadConfig(reason) => return Err(Error::Config { path: printable_path(&path), reason }),
        }
    }
    Err(Error::RuntimeMissing { refused })
}

impl Search {
    /// The search of this process.
    pub fn of_process() -> Self {
        let vars = Vars::of_process();
        Self {
            // What lies beside a program that only has camscope as a library is not meant for it.
            program: std::env::current_exe().ok().filter(|_| itself::host().is_none()),
            prober: Prober::detect(),
            known: Known::in_cache(&vars),
            system: places::loader_folders(&vars),
            vars,
        }
    }

    /// Every place, with what was found there: at least one entry for each of [`Origin::ALL`], in that order.
    pub fn all(&self) -> Vec<Candidate> {
        Origin::ALL.into_iter().flat_map(|origin| self.look(origin)).collect()
    }

    /// The first usable library; places after it are not looked at.
    ///
    /// # Errors
    ///
    /// Those of [`choose`].
    pub fn find(&self) -> Result<Library> {
        choose(Origin::ALL.into_iter().flat_map(|origin| self.look(origin)))
    }

    /// As [`Search::find`], but a configuration that cannot be read is passed over: for who shows what is wrong with it and goes on.
    ///
    /// # Errors
    ///
    /// Those of [`choose`], but [`Error::Config`].
    pub fn find_despite_config(&self) -> Result<Library> {
        let candidates = Origin::ALL.into_iter().flat_map(|origin| self.look(origin));
        choose(candidates.filter(|candidate| !matches!(candidate.verdict, Verdict::BadConfig(_))))
    }

    /// What is at one kind of place.
    fn look(&self, origin: Origin) -> Vec<Candidate> {
        let (paths, nothing) = match origin {
            Origin::Variable => (self.variable(), "not set".to_string()),
            Origin::Config => match self.config() {
                Ok(found) => found,
                Err(broken) => return vec![broken],
            },
            Origin::Program => self.in_folders(&self.program_folders()),
            Origin::Data => self.in_folders(&self.data_folders()),
            Origin::Python => {
                let packages = places::python_packages(&self.vars);
                let folders: Vec<_> = packages.iter().map(|folder| folder.join("onnxruntime").join("capi")).collect();
                match self.in_folders(&folders) {
                    (paths, _) if paths.is_empty() => (paths, "no onnxruntime package".to_string()),
                    found => found,
                }
            }
            Origin::System => {
                let (paths, _) = self.in_folders(&self.system);
                (paths, format!("nothing in {} folders", self.system.len()))
            }
        };
        if paths.is_empty() {
            return vec![Candidate { origin, path: None, verdict: Verdict::Nothing(nothing) }];
        }
        let judge = |path: PathBuf| {
            let verdict = match inspect(&path, &self.prober, &self.known) {
                Ok(version) => Verdict::Usable(version),
                Err(reason) => Verdict::Unusable(reason),
            };
            Candidate { origin, path: Some(path), verdict }
        };
        paths.into_iter().map(judge).collect()
    }

    fn variable(&self) -> Vec<PathBuf> {
        let Some(path) = self.vars.path("ORT_DYLIB_PATH") else { return Vec::new() };
        // As the system's loader has it: a bare name is looked up, anything else is a path from the current folder.
        let is_bare = path.components().count() == 1 && !path.exists();
        let looked_up = self.system.iter().map(|folder| folder.join(&path)).find(|path| is_bare && path.is_file());
        if let Some(found) = looked_up {
            return vec![found];
        }
        vec![std::path::absolute(&path).unwrap_or(path)]
    }

    fn config(&self) -> Result<(Vec<PathBuf>, String), Candidate> {
        let Some(file) = config::file(&self.vars) else { return Ok((Vec::new(), "no home folder".to_string())) };
        let name = printable_path(&file);
        match config::library(&self.vars) {
            Ok(Some(library)) => Ok((vec![library], String::new())),
            Ok(None) if file.exists() => Ok((Vec::new(), format!("{name} names none"))),
            Ok(None) => Ok((Vec::new(), format!("no {name}"))),
            Err(reason) => {
                Err(Candidate { origin: Origin::Config, path: Some(file), verdict: Verdict::BadConfig(reason) })
            }
        }
    }

    fn program_folders(&self) -> Vec<PathBuf> {
        let program = self.program.as_ref().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone()));
        let Some(folder) = program.as_deref().and_then(Path::parent) else { return Vec::new() };
        let above =
            folder.parent().into_iter().flat_map(|above| [above.join("lib"), above.join("lib").join("camscope")]);
        [folder.to_path_buf()].into_iter().chain(above).collect()
    }

    /// The folders below the data folder, one an installed version: those with GPU providers first (who asked for one
    /// wants it), then the newest.
    fn data_folders(&self) -> Vec<PathBuf> {
        let Some(base) = dirs::runtimes(&self.vars) else { return Vec::new() };
        let mut names: Vec<String> = fs::read_dir(&base)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        names.sort_by_key(|name| (Reverse(name.ends_with("-gpu")), Reverse(places::version_in(name)), name.clone()));
        let mut folders: Vec<PathBuf> = names.into_iter().map(|name| base.join(name)).collect();
        folders.push(base);
        folders
    }

    /// The libraries in some folders, and what to say where there is none.
    fn in_folders(&self, folders: &[PathBuf]) -> (Vec<PathBuf>, String) {
        let mut seen = Vec::new();
        let mut paths = Vec::new();
        for path in folders.iter().flat_map(|folder| places::libraries_in(folder)) {
            // /lib is a link to /usr/lib on most systems.
            let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if !seen.contains(&real) {
                seen.push(real);
                paths.push(path);
            }
        }
        let nothing = match folders.last() {
            Some(folder) if folders.len() == 1 => format!("nothing in {}", printable_path(folder)),
            Some(_) => {
                format!("nothing in {}", folders.iter().map(|f| printable_path(f)).collect::<Vec<_>>().join(", "))
            }
            None => "no such folder".to_string(),
        };
        (paths, nothing)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A search that sees nothing but `home`.
    fn search(home: &Path) -> Search {
        Search {
            vars: Vars::of([("HOME", home)]),
            program: Some(home.join("bin/camscope")),
            prober: Prober::Thread { limit: Duration::from_secs(5) },
            known: Known::none(),
            system: vec![home.join("usr/lib")],
        }
    }

    fn with(mut search: Search, name: &str, value: &Path) -> Search {
        search.vars = Vars::of([(name, value), ("HOME", &search.vars.path("HOME").unwrap())]);
        search
    }

    fn put(path: PathBuf) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "no library").unwrap();
        path
    }

    #[test]
    fn places_are_searched_in_the_documented_order() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let name = "libonnxruntime.so";
        let variable = put(home.join("variable.so"));
        let config = put(home.join("config.so"));
        put(home.join(".config/camscope/config.toml"));
        fs::write(home.join(".config/camscope/config.toml"), "[runtime]\nlibrary = '~/config.so'").unwrap();
        let expected = [
            (Origin::Variable, variable.clone()),
            (Origin::Config, config),
            (Origin::Program, put(home.join("bin").join(name))),
            (Origin::Program, put(home.join("lib").join(name))),
            (Origin::Data, put(home.join(".local/share/camscope/runtime/1.31.1-gpu").join(name))),
            (Origin::Data, put(home.join(".local/share/camscope/runtime/1.32.0").join(name))),
            (Origin::Data, put(home.join(".local/share/camscope/runtime/1.9.0").join(name))),
            (Origin::Python, put(home.join("venv/lib/python3.12/site-packages/onnxruntime/capi").join(name))),
            (Origin::System, put(home.join("usr/lib").join(name))),
        ];
        put(home.join("bin/camscope"));
        let mut search = search(home);
        search.vars =
            Vars::of([("HOME", home.to_path_buf()), ("ORT_DYLIB_PATH", variable), ("VIRTUAL_ENV", home.join("venv"))]);
        let found: Vec<_> = search.all().into_iter().map(|found| (found.origin, found.path.unwrap())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_place_has_an_entry_where_there_is_nothing() {
        let home = tempfile::tempdir().unwrap();
        let found = search(home.path()).all();
        assert_eq!(found.iter().map(|found| found.origin).collect::<Vec<_>>(), Origin::ALL);
        assert!(found.iter().all(|found| matches!(&found.verdict, Verdict::Nothing(what) if !what.is_empty())));
        assert!(matches!(search(home.path()).find(), Err(Error::RuntimeMissing { refused }) if refused.is_empty()));
    }

    #[test]
    fn a_library_that_the_user_names_is_not_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let named = with(search(home.path()), "ORT_DYLIB_PATH", &home.path().join("none.so"));
        let error = named.find().unwrap_err();
        assert!(
            error.to_string().ends_with("none.so as ONNX Runtime (named by ORT_DYLIB_PATH): there is no such file")
        );
        assert!(matches!(error, Error::RuntimeUnusable { named_by: Some(Origin::Variable), .. }));
    }

    #[test]
    fn a_broken_configuration_is_not_passed_over() {
        let home = tempfile::tempdir().unwrap();
        put(home.path().join(".config/camscope/config.toml"));
        assert!(matches!(search(home.path()).find(), Err(Error::Config { .. })));
        // Unless asked to: then it is as if it named none.
        assert!(matches!(search(home.path()).find_despite_config(), Err(Error::RuntimeMissing { .. })));
    }

    #[test]
    fn folders_and_pipes_of_the_right_name_are_refused_without_waiting() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("usr/lib/libonnxruntime.so");
        fs::create_dir_all(&folder).unwrap();
        let pipe = home.path().join("usr/lib/libonnxruntime.so.1");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        match search(home.path()).find() {
            Err(Error::RuntimeMissing { refused }) => {
                assert_eq!(refused, [(folder, Unusable::Folder), (pipe, Unusable::NotAFile)]);
            }
            other => panic!("{other:?}"),
        }
    }
}
