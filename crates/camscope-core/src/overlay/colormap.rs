//! Colormaps: 256 colours each, by name. A new one is a row in [`BUILT_IN`]; plugins [`add`] theirs.

use std::sync::{OnceLock, PoisonError, RwLock};

use colorgrad::Gradient;

use crate::nearest::nearest;
use crate::{Error, Result};

/// What a colormap's order of colours means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// From little to much.
    Sequential,
    /// Away from a neutral middle, to both sides.
    Diverging,
    /// The end meets the beginning, as for angles.
    Cyclic,
}

/// A colormap: heat 0 to 1 as 256 colours.
pub trait Colormap: Send + Sync {
    /// The name that `--colormap` takes: lower case.
    fn name(&self) -> &str;
    /// What the order of its colours means.
    fn kind(&self) -> Kind;
    /// The colours as red, green, blue, from heat 0 to heat 1.
    fn table(&self) -> [[u8; 3]; 256];
    /// The plugin that it comes from; `None` for a built-in one.
    fn plugin(&self) -> Option<&str> {
        None
    }
}

/// Colormaps from elsewhere, in the order of their coming.
static ADDED: RwLock<Vec<&'static dyn Colormap>> = RwLock::new(Vec::new());

/// Adds a colormap to [`all`], at the end; one that was added before under the same name makes room for it in its place. A colormap
/// of the name of a built-in one is not taken: the answer says whether it was.
pub fn add(colormap: &'static dyn Colormap) -> bool {
    if BUILT_IN.iter().any(|map| map.name == colormap.name()) {
        return false;
    }
    let mut added = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    match added.iter_mut().find(|map| map.name() == colormap.name()) {
        Some(place) => *place = colormap,
        None => added.push(colormap),
    }
    true
}

/// Every colormap: those that camscope has built in, the default first, then those that were added.
pub fn all() -> impl Iterator<Item = &'static dyn Colormap> {
    let added = ADDED.read().unwrap_or_else(PoisonError::into_inner).clone();
    BUILT_IN.iter().map(|map| map as &dyn Colormap).chain(added)
}

/// The colormap called `name`, in whatever case.
///
/// # Errors
/// [`Error::UnknownColormap`] with all names there are, the nearest first.
pub fn by_name(name: &str) -> Result<&'static dyn Colormap> {
    let wanted = name.trim().to_lowercase().replace('-', "_");
    all().find(|map| map.name() == wanted || (wanted == "gray" && map.name() == "grey")).ok_or_else(|| {
        let mut names = nearest(name, all().map(|map| map.name()));
        let others: Vec<String> = all().map(|map| map.name().to_owned()).filter(|n| !names.contains(n)).collect();
        names.extend(others);
        Error::UnknownColormap { name: name.to_owned(), known: names }
    })
}

/// The colormap for heat of both signs: the one asked for, if its middle is neutral, else the first built-in one of the kind.
pub fn diverging(asked: &'static dyn Colormap) -> &'static dyn Colormap {
    if asked.kind() == Kind::Diverging {
        return asked;
    }
    BUILT_IN.iter().find(|map| map.kind == Kind::Diverging).map_or(asked, |map| map as &dyn Colormap)
}

struct BuiltIn {
    name: &'static str,
    kind: Kind,
    make: fn() -> [[u8; 3]; 256],
    made: OnceLock<[[u8; 3]; 256]>,
}

const fn row(name: &'static str, kind: Kind, make: fn() -> [[u8; 3]; 256]) -> BuiltIn {
    BuiltIn { name, kind, make, made: OnceLock::new() }
}

static BUILT_IN: [BuiltIn; 12] = [
    row("jet", Kind::Sequential, jet),
    row("turbo", Kind::Sequential, || sampled(&colorgrad::preset::turbo())),
    row("viridis", Kind::Sequential, || sampled(&colorgrad::preset::viridis())),
    row("magma", Kind::Sequential, || sampled(&colorgrad::preset::magma())),
    row("inferno", Kind::Sequential, || sampled(&colorgrad::preset::inferno())),
    row("plasma", Kind::Sequential, || sampled(&colorgrad::preset::plasma())),
    row("cividis", Kind::Sequential, || sampled(&colorgrad::preset::cividis())),
    row("grey", Kind::Sequential, || std::array::from_fn(|i| [i as u8; 3])),
    row("blue_red", Kind::Diverging, || reversed(sampled(&colorgrad::preset::rd_bu()))),
    row("purple_orange", Kind::Diverging, || reversed(sampled(&colorgrad::preset::pu_or()))),
    row("spectral", Kind::Diverging, || reversed(sampled(&colorgrad::preset::spectral()))),
    row("rainbow", Kind::Cyclic, || sampled(&colorgrad::preset::sinebow())),
];

impl Colormap for BuiltIn {
    fn name(&self) -> &str {
        self.name
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn table(&self) -> [[u8; 3]; 256] {
        *self.made.get_or_init(self.make)
    }
}

/// A gradient's colours at 256 even steps from 0 to 1.
fn sampled(gradient: &dyn Gradient) -> [[u8; 3]; 256] {
    std::array::from_fn(|i| {
        let [r, g, b, _] = gradient.at(i as f32 / 255.0).to_rgba8();
        [r, g, b]
    })
}

fn reversed(mut table: [[u8; 3]; 256]) -> [[u8; 3]; 256] {
    table.reverse();
    table
}

/// OpenCV's `COLORMAP_JET`, in red, green, blue. Each channel is a trapezium that climbs and falls by 4 levels a step; red
/// and blue are half a level beside the whole numbers, and OpenCV rounds halves to even.
fn jet() -> [[u8; 3]; 256] {
    let mut table = std::array::from_fn(|i| {
        let at = i as i32;
        let channel = |up: i32, down: i32| (4 * (at - up)).min(4 * (down - at)).clamp(0, 255) as u8;
        // 4 · (i - 96) + 1.5 for red, mirrored for blue: rounded to even 2 where i is 96, 6 where it is 97, …
        let red = if (96..160).contains(&at) { 4 * (at - 96) + 2 } else { 0 };
        let red = if at < 160 { red as u8 } else { channel(0, 287) };
        let blue = if (96..160).contains(&at) { 254 - 4 * (at - 96) } else { 0 };
        let blue = if at < 96 { (128 + 4 * at).min(255) as u8 } else { blue as u8 };
        [red, channel(32, 223), blue]
    });
    // Where blue is 1.5, OpenCV's constant is a little less in single precision.
    table[159][2] = 1;
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 256 lines `r g b`, recorded from OpenCV 5.0.0:
    /// `cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_JET)[..., ::-1]`
    const OPENCV_JET: &str = include_str!("opencv_jet.txt");

    #[test]
    fn jet_is_opencvs() {
        let recorded: Vec<Vec<u8>> =
            OPENCV_JET.lines().map(|line| line.split(' ').map(|n| n.parse().unwrap()).collect()).collect();
        let table = jet();
        assert_eq!(recorded.len(), 256);
        for (i, (ours, theirs)) in table.iter().zip(&recorded).enumerate() {
            assert_eq!(ours[..], theirs[..], "colour {i}");
        }
    }

    #[test]
    fn every_colormap_is_found_by_its_name_and_has_many_colours() {
        for map in all() {
            assert!(std::ptr::eq(by_name(map.name()).unwrap().name(), map.name()));
            let mut colours = map.table().to_vec();
            colours.sort_unstable();
            colours.dedup();
            assert!(colours.len() > 128, "{} has {} colours", map.name(), colours.len());
        }
        assert_eq!(by_name(" JET ").unwrap().name(), "jet");
        assert_eq!(by_name("gray").unwrap().name(), "grey");
    }

    #[test]
    fn well_known_ends() {
        let ends = |name: &str| {
            let table = by_name(name).unwrap().table();
            (table[0], table[255])
        };
        assert_eq!(ends("grey"), ([0; 3], [255; 3]));
        let (low, high) = ends("viridis");
        assert!(low[2] > low[1] && high[0] > 240 && high[1] > 220, "{low:?} {high:?}");
        let (cold, hot) = ends("blue_red");
        assert!(cold[2] > cold[0] && hot[0] > hot[2]);
        let rainbow = by_name("rainbow").unwrap().table();
        assert!(rainbow[0].iter().zip(rainbow[255]).all(|(a, b)| a.abs_diff(b) < 8));
    }

    #[test]
    fn an_unknown_name_offers_the_others() {
        match by_name("virdis").map(|m| m.name().to_owned()) {
            Err(Error::UnknownColormap { known, .. }) => {
                assert_eq!(known[0], "viridis");
                assert_eq!(known.len(), BUILT_IN.len());
            }
            other => panic!("{other:?}"),
        }
    }
}
