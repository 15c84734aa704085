//! Curves as pictures. No font is needed: an SVG's viewer has its own, and a PNG's letters are those of overlays.

use std::{error::Error as StdError, path::Path};

use camscope_core::{Result, image::write_png, overlay, text::printable};
use image::{Rgb, RgbImage};
use plotters::prelude::{
    BLACK, ChartBuilder, Color, DrawingBackend, IntoDrawingArea, LineSeries, PathElement, RGBColor, SVGBackend,
    SeriesLabelPosition, WHITE,
};
use plotters_backend::{
    BackendColor, BackendCoord, BackendTextStyle, DrawingErrorKind,
    text_anchor::{HPos, VPos},
};

use crate::{
    report::Chart,
    setup::failed,
    whole::{put, unfinished},
};

/// A line of a plot.
struct Line {
    /// What stands in the legend.
    name: String,
    points: Vec<(f64, f64)>,
}

/// What stands below a plot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Below {
    /// Shares, from 0 to 1.
    Shares,
    /// Numbers, from 0 to the largest.
    Numbers,
}

const SIZE: (u32, u32) = (800, 500);

/// Colours that most people can tell apart: Okabe and Ito's colours.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// Writes a chart as `NAME.png` and `NAME.svg`.
///
/// # Errors
/// They cannot be written.
pub(crate) fn write(folder: &Path, name: &str, chart: &Chart, below: Below) -> Result<()> {
    let line = |(name, points): &(String, Vec<[f64; 2]>)| Line {
        name: printable(name).into_owned(),
        points: points.iter().map(|[x, y]| (*x, *y)).collect(),
    };
    let lines: Vec<Line> = chart.curves.iter().map(line).collect();
    let (lines, about) = (lines.as_slice(), (chart.title.as_str(), chart.x.as_str(), below));
    let problem = |path: &Path, error: &dyn StdError| failed("draw", path, std::io::Error::other(error.to_string()));
    let path = folder.join(format!("{name}.svg"));
    let mut svg = String::new();
    draw(SVGBackend::with_string(&mut svg, SIZE), about, lines).map_err(|error| problem(&path, &*error))?;
    put(&path, svg.as_bytes(), &unfinished(None)).map_err(|source| failed("write", &path, source))?;
    let path = folder.join(format!("{name}.png"));
    let mut picture = RgbImage::from_pixel(SIZE.0, SIZE.1, Rgb([255; 3]));
    draw(Raster(&mut picture), about, lines).map_err(|error| problem(&path, &*error))?;
    let mut bytes = Vec::new();
    write_png(&picture, &mut bytes)
        .and_then(|()| put(&path, &bytes, &unfinished(None)))
        .map_err(|source| failed("write", &path, source))
}

fn draw<B: DrawingBackend>(
    backend: B,
    (title, below, kind): (&str, &str, Below),
    lines: &[Line],
) -> Result<(), Box<dyn StdError>>
where
    B::ErrorType: 'static,
{
    let plain = |error: plotters::drawing::DrawingAreaErrorKind<B::ErrorType>| -> Box<dyn StdError> {
        error.to_string().into()
    };
    let area = backend.into_drawing_area();
    area.fill(&WHITE).map_err(plain)?;
    let values = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    let (low, high) = values.fold((0.0f64, f64::MIN_POSITIVE), |(low, high), value| (low.min(value), high.max(value)));
    let places = lines.iter().flat_map(|line| line.points.iter().map(|(place, _)| *place));
    let end = if kind == Below::Shares { 1.0 } else { places.fold(1.0, f64::max) };
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end, low..high * 1.05)
        .map_err(plain)?;
    chart
        .configure_mesh()
        .x_desc(below)
        .label_style(("sans-serif", 14))
        .x_label_formatter(&|place| match kind {
            Below::Shares => format!("{:.0} %", 100.0 * place),
            Below::Numbers => format!("{place:.0}"),
        })
        .draw()
        .map_err(plain)?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))
            .map_err(plain)?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()
        .map_err(plain)?;
    area.present().map_err(plain)
}

/// A picture that plots are drawn on, pixel by pixel, with the letters of overlays.
struct Raster<'a>(&'a mut RgbImage);

impl DrawingBackend for Raster<'_> {
    type ErrorType = std::convert::Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.0.dimensions()
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        Ok(())
    }

    fn draw_pixel(
        &mut self,
        (x, y): BackendCoord,
        colour: BackendColor,
    ) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        let place = u32::try_from(x).ok().zip(u32::try_from(y).ok());
        if let Some(pixel) = place.and_then(|(x, y)| self.0.get_pixel_mut_checked(x, y)) {
            let (red, green, blue) = colour.rgb;
            for (own, new) in pixel.0.iter_mut().zip([red, green, blue]) {
                *own = (f64::from(*own) * (1.0 - colour.alpha) + f64::from(new) * colour.alpha).round() as u8;
            }
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        let [width, height] = size(text, style.size()).map(|side| side as i32);
        let x = match style.anchor().h_pos {
            HPos::Left => x,
            HPos::Center => x - width / 2,
            HPos::Right => x - width,
        };
        let y = match style.anchor().v_pos {
            VPos::Top => y,
            VPos::Center => y - height / 2,
            VPos::Bottom => y - height,
        };
        let (red, green, blue) = style.color().rgb;
        overlay::draw_text(self.0, text, (x.into(), y.into()), scale(style.size()), [red, green, blue]);
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Self::ErrorType>> {
        let [width, height] = size(text, style.size());
        Ok((width, height))
    }
}

fn size(text: &str, points: f64) -> [u32; 2] {
    overlay::text_size(text, scale(points))
}

/// Letters are of ten pixels, or of twice as many.
fn scale(points: f64) -> u32 {
    if points >= 18.0 { 2 } else { 1 }
}
