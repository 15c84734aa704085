//! The host: looks at every place, tries what is new, loads what is good, says why of the rest.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use camscope_core::{
    layer, method, overlay, rules,
    runtime::{Vars, dirs},
    text::{printable, printable_path},
};
use sha2::{Digest, Sha256};

use crate::{
    child::Trier,
    contents::{About, Contents},
    events::Outcome,
    library::{Items, Library},
    memory::Memory,
    places::{Origin, Places},
    range,
    trust::trusted,
};

/// Nobody's plugin is larger.
const LARGEST: u64 = 1 << 30;

/// What a host needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where plugins are looked for.
    pub places: Places,
    /// camscope's data folder, for copies and the memory; `None`: a temporary one, and every plugin is tried every time.
    pub data: Option<PathBuf>,
    /// Who tries plugins that are not known yet; `None`: they are set aside.
    pub trier: Option<Trier>,
}

impl Settings {
    /// Those of this process: `options` are the files and folders of `--plugin`, `config` those of the configuration.
    pub fn of_process(options: &[PathBuf], config: &[PathBuf]) -> Self {
        let vars = Vars::of_process();
        Self { places: Places::of(&vars, options, config), data: dirs::data(&vars), trier: Trier::detect() }
    }
}

/// How it stands with a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is loaded, and what it has is in the core's lists.
    Loaded,
    /// It is not used, for this reason.
    SetAside(String),
}

/// A library that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Who named the place.
    pub origin: Origin,
    /// The SHA-256 of its content, if that was read.
    pub hash: Option<String>,
    /// What it says of itself, if that was read.
    pub about: Option<About>,
    /// What it has, if it is loaded.
    pub contents: Contents,
    /// How it stands with it.
    pub state: State,
}

impl Found {
    /// Why it is not used, with file, version and what this host takes; `None` if it is used.
    pub fn complaint(&self) -> Option<String> {
        let State::SetAside(reason) = &self.state else { return None };
        let about = self.about.as_ref().map(|about| format!(" ({about})")).unwrap_or_default();
        let (path, about, reason, range) = (printable_path(&self.path), printable(&about), printable(reason), range());
        Some(format!("the plugin {path}{about} is set aside: {reason} [{range}]"))
    }
}

/// A file's size and time of change with the hash that it had.
type Stamp = (u64, Option<SystemTime>, String);

/// What is known of a library that was loaded, or that could not be.
#[derive(Clone)]
struct Known {
    about: Option<About>,
    contents: Contents,
    state: State,
    /// Where it was found.
    path: PathBuf,
}

/// Finds and keeps plugins. A process needs one: what it loads goes into the core's lists, for good.
pub struct Host {
    settings: Settings,
    memory: Memory,
    stamps: HashMap<PathBuf, Stamp>,
    known: HashMap<String, Known>,
    /// For each file the hash of what was loaded from it last.
    current: HashMap<PathBuf, String>,
    /// The libraries that were told to start, which is done once.
    started: HashSet<String>,
    temporary: Option<tempfile::TempDir>,
}

impl Host {
    /// A host that has not looked for anything yet.
    pub fn new(settings: Settings) -> Self {
        let memory = Memory::read(settings.data.as_deref());
        let (stamps, known, current, started) = Default::default();
        Self { settings, memory, stamps, known, current, started, temporary: None }
    }

    /// Looks at every place. New libraries are tried and loaded; a library whose content changed is loaded anew, and what it has
    /// takes the place of what the old one had, which stays in memory. Where nothing changed this costs a look at each file.
    pub fn scan(&mut self) -> Vec<Found> {
        let files = self.settings.places.files();
        files.into_iter().map(|(origin, path)| self.look(origin, path)).collect()
    }

    fn look(&mut self, origin: Origin, path: PathBuf) -> Found {
        let found = |hash, known: Known| Found {
            path: path.clone(),
            origin,
            hash,
            about: known.about,
            contents: known.contents,
            state: known.state,
        };
        let aside = |reason| Known {
            about: None,
            contents: Contents::default(),
            state: State::SetAside(reason),
            path: path.clone(),
        };
        let real = match trusted(&path) {
            Ok(real) => real,
            Err(reason) => return found(None, aside(reason)),
        };
        let (hash, copy) = match self.copy(&real) {
            Ok(copied) => copied,
            Err(reason) => return found(None, aside(reason)),
        };
        // The same library at two places is loaded once; one that came back after a change is taken up again.
        let known = self.known.get(&hash).filter(|known| known.state == State::Loaded);
        if let Some(known) = known.filter(|known| self.current.get(&known.path) == Some(&hash)) {
            return found(Some(hash.clone()), known.clone());
        }
        let known = self.load(&real, &hash, &copy);
        if known.state == State::Loaded {
            self.current.insert(real, hash.clone());
        }
        self.known.insert(hash.clone(), known.clone());
        found(Some(hash), known)
    }

    /// The hash of a file's content and its copy, which nobody else can change and which is called like the hash.
    fn copy(&mut self, path: &Path) -> Result<(String, PathBuf), String> {
        let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.len() > LARGEST {
            return Err(format!("it has {} bytes, more than {LARGEST}", metadata.len()));
        }
        let folder = self.copies()?;
        let name = |hash: &str| folder.join(format!("{hash}.{}", std::env::consts::DLL_EXTENSION));
        if let Some((size, time, hash)) = self.stamps.get(path)
            && (*size, *time) == (metadata.len(), metadata.modified().ok())
            && self.known.contains_key(hash)
        {
            return Ok((hash.clone(), name(hash)));
        }
        let content = fs::read(path).map_err(unreadable)?;
        let hash = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.stamps.insert(path.to_owned(), (metadata.len(), metadata.modified().ok(), hash.clone()));
        let copy = name(&hash);
        let is_there = fs::read(&copy).is_ok_and(|there| there == content);
        if !is_there {
            write(&folder, &copy, &content)
                .map_err(|error| format!("it cannot be copied to {}: {error}", folder.display()))?;
        }
        Ok((hash, copy))
    }

    fn copies(&mut self) -> Result<PathBuf, String> {
        let failed = |error: std::io::Error| format!("there is no folder for copies: {error}");
        let folder = match (&self.settings.data, &self.temporary) {
            (Some(data), _) => data.join("plugin-copies"),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => self.temporary.insert(tempfile::tempdir().map_err(failed)?).path().to_owned(),
        };
        make_private(&folder).map_err(failed)?;
        folder.canonicalize().map_err(failed)
    }

    fn load(&mut self, path: &Path, hash: &str, copy: &Path) -> Known {
        let mut known =
            Known { about: None, contents: Contents::default(), state: State::Loaded, path: path.to_owned() };
        let result = self.tried(hash, copy, &mut known.about).and_then(|()| self.load_here(&mut known, hash, copy));
        if let Err(reason) = result {
            known.state = State::SetAside(reason);
        }
        known
    }

    /// Whether the library is known to behave, or does so in a child process now.
    fn tried(&mut self, hash: &str, copy: &Path, about: &mut Option<About>) -> Result<(), String> {
        if self.memory.get(hash).is_none() {
            let trier = self.settings.trier.as_ref().ok_or("this program cannot try plugins")?;
            let report = trier.run(copy, "all");
            self.memory.keep(hash, report.about, report.outcome);
        }
        let Some(tried) = self.memory.get(hash) else { return Ok(()) };
        about.clone_from(&tried.about);
        tried.outcome.reason().map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    fn load_here(&mut self, known: &mut Known, hash: &str, copy: &Path) -> Result<(), String> {
        let library = Library::open(copy, &mut |about| known.about = Some(about.clone()))?;
        let name = &library.about.name;
        let in_use = self.current.iter().filter_map(|(path, hash)| Some((path, self.known.get(hash)?.about.as_ref()?)));
        let mut others = in_use.filter(|(path, _)| **path != known.path && path.exists());
        if let Some((path, _)) = others.find(|(_, about)| about.name == *name) {
            return Err(format!("{} is a plugin of the same name, and was found before", path.display()));
        }
        if self.started.insert(hash.to_owned()) {
            library.init()?;
        }
        let items = library.items()?;
        known.contents = items.contents();
        add(items)
    }

    /// Forgets what came of trying a library, so that it is tried again, and gives its trusted copy.
    ///
    /// # Errors
    /// Others can change the file, or it cannot be read.
    pub fn fresh_copy(&mut self, path: &Path) -> Result<(String, PathBuf), String> {
        self.copy(&trusted(path)?)
    }

    /// Keeps what `plugin check` found.
    pub fn keep(&mut self, hash: &str, about: Option<About>, outcome: Outcome) {
        self.memory.keep(hash, about, outcome);
    }
}

/// Puts everything into the core's lists, or nothing.
fn add(items: Items) -> Result<(), String> {
    let tables = items.colormaps.iter().map(|map| map.table()).collect::<Result<Vec<_>, String>>()?;
    let methods = items.methods.iter().map(|method| method.cam()).collect::<Result<Vec<_>, String>>()?;
    tables.into_iter().for_each(|table| {
        overlay::add(table);
    });
    methods.into_iter().for_each(|cam| {
        method::add(Box::leak(Box::new(cam)));
    });
    items.resolvers.into_iter().for_each(|resolver| layer::add_resolver(Box::leak(Box::new(resolver))));
    items.rules.into_iter().for_each(|rule| rules::add(Box::leak(Box::new(rule))));
    Ok(())
}

fn write(folder: &Path, to: &Path, content: &[u8]) -> std::io::Result<()> {
    let new = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(new.path(), content)?;
    new.persist(to).map_err(|error| error.error)?;
    Ok(())
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}
