//! From a heatmap at a layer's resolution to an image over the photo.

mod blend;
mod colormap;
mod concepts;
mod curve;
mod enlarge;
mod grow;
mod marks;
mod sheet;
mod slices;
mod smooth;

pub use blend::{DEFAULT_ALPHA, DIMMED, normalise, normalise_signed, render};
pub use colormap::{Colormap, Kind, add, all, by_name, diverging};
pub use concepts::{hues, render_concepts, with_legend};
pub use curve::curve;
pub use enlarge::{enlarge, heat_on_photo};
pub use grow::grow;
pub use marks::{Mark, draw_marks, draw_text, text_size};
pub use sheet::{Cell, sheet, shrunk};
pub use slices::slices;
pub use smooth::{Enlarge, bicubic, heat_at, heat_enlarged, render_enlarged};
