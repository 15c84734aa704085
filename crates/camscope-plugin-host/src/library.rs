//! A plugin's library: loaded, its exported struct read before anything is called, its factories read after.

use std::{
    ffi::{CString, c_char},
    io::Read,
    mem::offset_of,
    path::Path,
    sync::{Arc, Mutex},
};

use camscope_plugin::{
    COLORMAP, GRADIENT_RULE, LAYER_RESOLVER, METHOD,
    abi::{CAMSCOPE_ABI_MAJOR, CAMSCOPE_ABI_MINOR, CAMSCOPE_MAGIC, CamscopePlugin},
};

use crate::{
    adapt::{Plugin, called},
    colormap::{self, Colormap},
    contents::{About, Contents},
    method::{self, Method},
    raw,
    resolver::{self, Resolver},
    rule::{self, Rule},
};

/// Magic, version and size: what stands at the same place in every version of the interface.
const HEAD: usize = offset_of!(CamscopePlugin, reserved);

/// A library that is one of a plugin of an interface that this host takes. It stays loaded for good.
pub(crate) struct Library {
    pub(crate) about: About,
    plugin: CamscopePlugin,
}

/// What a plugin has.
pub(crate) struct Items {
    pub(crate) colormaps: Vec<Colormap>,
    pub(crate) resolvers: Vec<Resolver>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) methods: Vec<Method>,
}

impl Items {
    /// Their names.
    pub(crate) fn contents(&self) -> Contents {
        Contents {
            colormaps: self.colormaps.iter().map(|map| map.name.clone()).collect(),
            resolvers: self.resolvers.iter().map(|resolver| resolver.name.clone()).collect(),
            rules: self.rules.iter().map(Rule::title).collect(),
            methods: self.methods.iter().map(|method| method.name.clone()).collect(),
        }
    }
}

impl Library {
    /// Loads the library and reads the struct that it exports. `seen` is told name and version as soon as they are read.
    ///
    /// # Errors
    /// It is no library for this machine, exports no such struct, or is for another interface.
    pub(crate) fn open(path: &Path, seen: &mut dyn FnMut(&About)) -> Result<Self, String> {
        right_machine(path)?;
        let library = load(path).map_err(|error| words(&error, path))?;
        // SAFETY: the symbol is only asked for its address.
        let symbol = unsafe { library.get::<*const CamscopePlugin>(b"camscope_plugin\0") };
        // SAFETY: the address is used as long as the library is loaded: for good, see below.
        let symbol = symbol.map(|symbol| unsafe { symbol.try_as_raw_ptr() }.unwrap_or(std::ptr::null_mut()));
        // What it holds may be used as long as the process runs.
        std::mem::forget(library);
        let exported: *const CamscopePlugin = match symbol {
            Ok(address) if !address.is_null() => address.cast_const().cast(),
            _ => return Err("it exports no `camscope_plugin`: it is not a camscope plugin".to_owned()),
        };
        // SAFETY: a symbol of that name is taken to be the struct; a child process was the first to do so.
        unsafe { Self::read(exported, seen) }
    }

    unsafe fn read(exported: *const CamscopePlugin, seen: &mut dyn FnMut(&About)) -> Result<Self, String> {
        if !exported.is_aligned() {
            return Err("its `camscope_plugin` is at an odd address".to_owned());
        }
        // SAFETY: these fields are there in every version of the interface, up to `HEAD`.
        let (magic, abi, size) = unsafe {
            let at = exported;
            ((*at).magic, ((*at).abi_major, (*at).abi_minor), (*at).struct_size as usize)
        };
        if magic != CAMSCOPE_MAGIC {
            return Err("its `camscope_plugin` doesn't begin with CAMSCOPE_MAGIC".to_owned());
        }
        let mut about = About { name: String::new(), version: String::new(), abi };
        let names_end = offset_of!(CamscopePlugin, init);
        let names = if size >= names_end.max(HEAD) {
            // SAFETY: the struct reaches beyond both.
            unsafe {
                let name = raw::name((*exported).name, "name", true);
                let version = raw::text((*exported).version, "version");
                name.and_then(|name| Ok((name, version?)))
            }
        } else {
            Err(String::new())
        };
        if let Ok((name, version)) = &names {
            (about.name, about.version) = (name.clone(), version.clone());
        }
        seen(&about);
        let (major, minor) = abi;
        if major != CAMSCOPE_ABI_MAJOR || minor > CAMSCOPE_ABI_MINOR {
            return Err(format!("it is for another plugin ABI, {major}.{minor}"));
        }
        // SAFETY: as the caller promises.
        let plugin = unsafe { raw::copy_at(exported, offset_of!(CamscopePlugin, struct_size), "`camscope_plugin`") }?;
        names?;
        if about.version.trim().is_empty() {
            return Err("its version is empty".to_owned());
        }
        if plugin.get_factory.is_none() {
            return Err("it has no function `get_factory`".to_owned());
        }
        Ok(Self { about, plugin })
    }

    /// Has the plugin start.
    ///
    /// # Errors
    /// What it says to be wrong.
    pub(crate) fn init(&self) -> Result<(), String> {
        let Some(init) = self.plugin.init else { return Ok(()) };
        // SAFETY: the host that `called` makes is valid during the call.
        called(|host| unsafe { init(host) }).map_err(|reason| format!("its `init` fails: {reason}"))
    }

    /// Has the plugin end: nothing of it may be called any more.
    pub(crate) fn deinit(&self) {
        if let Some(deinit) = self.plugin.deinit {
            // SAFETY: the contract lets it be called on this thread.
            unsafe { deinit() };
        }
    }

    /// Everything that the plugin has.
    ///
    /// # Errors
    /// Something is not as the contract says, or it has nothing.
    pub(crate) fn items(&self) -> Result<Items, String> {
        let plugin = Arc::new(Plugin { name: self.about.name.clone(), calls: Mutex::default() });
        let factory = |id: &str| {
            let id = CString::new(id).unwrap_or_default();
            let id: *const c_char = id.as_ptr();
            // SAFETY: the id is a string that ends with a zero byte.
            self.plugin.get_factory.map_or(std::ptr::null(), |get| unsafe { get(id) })
        };
        // SAFETY: the contract says what the factories of these ids are, and that they stay.
        let items = unsafe {
            Items {
                colormaps: colormap::read(factory(COLORMAP).cast(), &plugin)?,
                resolvers: resolver::read(factory(LAYER_RESOLVER).cast(), &plugin)?,
                rules: rule::read(factory(GRADIENT_RULE).cast(), &plugin)?,
                methods: method::read(factory(METHOD).cast(), &plugin)?,
            }
        };
        if items.contents().items().is_empty() {
            return Err("it has no colormap, layer resolver, gradient rule or method".to_owned());
        }
        Ok(items)
    }
}

#[cfg(unix)]
fn load(path: &Path) -> Result<libloading::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: whether the library's initialisers do harm was tried in a child process.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(Into::into)
}

#[cfg(not(unix))]
fn load(path: &Path) -> Result<libloading::Library, libloading::Error> {
    // SAFETY: whether the library's initialisers do harm was tried in a child process.
    unsafe { libloading::Library::new(path) }
}

/// Refuses an ELF file for another machine: the loader's words for that are that there is no such file.
fn right_machine(path: &Path) -> Result<(), String> {
    let mine: Option<u16> = match std::env::consts::ARCH {
        "x86_64" => Some(62),
        "aarch64" => Some(183),
        "riscv64" => Some(243),
        _ => None,
    };
    let mut head = [0; 20];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    let machine = u16::from_le_bytes([head[18], head[19]]);
    match mine {
        Some(mine) if read.is_ok() && head.starts_with(b"\x7fELF") && machine != mine => {
            Err(format!("it is for another processor (ELF machine {machine})"))
        }
        _ => Ok(()),
    }
}

/// The loader's words without the path, which the message has anyway (and which is that of a copy).
fn words(error: &libloading::Error, path: &Path) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let (path, text) = (path.to_string_lossy(), cause.unwrap_or_else(|| error.to_string()));
    let text = text.replace(&format!("{path}: "), "").replace(&*path, "it");
    format!("it cannot be loaded: {text}")
}
