//! `--view`: what of the explorer a picture shows.

use camscope_tui::{action::View, compare::With, state::Zoom};
use clap::Args;

/// A view of the explorer instead of plain overlays.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ViewArgs {
    /// Draw a view of the explorer, as its key y copies it: overlay, heatmap, photo, side-by-side, sweep (a picture for each --layer), classes
    /// (one for each --class), contrast (the first --class, the second, and their difference), compare and difference (with --against); one picture
    /// for each photo
    #[arg(
        long,
        value_name = "VIEW",
        value_parser = view,
        conflicts_with_all = ["json", "raw", "tensor", "smooth", "batch", "fuse", "layout", "sign", "seed", "sheet", "report", "resume"]
    )]
    pub(crate) view: Option<View>,
    /// Draw only a part of the photo: how much larger it is seen, and the part's middle as fractions of the photo
    #[arg(long, value_name = "FACTOR,X,Y", requires = "view", value_parser = zoom)]
    pub(crate) zoom: Option<Zoom>,
    /// What the views compare and difference compare with: a second model (an .onnx file), another photo, or the name of a method
    #[arg(long, value_name = "WITH", requires = "view")]
    pub(crate) against: Option<With>,
    /// Scale each of two heatmaps that are compared by its own maximum, instead of both by the larger one
    #[arg(long, requires = "against")]
    pub(crate) own_scale: bool,
}

fn view(text: &str) -> Result<View, String> {
    match text.parse()? {
        View::Photos => Err("this view is of many photos: camscope explain --sheet draws it".into()),
        view => Ok(view),
    }
}

fn zoom(text: &str) -> Result<Zoom, String> {
    let numbers: Vec<f32> = text.split(',').map_while(|number| number.trim().parse().ok()).collect();
    match numbers[..] {
        [factor, x, y]
            if factor >= 1.0 && factor.is_finite() && (0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y) =>
        {
            Ok(Zoom { factor, centre: (x, y) })
        }
        _ => Err("it must be a factor of at least 1 and two fractions, as 2,0.5,0.5".into()),
    }
}
