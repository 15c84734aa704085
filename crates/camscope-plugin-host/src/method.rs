//! Plugins' methods as the core's: the function is asked for when the plugin is loaded, checked, and kept.

use std::sync::Arc;

use camscope_core::method::{self, ForeignCam};
use camscope_plugin::abi::{
    CAMSCOPE_METHOD_KEEPS_PLACES, CamscopeBytesSink, CamscopeHost, CamscopeMethod, CamscopeMethodFactory,
};

use crate::{adapt::Plugin, raw, sink};

/// A method of a plugin.
pub(crate) struct Method {
    pub(crate) name: String,
    about: String,
    keeps_places: bool,
    plugin: Arc<Plugin>,
    item: *const CamscopeMethod,
    build: unsafe extern "C" fn(*const CamscopeMethod, *const CamscopeHost, *const CamscopeBytesSink) -> i32,
}

/// The methods of a factory.
///
/// # Safety
/// The factory is null or keeps to the contract.
pub(crate) unsafe fn read(factory: *const CamscopeMethodFactory, plugin: &Arc<Plugin>) -> Result<Vec<Method>, String> {
    if factory.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: as the caller promises, here and below.
    let factory = unsafe { raw::copy(factory, "method factory") }?;
    let items = unsafe { raw::items(factory.items, factory.count, "method") }?;
    let one = |item: *const CamscopeMethod| {
        let read = unsafe { raw::copy(item, "method") }?;
        let name = unsafe { raw::name(read.name, "method's name", true) }?;
        let about = unsafe { raw::line(read.about, &format!("method `{name}`'s line about it")) }?;
        if read.flags & !CAMSCOPE_METHOD_KEEPS_PLACES != 0 {
            return Err(format!("its method `{name}` has flags {:#x}, which there aren't", read.flags));
        }
        let build = read.build.ok_or_else(|| format!("its method `{name}` has no function `build`"))?;
        if name == "all" {
            return Err("its method cannot be called `all`, which means every method".to_owned());
        }
        if method::is_reserved(&name) {
            return Err(format!("its method `{name}` is the name of a built-in one"));
        }
        let other = method::all().into_iter().find(|known| known.name() == name).and_then(|known| known.plugin());
        if let Some(other) = other.filter(|other| *other != plugin.name) {
            return Err(format!("its method `{name}` is the name of one of plugin `{other}`"));
        }
        let keeps_places = read.flags & CAMSCOPE_METHOD_KEEPS_PLACES != 0;
        Ok(Method { name, about, keeps_places, plugin: Arc::clone(plugin), item, build })
    };
    let all = items.into_iter().map(one).collect::<Result<Vec<_>, String>>()?;
    match all.iter().enumerate().find(|(at, method)| all[..*at].iter().any(|other| other.name == method.name)) {
        Some((_, twice)) => Err(format!("it has two methods `{}`", twice.name)),
        None => Ok(all),
    }
}

impl Method {
    /// The core's method, its function checked but not run.
    pub(crate) fn cam(&self) -> Result<ForeignCam, String> {
        // SAFETY: the item stays as long as the process runs, and host and sink are valid during the call.
        let function = sink::function(&self.plugin, |host, sink| unsafe { (self.build)(self.item, host, sink) });
        let about = (self.name.as_str(), self.about.as_str());
        function
            .and_then(|function| ForeignCam::new(about, &self.plugin.name, self.keeps_places, function))
            .map_err(|reason| self.refused(&reason))
    }

    /// The error of this method.
    pub(crate) fn refused(&self, reason: &str) -> String {
        format!("method `{}`: {reason}", self.name)
    }
}
