//! Plugins' colormaps as the core's: the table is filled when the plugin is loaded, checked, and kept.

use std::sync::Arc;

use camscope_core::overlay::{self, Kind};
use camscope_plugin::abi::{
    CAMSCOPE_CYCLIC, CAMSCOPE_DIVERGING, CAMSCOPE_SEQUENTIAL, CamscopeColormap, CamscopeColormapFactory,
};

use crate::{adapt::Plugin, raw};

/// Numbers behind the table that a plugin must leave alone.
const GUARD: usize = 16;

/// A colormap of a plugin.
pub(crate) struct Colormap {
    pub(crate) name: String,
    kind: Kind,
    plugin: Arc<Plugin>,
    item: *const CamscopeColormap,
    fill: unsafe extern "C" fn(
        *const CamscopeColormap,
        *const camscope_plugin::abi::CamscopeHost,
        usize,
        *mut f32,
    ) -> i32,
}

/// The colormaps of a factory.
///
/// # Safety
/// The factory is null or keeps to the contract.
pub(crate) unsafe fn read(
    factory: *const CamscopeColormapFactory,
    plugin: &Arc<Plugin>,
) -> Result<Vec<Colormap>, String> {
    if factory.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: as the caller promises, here and below.
    let factory = unsafe { raw::copy(factory, "colormap factory") }?;
    let items = unsafe { raw::items(factory.items, factory.count, "colormap") }?;
    let one = |item: *const CamscopeColormap| {
        let read = unsafe { raw::copy(item, "colormap") }?;
        let name = unsafe { raw::name(read.name, "colormap's name", false) }?;
        let kind = match read.kind {
            CAMSCOPE_SEQUENTIAL => Kind::Sequential,
            CAMSCOPE_DIVERGING => Kind::Diverging,
            CAMSCOPE_CYCLIC => Kind::Cyclic,
            other => return Err(format!("colormap `{name}` is of kind {other}, which there isn't")),
        };
        let fill = read.fill.ok_or_else(|| format!("colormap `{name}` has no function `fill`"))?;
        match overlay::all().find(|map| map.name() == name).map(|map| map.plugin().map(str::to_owned)) {
            Some(None) => return Err(format!("its colormap `{name}` is the name of a built-in one")),
            Some(Some(other)) if other != plugin.name => {
                return Err(format!("its colormap `{name}` is the name of one of plugin `{other}`"));
            }
            _ => {}
        }
        Ok(Colormap { name, kind, plugin: Arc::clone(plugin), item, fill })
    };
    let all = items.into_iter().map(one).collect::<Result<Vec<_>, String>>()?;
    match all.iter().enumerate().find(|(at, map)| all[..*at].iter().any(|other| other.name == map.name)) {
        Some((_, twice)) => Err(format!("it has two colormaps `{}`", twice.name)),
        None => Ok(all),
    }
}

impl Colormap {
    /// A table of `count` colours, checked.
    pub(crate) fn fill(&self, count: usize) -> Result<Vec<[u8; 3]>, String> {
        let refused = |reason: String| format!("colormap `{}`: {reason}", self.name);
        let guard = f32::from_bits(0x7fc0_1234);
        let mut rgb = vec![guard; 3 * count + GUARD];
        // SAFETY: the item stays as long as the process runs, and there is more room than is said.
        let filled = self.plugin.call(|host| unsafe { (self.fill)(self.item, host, count, rgb.as_mut_ptr()) });
        filled.map_err(refused)?;
        if rgb[3 * count..].iter().any(|number| number.to_bits() != guard.to_bits()) {
            return Err(refused(format!("it writes beyond its {count} colours")));
        }
        let wrong = rgb[..3 * count].iter().position(|number| !(0.0..=1.0).contains(number));
        if let Some(at) = wrong {
            let (colour, number) = (at / 3, rgb[at]);
            let what = if number.to_bits() == guard.to_bits() { "left out".to_owned() } else { number.to_string() };
            return Err(refused(format!("colour {colour} of {count} is {what}, not from 0 to 1")));
        }
        let byte = |number: f32| (number * 255.0).round() as u8;
        Ok(rgb[..3 * count].chunks_exact(3).map(|c| [byte(c[0]), byte(c[1]), byte(c[2])]).collect())
    }

    /// The core's colormap, for as long as the process runs.
    pub(crate) fn table(&self) -> Result<&'static dyn overlay::Colormap, String> {
        let filled = self.fill(256)?;
        let table = std::array::from_fn(|at| filled[at]);
        let (name, plugin) = (self.name.clone(), self.plugin.name.clone());
        Ok(Box::leak(Box::new(Table { name, plugin, kind: self.kind, table })))
    }
}

struct Table {
    name: String,
    plugin: String,
    kind: Kind,
    table: [[u8; 3]; 256],
}

impl overlay::Colormap for Table {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn table(&self) -> [[u8; 3]; 256] {
        self.table
    }

    fn plugin(&self) -> Option<&str> {
        Some(&self.plugin)
    }
}
