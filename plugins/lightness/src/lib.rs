//! Two colormaps whose lightness rises evenly: what looks twice as bright is twice as hot, in colour, in grey and to colour-blind eyes.
//!
//! Colours are chosen in Oklab, where equal steps look equal, and turned into sRGB.

use camscope_plugin::{Colormap, Kind, export_plugin};

/// From black over a hue to white.
struct Even {
    name: &'static str,
    /// Hue at no heat and at all heat, in turns.
    hues: [f32; 2],
    /// Colourfulness in the middle.
    chroma: f32,
}

impl Colormap for Even {
    fn name(&self) -> &str {
        self.name
    }

    fn kind(&self) -> Kind {
        Kind::Sequential
    }

    fn colour(&self, heat: f32) -> [f32; 3] {
        let hue = self.hues[0] + (self.hues[1] - self.hues[0]) * heat;
        let lightness = 0.12 + 0.84 * heat;
        // Black and white have no colour, and where a colour doesn't exist, a paler one of the same lightness does.
        let mut chroma = self.chroma * (4.0 * heat * (1.0 - heat)).sqrt();
        loop {
            let rgb = oklab(lightness, chroma, hue);
            if chroma < 1e-3 || rgb.iter().all(|channel| (0.0..=1.0).contains(channel)) {
                return rgb.map(|channel| channel.clamp(0.0, 1.0));
            }
            chroma *= 0.97;
        }
    }
}

/// Lightness, chroma and hue (in turns) as sRGB, which may lie outside of 0 to 1.
fn oklab(lightness: f32, chroma: f32, hue: f32) -> [f32; 3] {
    let (sin, cos) = (hue * std::f32::consts::TAU).sin_cos();
    let (a, b) = (chroma * cos, chroma * sin);
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    let linear = [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ];
    linear.map(|value| match value {
        value if value <= 0.003_130_8 => 12.92 * value,
        value => 1.055 * value.powf(1.0 / 2.4) - 0.055,
    })
}

export_plugin! {
    colormaps: [
        Even { name: "even_fire", hues: [0.06, 0.28], chroma: 0.19 },
        Even { name: "even_sea", hues: [0.78, 0.5], chroma: 0.15 },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lightness_rises_evenly() {
        let map = Even { name: "even_fire", hues: [0.06, 0.28], chroma: 0.19 };
        let luma = |[r, g, b]: [f32; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let steps: Vec<f32> = (0..=32).map(|at| luma(map.colour(at as f32 / 32.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    }
}
