//! Write a plugin for camscope: implement a trait, and export it from a shared library with a macro.
//!
//! ```
//! use camscope_plugin::{Colormap, Kind, export_plugin};
//!
//! /// Black to white through red.
//! struct Ember;
//!
//! impl Colormap for Ember {
//!     fn name(&self) -> &str {
//!         "ember"
//!     }
//!     fn kind(&self) -> Kind {
//!         Kind::Sequential
//!     }
//!     fn colour(&self, heat: f32) -> [f32; 3] {
//!         [heat.sqrt(), heat, heat * heat]
//!     }
//! }
//!
//! export_plugin! { colormaps: [Ember] }
//! # fn main() {}
//! ```
//!
//! The crate of a plugin is a `cdylib`. `camscope plugin new --lang rust NAME` creates one, `camscope plugin check PATH` tests it. The traits
//! are safe: a panic becomes an error of the call that it happens in.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod abi;
mod boundary;
mod colormap;
mod gradient;
mod method;
pub mod onnx;
mod resolver;

pub use colormap::{Colormap, Kind};
pub use gradient::{GradientRule, Node, ValueType};
pub use method::Method;
pub use resolver::{Layer, LayerResolver, Layout, Model, Preference};

/// The id of the colormap capability.
pub const COLORMAP: &str = "camscope.colormap/1";
/// The id of the layer resolver capability.
pub const LAYER_RESOLVER: &str = "camscope.layer-resolver/1";
/// The id of the gradient rule capability.
pub const GRADIENT_RULE: &str = "camscope.gradient-rule/1";

/// The id of the method capability.
pub const METHOD: &str = "camscope.method/1";

/// The C header of the interface, `camscope_plugin.h`, which plugins in C include.
pub const HEADER: &str = include_str!("../include/camscope_plugin.h");

/// Used by the macro only.
#[doc(hidden)]
pub mod internal {
    pub use crate::{
        boundary::{factory, guarded_factory},
        colormap::export as colormap,
        gradient::export as gradient_rule,
        method::export as method,
        resolver::export as resolver,
    };
}

/// Exports a plugin: lists of values that implement [`Colormap`], [`LayerResolver`], [`GradientRule`] and [`Method`], in this order; each
/// list is optional. The plugin has the crate's name and version.
///
/// ```ignore
/// export_plugin! { colormaps: [Ember, Ice], resolvers: [Yolo], rules: [Squareplus], methods: [NormGrad] }
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($(colormaps: [$($colormap:expr),* $(,)?])? $(,)? $(resolvers: [$($resolver:expr),* $(,)?])? $(,)?
     $(rules: [$($rule:expr),* $(,)?])? $(,)? $(methods: [$($method:expr),* $(,)?])? $(,)?) => {
        const _: () = {
            unsafe extern "C" fn get_factory(id: *const ::std::ffi::c_char) -> *const ::std::ffi::c_void {
                use ::std::sync::OnceLock;
                use $crate::{abi, internal};
                #[allow(unused)]
                static COLORMAPS: OnceLock<abi::CamscopeColormapFactory> = OnceLock::new();
                #[allow(unused)]
                static RESOLVERS: OnceLock<abi::CamscopeLayerResolverFactory> = OnceLock::new();
                #[allow(unused)]
                static RULES: OnceLock<abi::CamscopeGradientRuleFactory> = OnceLock::new();
                #[allow(unused)]
                static METHODS: OnceLock<abi::CamscopeMethodFactory> = OnceLock::new();
                let find = |id: &str| {
                    $(if id == $crate::COLORMAP {
                        return internal::factory(&COLORMAPS, || internal::colormap(vec![$(Box::new($colormap)),*]));
                    })?
                    $(if id == $crate::LAYER_RESOLVER {
                        return internal::factory(&RESOLVERS, || internal::resolver(vec![$(Box::new($resolver)),*]));
                    })?
                    $(if id == $crate::GRADIENT_RULE {
                        return internal::factory(&RULES, || internal::gradient_rule(vec![$(Box::new($rule)),*]));
                    })?
                    $(if id == $crate::METHOD {
                        return internal::factory(&METHODS, || internal::method(vec![$(Box::new($method)),*]));
                    })?
                    let _ = id;
                    ::std::ptr::null()
                };
                // SAFETY: the host passes a string that ends with a zero byte.
                unsafe { internal::guarded_factory(id, find) }
            }

            #[allow(non_upper_case_globals)]
            #[unsafe(no_mangle)]
            pub static camscope_plugin: $crate::abi::CamscopePlugin = $crate::abi::CamscopePlugin {
                magic: $crate::abi::CAMSCOPE_MAGIC,
                abi_major: $crate::abi::CAMSCOPE_ABI_MAJOR,
                abi_minor: $crate::abi::CAMSCOPE_ABI_MINOR,
                struct_size: ::std::mem::size_of::<$crate::abi::CamscopePlugin>() as u32,
                reserved: 0,
                name: concat!(env!("CARGO_PKG_NAME"), "\0").as_ptr().cast(),
                version: concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast(),
                init: None,
                deinit: None,
                get_factory: Some(get_factory),
            };
        };
    };
}
