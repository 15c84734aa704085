//! Methods: from what the model does to a heatmap.
//!
//! There are two kinds. A [`Cam`] is an ONNX program over a layer's `activation` and `gradient`, both `[N, C, H, W]`, that yields
//! `heatmap`, `[N, H, W]`, before normalisation. The explorer runs the program as a session of its own; export splices the same program
//! into the model. A [`HostMethod`] is computed on the host: it runs the model on changed images, or takes a layer apart.
//!
//! A method is a file here and a row of [`METHODS`]; plugins [`add`] theirs.

mod ablation;
mod baseline;
mod cam;
mod deeplift;
mod finercam;
mod foreign;
mod fullgrad;
mod gradcam;
mod gradcam_elementwise;
mod gradcam_plus_plus;
mod guided;
mod guided_gradcam;
mod hirescam;
mod host;
mod in_blocks;
mod input_gradient;
mod layercam;
mod legrad;
mod occlusion;
mod parameters;
mod principal;
mod program;
mod random;
mod randomcam;
mod rise;
mod rollout;
mod score;
mod segments;
mod sess;
mod shapleycam;
mod sign;
mod smooth_gradcam;
mod xgradcam;

use std::path::Path;

use ndarray::{Array2, ArrayD, ArrayView3, Axis, concatenate};
use onnx_grad::{Builder, Val, attr};

pub(crate) use baseline::blurred;
pub use foreign::{ForeignCam, add, all, is_reserved, nth};
pub(crate) use gradcam::GradCam;
pub use host::{AttentionMap, Beside, Heat, HostMethod, Means, Needs, OfMeans, Seeds, Slopes, Trial, Weighted};
pub use parameters::{Parameter, Parameters};
pub(crate) use principal::along_component;
pub(crate) use program::{program, spliced, weighted_program};
pub(crate) use random::Random;
pub use sign::Sign;

use crate::{
    error::{Error, Result},
    nearest::nearest,
    numbers,
    target::TargetRef,
};

/// A way to weigh activations by gradients.
pub trait Cam: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What it computes and who proposed it, in one line.
    fn about(&self) -> &'static str;

    /// Whether all that it looks at of the gradient is its mean over height and width: then its program may get that, `[N, C, 1, 1]`.
    fn takes_mean(&self) -> bool {
        false
    }

    /// Whether heat at a place comes of the gradient at that place. One that averages gradients over all places loses what lies at one of
    /// them: a box, a pixel, a character.
    fn keeps_places(&self) -> bool {
        false
    }

    /// The plugin that it comes from; `None` for a built-in one.
    fn plugin(&self) -> Option<&str> {
        None
    }

    /// Emits what the heatmap is the sum of over the channels, `[N, C, H, W]`, for smoothing by its first principal component; `None`: it is
    /// no such sum.
    fn weighted(&self, _: &mut Builder, _activation: &Val, _gradient: &Val) -> Option<Val> {
        None
    }

    /// Emits the program: the heatmap `[N, H, W]`, positive where there is evidence, from float32 `[N, C, H, W]` values.
    fn build(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Val;
}

/// A method.
#[derive(Clone, Copy)]
pub enum Method {
    /// A program over activation and gradient.
    Cam(&'static dyn Cam),
    /// Computed on the host.
    Host(&'static dyn HostMethod),
}

impl Method {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cam(method) => method.name(),
            Self::Host(method) => method.name(),
        }
    }

    /// What it computes and who proposed it, in one line.
    pub fn about(self) -> &'static str {
        match self {
            Self::Cam(method) => method.about(),
            Self::Host(method) => method.about(),
        }
    }

    /// The plugin that it comes from; `None` for a built-in one.
    pub fn plugin(self) -> Option<&'static str> {
        match self {
            Self::Cam(method) => method.plugin(),
            Self::Host(_) => None,
        }
    }

    /// What can be set, with the defaults.
    pub fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Cam(_) => &[],
            Self::Host(method) => method.parameters(),
        }
    }

    /// What it looks at.
    pub fn needs(self) -> Needs {
        match self {
            Self::Cam(_) => Needs { layer: true, gradient: true, ..Needs::default() },
            Self::Host(method) => method.needs(),
        }
    }

    /// Whether it looks at gradients.
    pub fn needs_gradients(self) -> bool {
        let needs = self.needs();
        needs.gradient || needs.slope || needs.biases || needs.blocks
    }

    /// Whether heat at a place comes of what is at that place, and not of a mean over all places.
    pub fn keeps_places(self) -> bool {
        match self {
            Self::Cam(method) => method.keeps_places(),
            Self::Host(method) => method.keeps_places(),
        }
    }

    /// Whether its heat is a sum of weighted feature maps, whose first principal component can stand in its place.
    pub fn weighs_channels(self) -> bool {
        match self {
            Self::Cam(method) => {
                let mut g = Builder::new();
                let [activation, gradient] = ["activation", "gradient"].map(|name| g.input(name));
                method.weighted(&mut g, &activation, &gradient).is_some()
            }
            Self::Host(method) => method.weighs_channels(),
        }
    }

    /// Whether it depends on the target at all.
    pub fn is_of_target(self) -> bool {
        match self {
            Self::Cam(_) => true,
            Self::Host(method) => method.is_of_target(),
        }
    }

    /// About how many forward passes it takes for one image at a layer of so many channels.
    pub fn passes(self, parameters: &Parameters, channels: usize) -> f64 {
        match self {
            Self::Cam(_) => 1.1,
            Self::Host(method) => method.passes(parameters, channels),
        }
    }

    /// The family that it belongs to, by what it runs.
    pub fn family(self) -> &'static str {
        match self.needs() {
            Needs { attention: true, .. } | Needs { blocks: true, .. } => "attention",
            Needs { slope: true, .. } | Needs { biases: true, .. } => "gradient at the input",
            Needs { gradient: true, .. } => "activation and gradient",
            Needs { head: true, .. } => "activation",
            Needs { layer: true, tail: false, .. } if !self.is_of_target() => "activation",
            _ => "forward passes",
        }
    }
}

impl std::fmt::Debug for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// Every method that camscope has built in, the default first. [`all`] has those of plugins too.
pub const METHODS: &[Method] = &[
    Method::Cam(&gradcam::GradCam),
    Method::Cam(&hirescam::HiResCam),
    Method::Cam(&gradcam_plus_plus::GradCamPlusPlus),
    Method::Cam(&xgradcam::XGradCam),
    Method::Cam(&layercam::LayerCam),
    Method::Cam(&gradcam_elementwise::GradCamElementwise),
    Method::Host(&principal::EigenCam),
    Method::Host(&principal::EigenGradCam),
    Method::Host(&principal::SegEigenCam),
    Method::Host(&principal::KpcaCam),
    Method::Host(&principal::Fem),
    Method::Host(&randomcam::RandomCam),
    Method::Host(&cam::ClassActivationMap),
    Method::Host(&finercam::FinerCam),
    Method::Host(&shapleycam::ShapleyCam),
    Method::Host(&smooth_gradcam::SmoothGradCamPlusPlus),
    Method::Host(&rollout::AttentionRollout),
    Method::Host(&rollout::GradientRollout),
    Method::Host(&legrad::LeGrad),
    Method::Host(&input_gradient::Saliency),
    Method::Host(&input_gradient::InputTimesGradient),
    Method::Host(&input_gradient::SmoothGrad),
    Method::Host(&input_gradient::VarGrad),
    Method::Host(&input_gradient::IntegratedGradients),
    Method::Host(&input_gradient::GradientShap),
    Method::Host(&guided::BACKPROP),
    Method::Host(&guided::DECONV),
    Method::Host(&guided_gradcam::GuidedGradCam),
    Method::Host(&deeplift::DeepLift),
    Method::Host(&fullgrad::FullGrad),
    Method::Host(&score::SCORE),
    Method::Host(&score::SMOOTH),
    Method::Host(&score::INTEGRATED),
    Method::Host(&ablation::AblationCam),
    Method::Host(&ablation::ReciproCam),
    Method::Host(&occlusion::Occlusion),
    Method::Host(&rise::Rise),
    Method::Host(&rise::DRise),
    Method::Host(&segments::Lime),
    Method::Host(&segments::KernelShap),
    Method::Host(&sess::Sess),
];

/// What is explained with where nobody says: the first of [`METHODS`]; for targets at places of the image one that keeps places.
pub fn default_for(targets: &[TargetRef]) -> Chosen {
    let is_local = targets.iter().any(|target| target.is_local());
    METHODS.iter().find(|method| !is_local || method.keeps_places()).copied().unwrap_or(METHODS[0]).into()
}

/// What to know of a method that cannot be trusted for these targets.
pub fn mistrust(method: Method, targets: &[TargetRef]) -> Option<String> {
    let target = targets.iter().find(|target| target.is_local())?;
    (!method.keeps_places()).then(|| {
        format!(
            "{} averages gradients over the whole image, and `{}` lies at one place: {} keeps places",
            method.name(),
            target.spec(),
            default_for(std::slice::from_ref(target)).method.name()
        )
    })
}

/// Why a method can explain none of these targets, as far as their kinds tell.
pub fn refusal(method: Method, targets: &[TargetRef]) -> Option<Error> {
    let Method::Host(host) = method else { return None };
    let (method, first) = (host.name(), targets.first()?);
    let none_is = |kind: &str| targets.iter().all(|target| target.kind() != kind);
    let target = || first.spec();
    if host.needs().likeness && none_is("box") {
        return Some(Error::NeedsBox { method, target: target() });
    }
    (host.is_of_class() && none_is("class")).then(|| Error::NeedsClass { method, target: target() })
}

/// What methods are called elsewhere, and here.
const ALSO: [(&str, &str); 6] = [
    ("gradcamplusplus", "gradcam++"),
    ("gradcampp", "gradcam++"),
    ("deconvolution", "deconvnet"),
    ("smoothgradcampp", "smoothgradcam++"),
    ("gradientxactivation", "hirescam"),
    ("classactivationmap", "cam"),
];

/// A method's name in the one form that all its spellings have: `Grad-CAM`, `grad_cam` and `gradcam` are one.
fn bare(name: &str) -> String {
    let bare: String = name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect();
    ALSO.iter().find(|(other, _)| *other == bare).map_or(bare, |(_, own)| (*own).to_owned())
}

/// The method of that name, however it is spelt: in any case, with or without hyphens, and as pytorch-grad-cam, TorchCAM and Captum call it.
///
/// # Errors
/// There is none; the error lists them.
pub fn by_name(name: &str) -> Result<Method> {
    let all = all();
    let wanted = bare(name);
    let found = all.iter().find(|method| bare(method.name()) == wanted).copied();
    found.ok_or_else(|| Error::UnknownMethod {
        name: name.to_owned(),
        known: all.iter().map(|method| method.name()).collect(),
    })
}

/// A method with its parameters set.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The method.
    pub method: Method,
    /// Its parameters; those not set have their defaults.
    pub parameters: Parameters,
}

impl Default for Chosen {
    fn default() -> Self {
        METHODS[0].into()
    }
}

impl From<Method> for Chosen {
    fn from(method: Method) -> Self {
        Self { method, parameters: Parameters::defaults(method.parameters()) }
    }
}

impl Chosen {
    /// The method with those parameters that are not their defaults, as `--method` takes it.
    pub fn spec(&self) -> String {
        let defaults = Parameters::defaults(self.method.parameters());
        let others = self.parameters.iter().zip(self.parameters.texts());
        let others = others.filter(|((name, value), _)| *value != defaults.get(name));
        let settings: Vec<String> = others.map(|(_, (name, value))| format!("{name}={value}")).collect();
        let name = self.method.name();
        if settings.is_empty() { name.to_owned() } else { format!("{name}:{}", settings.join(",")) }
    }

    /// How many of the last blocks of a transformer it looks at.
    ///
    /// # Errors
    /// The parameter is no whole number of 1 or more.
    pub(crate) fn blocks(&self) -> Result<usize> {
        whole(self.method.name(), legrad::BLOCKS, self.parameters.get(legrad::BLOCKS))
    }
}

/// A method as `--method` takes it: `NAME` or `NAME:KEY=VALUE,…`.
///
/// # Errors
/// There is no such method; it has no such parameter, or the value is no number.
pub fn parse(text: &str) -> Result<Chosen> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut chosen = Chosen::from(by_name(name)?);
    let method = chosen.method.name();
    for setting in rest.split(',').filter(|setting| !setting.is_empty()) {
        let fail = |reason: String| Error::BadParameter { method, setting: setting.to_owned(), reason };
        let (key, value) = setting.split_once('=').ok_or_else(|| fail("it has no `=`".into()))?;
        let value = value.trim();
        let is_picture = key.trim().eq_ignore_ascii_case(baseline::PARAMETER.name)
            && chosen.method.parameters().contains(&baseline::PARAMETER);
        let word = baseline::WORDS.iter().find(|(word, _)| is_picture && *word == value);
        let number: Option<f64> = word.map(|(_, number)| *number).or_else(|| value.parse().ok());
        let number = match number {
            Some(number) => number,
            None if is_picture && baseline::is_file(value) => {
                chosen.parameters.set_file(key.trim(), baseline::FILE, Path::new(value));
                continue;
            }
            None if is_picture => return Err(fail(format!("`{value}` is not zero, grey, blur or a file"))),
            None => return Err(fail(format!("`{value}` is not a number"))),
        };
        let known = || chosen.method.parameters().iter().map(|parameter| parameter.name);
        if !chosen.parameters.set(key.trim(), number) {
            let mut offered = nearest(key, known());
            offered = if offered.is_empty() { known().map(str::to_owned).collect() } else { offered };
            return Err(fail(match offered.is_empty() {
                true => "the method has no parameters".into(),
                false => format!("it has {}", offered.join(", ")),
            }));
        }
    }
    Ok(chosen)
}

/// A parameter that counts something.
///
/// # Errors
/// It is no whole number of 1 or more.
fn whole(method: &'static str, name: &'static str, value: f64) -> Result<usize> {
    const MOST: usize = 1_000_000;
    let fits = value >= 1.0 && value.fract() == 0.0 && value <= MOST as f64;
    fits.then_some(value as usize).ok_or_else(|| Error::BadParameter {
        method,
        setting: format!("{name}={value}"),
        reason: format!("a whole number from 1 to {MOST} is wanted"),
    })
}

/// Images as one array along the first axis.
fn together(mut images: Vec<ArrayD<f32>>) -> Result<ArrayD<f32>> {
    if images.len() == 1 {
        return Ok(images.remove(0));
    }
    let views: Vec<_> = images.iter().map(|image| image.view()).collect();
    concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))
}

/// Σ over the channels of weight · activation, `[height, width]`; what is no number counts as zero.
fn weighted_on_host(weights: &[f64], activation: ArrayView3<'_, f32>) -> Array2<f32> {
    let (_, height, width) = activation.dim();
    let mut heat = Array2::<f64>::zeros((height, width));
    for (weight, channel) in weights.iter().zip(activation.outer_iter()) {
        heat.zip_mut_with(&channel, |heat, value| {
            let product = weight * f64::from(*value);
            *heat += if product.is_finite() { product } else { 0.0 };
        });
    }
    heat.mapv(|heat| heat as f32)
}

/// The mean of each channel over all places.
fn means(layer: ArrayView3<'_, f32>) -> Vec<f64> {
    let (_, height, width) = layer.dim();
    let flat = layer.as_standard_layout();
    numbers::moments(flat.as_slice().unwrap_or_default(), height * width).into_iter().map(|(mean, _)| mean).collect()
}

/// What a method asked for.
fn given<'a, T>(value: Option<&'a T>, what: &str) -> Result<&'a T> {
    value.ok_or_else(|| Error::Value(format!("the method was given no {what}")))
}

/// Σ over the channels of weight · activation; `weight` is `[N, C, 1, 1]`: a row times a matrix for each image, in one pass over the activation.
fn weigh_channels(g: &mut Builder, weight: &Val, activation: &Val) -> Val {
    let row = g.squeeze(weight, &[2, 3]);
    let row = g.unsqueeze(&row, &[1]);
    // The sizes are computed: −1 says nothing where there are no channels.
    let lead = g.op("Shape", &[activation], vec![attr::int("start", 0), attr::int("end", 2)]);
    let extent = g.op("Shape", &[activation], vec![attr::int("start", 2)]);
    let area = g.reduce("ReduceProd", &extent, &[0], true);
    let flat = g.concat(&[&lead, &area], 0);
    let matrix = g.op("Reshape", &[activation, &flat], vec![attr::int("allowzero", 1)]);
    let heat = g.matmul(&row, &matrix);
    let batch = g.op("Shape", &[activation], vec![attr::int("start", 0), attr::int("end", 1)]);
    let shape = g.concat(&[&batch, &extent], 0);
    g.reshape_to(&heat, &shape)
}

/// Σ over the channels of weight · activation, both `[N, C, H, W]`.
fn weighted_sum(g: &mut Builder, weight: &Val, activation: &Val) -> Val {
    let product = g.mul(weight, activation);
    g.reduce_sum(&product, &[1], false)
}

#[cfg(test)]
pub(crate) mod tests {
    use ndarray::ArrayViewD;

    use super::*;
    use crate::model;

    #[test]
    fn methods_are_found_however_they_are_spelt() {
        for (asked, expected) in [
            ("GradCAM", "gradcam"),
            ("grad-cam", "gradcam"),
            ("GradCAMPlusPlus", "gradcam++"),
            ("Grad-CAM++", "gradcam++"),
            ("SmoothGradCAMpp", "smoothgrad-cam++"),
            ("smoothgrad-cam++", "smoothgrad-cam++"),
            ("integrated_gradients", "integrated-gradients"),
            ("InputXGradient", "input-x-gradient"),
            ("gradient-x-activation", "hirescam"),
            ("SSCAM", "ss-cam"),
        ] {
            assert_eq!(by_name(asked).map(Method::name).ok(), Some(expected), "{asked}");
        }
        for method in METHODS {
            assert_eq!(by_name(method.name()).ok(), Some(*method));
            assert!(is_reserved(&method.name().replace('-', "_")), "{}", method.name());
        }
        assert!(by_name("gradcam2").is_err() && by_name("").is_err());
    }

    #[test]
    fn a_baseline_is_a_word_or_a_file() {
        let blur = parse("integrated-gradients:steps=5,baseline=blur").expect("a method");
        assert_eq!((blur.parameters.get("baseline"), blur.parameters.file()), (2.0, None));
        let file = parse("integrated-gradients:baseline=dark/night.jpg,steps=5").expect("a method");
        assert_eq!(file.parameters.file(), Some(Path::new("dark/night.jpg")));
        assert_eq!(file.spec(), "integrated-gradients:steps=5,baseline=dark/night.jpg");
        assert_eq!(parse(&file.spec()).ok(), Some(file.clone()));
        let json = serde_json::to_value(&file.parameters).expect("an object");
        assert_eq!(json, serde_json::json!({ "steps": 5.0, "baseline": "dark/night.jpg" }));
        // The last word counts.
        let grey = parse("deeplift:baseline=a.png,baseline=grey").expect("a method");
        assert_eq!((grey.parameters.get("baseline"), grey.parameters.file()), (1.0, None));
        for wrong in
            ["deeplift:baseline=blurr", "occlusion:baseline=grey", "occlusion:baseline=a.png", "gradcam:baseline=a.png"]
        {
            assert!(matches!(parse(wrong), Err(Error::BadParameter { .. })), "{wrong}");
        }
    }

    /// A trial of an image alone: whoever asks for more fails.
    pub(crate) fn trial<'a>(
        image: ArrayViewD<'a, f32>,
        layout: model::Layout,
        batch: usize,
        score: &'a mut dyn FnMut(ArrayD<f32>) -> Result<Vec<f32>>,
    ) -> Trial<'a> {
        Trial {
            image,
            layout,
            grey: Vec::new(),
            other: None,
            is_plane: true,
            batch,
            seed: 0,
            eigen: false,
            activation: None,
            gradient: None,
            attention: Vec::new(),
            grid: None,
            beside: Beside::default(),
            work: Box::leak(Box::default()),
            score,
            slope: Box::leak(Box::new(|_: ArrayD<f32>| unreachable!("no slopes"))),
            cam: Box::leak(Box::new(|_: ArrayD<f32>| unreachable!("no layer"))),
            tail: Box::leak(Box::new(|_: ndarray::ArrayView4<'_, f32>| unreachable!("no tail"))),
            pooled: None,
            at_layer: Box::leak(Box::new(|_: ArrayD<f32>| unreachable!("no gradients at the layer"))),
        }
    }
}
