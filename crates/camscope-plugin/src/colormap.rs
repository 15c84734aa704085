//! Colormaps: from heat to colours.

use crate::{
    abi::{
        CAMSCOPE_CYCLIC, CAMSCOPE_DIVERGING, CAMSCOPE_SEQUENTIAL, CamscopeColormap, CamscopeColormapFactory,
        CamscopeHost,
    },
    boundary::{c_text, guarded, leak},
};

/// What the order of a colormap's colours means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From low to high.
    Sequential,
    /// From a neutral middle to both sides.
    Diverging,
    /// The end meets the beginning.
    Cyclic,
}

/// A colormap.
pub trait Colormap: Send + Sync + 'static {
    /// What `--colormap` takes: a to z, 0 to 9 and `_`.
    fn name(&self) -> &str;
    /// What the order of the colours means.
    fn kind(&self) -> Kind;
    /// The colour of a heat from 0 to 1: red, green and blue in sRGB, each from 0 to 1.
    fn colour(&self, heat: f32) -> [f32; 3];
}

/// The factory of these colormaps.
#[doc(hidden)]
pub fn export(colormaps: Vec<Box<dyn Colormap>>) -> CamscopeColormapFactory {
    let item = |colormap: Box<dyn Colormap>| CamscopeColormap {
        struct_size: size_of::<CamscopeColormap>() as u32,
        kind: match colormap.kind() {
            Kind::Sequential => CAMSCOPE_SEQUENTIAL,
            Kind::Diverging => CAMSCOPE_DIVERGING,
            Kind::Cyclic => CAMSCOPE_CYCLIC,
        },
        name: c_text(colormap.name()),
        data: Box::into_raw(Box::new(colormap)).cast(),
        fill: Some(fill),
    };
    let (count, items) = leak(colormaps.into_iter().map(item).collect());
    CamscopeColormapFactory { struct_size: size_of::<CamscopeColormapFactory>() as u32, count, items }
}

unsafe extern "C" fn fill(
    item: *const CamscopeColormap,
    host: *const CamscopeHost,
    count: usize,
    rgb: *mut f32,
) -> i32 {
    guarded(host, || {
        // SAFETY: `item` is one of `export`, whose data is a boxed trait object that is never freed.
        let colormap = unsafe { &*(*item).data.cast::<Box<dyn Colormap>>() };
        // SAFETY: the host gives room for 3 × count numbers, all written before.
        let rgb = unsafe { std::slice::from_raw_parts_mut(rgb, 3 * count) };
        for (at, colour) in rgb.chunks_exact_mut(3).enumerate() {
            colour.copy_from_slice(&colormap.colour(at as f32 / (count.max(2) - 1) as f32));
        }
        Ok(())
    })
}
