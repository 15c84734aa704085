//! A colormap for camscope. `cargo build --release` makes the library; put it into ~/.local/share/camscope/plugins.

use camscope_plugin::{Colormap, Kind, export_plugin};

struct Mine;

impl Colormap for Mine {
    fn name(&self) -> &str {
        "COLORMAP"
    }

    fn kind(&self) -> Kind {
        Kind::Sequential
    }

    /// Red, green and blue, each from 0 to 1, of a heat from 0 to 1.
    fn colour(&self, heat: f32) -> [f32; 3] {
        [heat.sqrt(), heat, heat * heat]
    }
}

export_plugin! { colormaps: [Mine] }
