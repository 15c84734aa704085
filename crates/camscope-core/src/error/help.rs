//! What the user can do about each error.

use onnx_grad_ort::Error as EngineError;

use super::{Error, joined};
use crate::image::sniff;
use crate::runtime::{Origin, Provider};
use crate::text::printable;

impl Error {
    /// What the user can do about it, as one sentence in lower case; `None` where nothing useful can be said.
    pub fn help(&self) -> Option<String> {
        match self {
            Error::Engine(error) => engine_help(error),
            Error::NotAnImage { looks_like: Some("a NumPy array"), .. } => {
                Some("give a tensor by --tensor, in place of the image".into())
            }
            Error::NotAnImage { looks_like: Some("an empty file"), .. } => Some("copy or download it again".into()),
            Error::NotAnImage { looks_like: Some(kind), .. } if sniff::advice(kind).is_some() => {
                sniff::advice(kind).map(str::to_owned)
            }
            Error::NotAModel { looks_like, .. } => Some(match sniff::advice(looks_like) {
                Some(advice) if *looks_like == sniff::LFS_POINTER => advice.into(),
                _ => "give an .onnx file first, then the photos".into(),
            }),
            Error::NotFinite { in_input: true, .. } => Some("give an array of numbers that are finite".into()),
            Error::NotFinite { .. } => Some(
                "see whether the model gets what it was trained on (`camscope check MODEL` says what it is fed with), or export it again"
                    .into(),
            ),
            Error::NotLabels { looks_like, .. } => Some(match sniff::advice(looks_like) {
                Some(advice) if *looks_like == sniff::LFS_POINTER => advice.into(),
                _ => "give a text file with one label a line, or JSON".into(),
            }),
            Error::ImageBands { .. } => Some(
                "save three of them as an RGB image, or give the bands that the model takes as an array: --tensor FILE.npy".into(),
            ),
            Error::ImageLevels { reason, .. } if reason.contains("is white") => Some(
                "say it: --white 1, --white 4095 (or `white` under [input] in MODEL.toml beside the model); less than 0 is black".into(),
            ),
            Error::ImageLevels { .. } => Some("write it again without such values".into()),
            Error::NotAnImage { .. } | Error::ImageUnsupported { .. } => {
                Some("convert it to PNG or JPEG; BMP, GIF, JPEG, PNG, PNM, TIFF and WebP are read".into())
            }
            Error::ImageSize { .. } => Some("give a smaller copy of it".into()),
            Error::NoSuchFile { what: "labels file", .. } => {
                Some("correct --labels, or `labels` under [output] in the model's sidecar".into())
            }
            Error::ImageTruncated { .. } | Error::ImageCorrupt { .. } => {
                Some("copy or download it again: part of it is missing or damaged".into())
            }
            Error::SidecarSyntax { path, .. } | Error::Metadata { path, .. } | Error::SizeMismatch { path, .. } => {
                Some(if path.ends_with(".json") {
                    "write the right values into MODEL.toml beside the model, which counts before this file".into()
                } else {
                    format!("correct {path}")
                })
            }
            Error::UnknownLabel { known: false, .. } => {
                Some("give the class by its number, or a file of labels: --labels FILE, or in MODEL.toml beside the model".into())
            }
            Error::UnknownLabel { nearest, .. } if !nearest.is_empty() => {
                let names: Vec<_> = nearest.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("did you mean {}?", names.join(", ")))
            }
            Error::UnknownLabel { .. } => Some("give the class by its number".into()),
            Error::AmbiguousLabel { .. } => Some("give the class by its number".into()),
            Error::Model { source: onnx_grad::Error::TooNew { .. }, .. } => {
                Some("export the model for an older opset, or use a newer camscope".into())
            }
            Error::Model { source: onnx_grad::Error::TooOld { .. }, .. } => {
                Some("export the model again, for opset 18 or newer".into())
            }
            Error::Model { source: onnx_grad::Error::ExternalData { .. }, .. } => {
                Some("put the file that holds the weights back into the model's folder".into())
            }
            Error::Model { source: onnx_grad::Error::Truncated(_), .. } => {
                Some("copy or download it again: part of it is missing".into())
            }
            Error::Model { source: onnx_grad::Error::NotOnnx(_), .. } => {
                Some("give an .onnx file; PyTorch writes one with torch.onnx.export".into())
            }
            Error::ModelInput { .. } => Some(
                "give an array in place of photos: --tensor FILE.npy; or export the model with one input of the shape [batch, 3, height, \
                 width] or [batch, height, width, 3]"
                    .into(),
            ),
            Error::ModelOutput { .. } => Some(
                format!(
                    "explain an element of any output by --target output:NAME[0,3]; or say what the model answers: write {}, and \
                     `logits` under [output] for the output that holds class scores",
                    crate::task::TASK_LINES
                ),
            ),
            Error::BadPreprocessing { reason } if reason.contains("input takes") => {
                Some("leave --range, --mean and --std out: such a model normalises grey levels itself".into())
            }
            Error::ArrayWanted { .. } => Some("give an array by --tensor FILE.npy".into()),
            Error::Bands { wanted, .. } => Some(format!("give a TIFF of {wanted} bands, or an array: --tensor FILE.npy")),
            Error::NoPlane { .. } => {
                Some("methods of activations and gradients work on any axes: --method gradcam, hirescam, integrated-gradients".into())
            }
            Error::TensorValues { .. } => Some("give whole numbers, grey levels mostly: normalisation is part of such a model".into()),
            Error::NotAnArray { .. } => Some("write it with numpy.save, as float32".into()),
            Error::ClassRange { count, .. } => {
                Some(format!("give a class from 0 to {}, a label, or top1 to top{count}", count.saturating_sub(1)))
            }
            Error::UnknownLayer { nearest, .. } if !nearest.is_empty() => {
                let names: Vec<_> = nearest.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("did you mean {}? `camscope layers MODEL` lists them all", names.join(", ")))
            }
            Error::UnknownLayer { .. } | Error::LayerIndex { .. } => {
                Some("`camscope layers MODEL` lists the layers".into())
            }
            Error::Layout { .. } => Some("`camscope layers MODEL` shows the layers' own shapes and layouts".into()),
            Error::NoLayersSince { help, .. } | Error::CannotExport { help, .. } => Some(help.clone()),
            Error::UnknownValue { nearest, .. } if !nearest.is_empty() => {
                let names: Vec<_> = nearest.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("did you mean {}?", names.join(", ")))
            }
            Error::UnknownValue { .. } => Some("`camscope layers MODEL` lists the values with height and width".into()),
            Error::OpenInput { input, suggested, .. } => {
                Some(format!("give the sizes that it is to have: --shape {}={suggested}", printable(input)))
            }
            Error::AssumedSize { .. } => Some(
                "give the size that it was made for: `size = [HEIGHT, WIDTH]` under [input] in MODEL.toml beside the model".into(),
            ),
            Error::NoScores { .. } => Some(
                "camscope explains models that give one score a class; export the model with such an output, before whatever reads the \
                 scores further"
                    .into(),
            ),
            Error::Compared { source, .. } => source.help(),
            Error::OtherTask { .. } => Some("say what of both is meant: --target output:NAME[…]; `camscope predict MODEL IMAGE` shows what there is".into()),
            Error::NoCommonLayer { nearest, .. } if !nearest.is_empty() => {
                let names: Vec<_> = nearest.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("these near it have a match: {}; or name the second model's layer by --layer-b", names.join(", ")))
            }
            Error::NoCommonLayer { .. } => {
                Some("name the second model's layer by --layer-b; `camscope layers MODEL` lists them".into())
            }
            Error::NothingToDrift => {
                Some("leave out --drift; `camscope layers MODEL` lists each model's layers with their sizes".into())
            }
            Error::NoLayers => Some("--layer @input with --raw DIR gives the gradient at the model's input".into()),
            Error::HeatNotFinite { .. } => Some(
                "`camscope check MODEL IMAGE` shows whether the model's own scores are finite; a photo prepared otherwise may help"
                    .into(),
            ),
            Error::Float16Range => Some("use --precision fp32".into()),
            Error::ProviderDisagrees { .. } => {
                Some("use --ep cpu; --no-verify explains without the comparison".into())
            }
            Error::IntegerInput { .. } => {
                Some("choose a layer behind the input: `camscope layers MODEL` lists them".into())
            }
            Error::NoGradient { .. } => {
                Some("choose a layer between the input and the scores: see `camscope layers MODEL`".into())
            }
            Error::Task { .. } => Some(
                format!("write {}", crate::task::TASK_LINES)
            ),
            Error::NoSuchAnswer { .. } => Some(format!("if that is misread, write {}", crate::task::TASK_LINES)),
            Error::NothingToAsk { targets, .. } => Some(printable(targets).into_owned()),
            Error::BadTarget { spec, .. } => Some(target_kinds(spec)),
            Error::UnknownOutput { known, .. } => {
                let names: Vec<_> = known.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("it has {}", names.join(", ")))
            }
            Error::NoAttention { .. } => Some(
                "choose another method: `camscope methods` lists them; attention that is one operator and has a cache, a causal mask or \
                 grouped heads shows once the model is exported with attention written out"
                    .into(),
            ),
            Error::NeedsClass { .. } => {
                Some("name a class (--class, --target class:…), or choose a method of any target: --method gradcam".into())
            }
            Error::NeedsBox { .. } => {
                Some("of a detector name a box (--target box:1); any other target is explained by --method rise".into())
            }
            Error::NoLinearHead { .. } => Some(
                "where the mean of the layer is read by one linear classifier, --method gradcam gives the same heat up to its scale; elsewhere it \
                 takes the place of these weights"
                    .into(),
            ),
            Error::OneAtATime { .. } => {
                Some("export the model with an open batch, or use --method integrated-gradients, which adds up too".into())
            }
            Error::NoBlocks { .. } => Some("use --method gradient-rollout, which looks at the attention alone".into()),
            Error::NothingToSwap { .. } => {
                Some("it would be the plain gradient: --method saliency or input-x-gradient shows that".into())
            }
            Error::CannotSmooth { .. } => Some("--smooth augment smooths any method".into()),
            Error::NoLayerForMethod { .. } => Some("leave --layer out, or choose a method that looks at layers".into()),
            Error::UnknownInput { known, .. } if known.is_empty() => Some("leave --input out: the model takes the image alone".into()),
            Error::UnknownInput { known, .. } => {
                let names: Vec<_> = known.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("it has {}", names.join(", ")))
            }
            Error::InputMissing { name, .. } => Some(format!(
                "give it by --input '{0}=VALUE': a photo, a .npy file, zeros, ones, a number, or numbers with commas",
                printable(name)
            )),
            Error::PictureOfSeveral { names, .. } => Some(format!(
                "say which by --picture '{}'; the others are given by --input NAME=FILE",
                names.first().map(|name| printable(name).into_owned()).unwrap_or_default()
            )),
            Error::UnknownPicture { known, .. } => Some(format!("its inputs are {}", joined(known))),
            Error::BadParameter { method, .. } => Some(format!("`camscope methods {method}` lists what can be set")),
            Error::UnknownMethod { known, .. } => Some(format!("there are {}", known.join(", "))),
            Error::UnknownMetric { known, .. } => Some(format!("there are {}", known.join(", "))),
            Error::Truth { .. } => Some(
                "boxes are COCO's JSON, or CSV with the header image,label,x0,y0,x1,y1 in the photos' pixels; masks are pictures as large as theirs".into(),
            ),
            Error::UnknownColormap { known, .. } => Some(format!("there are {}", known.join(", "))),
            Error::FixedSize { .. } => {
                Some("leave --size out: it is for models whose input has open height and width".into())
            }
            Error::NotABench { .. } => Some("write one with `camscope bench MODEL --json > FILE`".into()),
            _ => None,
        }
    }
}

/// [`Error::help`] for what the engine says.
fn engine_help(error: &EngineError) -> Option<String> {
    const INSTALL: &str =
        "run `camscope runtime install`, or set ORT_DYLIB_PATH to the library of an ONNX Runtime 1.24 or newer";
    match error {
        EngineError::Config { path, .. } => Some(format!("correct {path}, or remove it")),
        EngineError::RuntimeMissing { .. } => Some(INSTALL.into()),
        EngineError::RuntimeUnusable { named_by: Some(Origin::Variable), .. } => {
            Some("set ORT_DYLIB_PATH to the library of an ONNX Runtime 1.24 or newer, or unset it".into())
        }
        EngineError::RuntimeUnusable { named_by: Some(Origin::Config), .. } => {
            Some("correct `library` in the section [runtime] of the configuration".into())
        }
        EngineError::RuntimeUnusable { .. } | EngineError::RuntimeStart { .. } => Some(INSTALL.into()),
        EngineError::RuntimeFetch { .. } => {
            Some("get an ONNX Runtime 1.24 or newer by other means, and set ORT_DYLIB_PATH to its library".into())
        }
        EngineError::RuntimeChecksum { .. } => {
            Some("check what package index or mirror pip or npm is set to, then try again".into())
        }
        EngineError::Provider { provider: Provider::Cuda | Provider::TensorRt, reason }
            if reason.contains("was built without") || reason.contains("onnxruntime_providers") =>
        {
            Some("`camscope runtime install --gpu` fetches an ONNX Runtime with it; or use --ep auto".into())
        }
        EngineError::Provider { provider: provider @ (Provider::WebGpu | Provider::OpenVino), reason }
            if reason.contains("was built without") =>
        {
            Some(format!("`camscope runtime install --ep {provider}` fetches it; or use --ep auto"))
        }
        EngineError::ProviderLibrary { reason, .. } | EngineError::Provider { reason, .. }
            if reason.contains("needs ONNX Runtime") =>
        {
            Some("`camscope runtime install` fetches a newer one; `camscope runtime show` lists which one is taken, and from where".into())
        }
        EngineError::ProviderLibrary { .. } => Some(
            "--ep-library takes the library of an ONNX Runtime plugin; `camscope runtime install --ep webgpu` (or openvino) fetches one, \
             and --ep finds it by itself"
                .into(),
        ),
        EngineError::NoSuchDevice { .. } | EngineError::DeviceOfAnother { .. } => {
            Some("`camscope runtime show` lists the devices by number".into())
        }
        EngineError::Provider { .. } => {
            Some("use --ep auto or --ep cpu; `camscope runtime show` lists what works here".into())
        }
        EngineError::Graph(onnx_grad::Error::NotDifferentiable(nodes))
            if nodes.iter().all(|node| node.reason.starts_with("the rank of ")) =>
        {
            Some(
                "the model's shapes cannot be worked out: export it with fixed input sizes, or with PyTorch's newer exporter \
                 (torch.onnx.export with dynamo=True)"
                    .into(),
            )
        }
        EngineError::Graph(onnx_grad::Error::NotDifferentiable(nodes))
            if nodes.iter().any(|node| node.domain == "com.microsoft.nchwc") =>
        {
            Some(
                "ONNX Runtime saved this file optimised for one kind of processor: take the file that it was made of, or save it with \
                 the optimisation level `extended`"
                    .into(),
            )
        }
        EngineError::Graph(onnx_grad::Error::NotDifferentiable(_)) => {
            Some(
                "choose a layer after these nodes (`camscope layers MODEL` lists them in order), a method that needs no gradient \
                 (--method recipro-cam, scorecam, occlusion or rise), or export the model with operators on floats in their place"
                    .into(),
            )
        }
        _ => None,
    }
}

/// How targets are written: those of the kind that was meant, or every kind.
fn target_kinds(spec: &str) -> String {
    let own = crate::target::KINDS.iter().find(|kind| spec.split(':').next() == Some(kind.name));
    match own {
        Some(kind) => kind.about.to_owned(),
        None => {
            let kinds: Vec<&str> = crate::target::KINDS.iter().map(|kind| kind.about).collect();
            format!("targets are {}", kinds.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad_ort::runtime::Unusable;

    use super::*;

    #[test]
    fn who_names_a_runtime_by_a_variable_is_told_to_unset_it() {
        let unusable = EngineError::RuntimeUnusable {
            named_by: Some(Origin::Variable),
            path: "none.so".into(),
            reason: Unusable::Missing,
        };
        assert!(Error::from(unusable).help().unwrap().contains("unset it"));
    }

    #[test]
    fn a_file_made_for_one_kind_of_processor_is_told_as_such() {
        let node = |domain: &str| onnx_grad::UnsupportedNode {
            node: "n".into(),
            op: "Conv".into(),
            domain: domain.into(),
            opset: 1,
            reason: "there is no gradient rule for this operator".into(),
        };
        let help = |nodes| Error::from(onnx_grad::Error::NotDifferentiable(nodes)).help().expect("help");
        assert!(help(vec![node(""), node("com.microsoft.nchwc")]).contains("optimised for one kind of processor"));
        assert!(help(vec![node("")]).contains("choose a layer after these nodes"));
    }
}
