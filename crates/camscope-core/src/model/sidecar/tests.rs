//! A folder with a model's companions in, what is known about it out.

use super::*;

const PHOTO: [Option<usize>; 4] = [None, Some(3), Some(224), Some(224)];
const FREE: [Option<usize>; 4] = [None, Some(3), None, None];

/// Resolves `folder/net.onnx` among the `files` given.
fn resolve_with(files: &[(&str, &str)], shape: &[Option<usize>]) -> Result<Sidecar> {
    resolve_at("net.onnx", files, shape)
}

fn resolve_at(model: &str, files: &[(&str, &str)], shape: &[Option<usize>]) -> Result<Sidecar> {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join(model);
    std::fs::create_dir_all(model.parent().unwrap()).unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    resolve(model, shape)
}

fn processor(json: &str, shape: &[Option<usize>]) -> Preprocessing {
    resolve_with(&[("preprocessor_config.json", json)], shape).unwrap().preprocessing
}

#[test]
fn without_anything_beside_it_imagenet_is_assumed_and_said() {
    let sidecar = resolve_with(&[], &PHOTO).unwrap();
    assert_eq!(sidecar.preprocessing, Preprocessing::imagenet());
    assert!(sidecar.preprocessing.source.to_string().contains("assumed"));
    assert!(sidecar.labels.is_empty());
}

#[test]
fn the_bundled_sidecar_is_read() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/efficientnet-lite0.onnx");
    let sidecar = resolve(model, &PHOTO).unwrap();
    let p = sidecar.preprocessing;
    assert_eq!((p.filter, p.crop, p.range), (Filter::Bicubic, Crop::CentreFraction(0.875), [0.0, 255.0]));
    assert_eq!((p.mean, p.std), (vec![127.0; 3], vec![128.0; 3]));
    assert_eq!((sidecar.labels.len(), sidecar.labels.find("espresso").unwrap()), (1000, 967));
    assert!(sidecar.layer.is_some());
}

#[test]
fn every_key_is_read() {
    let toml = r#"
        [input]
        size = [96, 128]
        resize = "lanczos"
        resize_to = 140
        color = "BGR"
        layout = "NHWC"
        range = [-1, 1]
        mean = [0.1, 0.2, 0.3]
        std = [1, 2, 3]
        [output]
        labels = ["a", "b"]
        logits = "out"
        [explain]
        layer = "features.18"
        method = "gradcam"
    "#;
    let sidecar = resolve_with(&[("net.toml", toml)], &[None, None, None, None]).unwrap();
    let p = &sidecar.preprocessing;
    assert_eq!((p.size, p.filter, p.crop), ((96, 128), Filter::Lanczos, Crop::ResizeTo(140)));
    assert_eq!((p.color, p.layout, p.range), (Color::Bgr, Layout::Nhwc, [-1.0, 1.0]));
    assert_eq!((&p.mean[..], &p.std[..]), (&[0.1, 0.2, 0.3][..], &[1.0, 2.0, 3.0][..]));
    assert_eq!(sidecar.labels.names(), ["a", "b"]);
    assert_eq!(sidecar.logits.as_deref(), Some("out"));
    assert_eq!((sidecar.layer.as_deref(), sidecar.method.as_deref()), (Some("features.18"), Some("gradcam")));
    assert!(matches!(&p.source, Source::Sidecar(path) if path.ends_with("net.toml")));
}

#[test]
fn what_a_sidecar_leaves_out_is_assumed() {
    let p = resolve_with(&[("net.toml", "")], &[None, Some(3), Some(299), Some(299)]).unwrap().preprocessing;
    assert_eq!((p.size, &p.mean), ((299, 299), &vec![0.485, 0.456, 0.406]));
    // ImageNet's statistics are in units of 0 to 1.
    let p = resolve_with(&[("net.toml", "[input]\nrange = [0, 255]")], &PHOTO).unwrap().preprocessing;
    assert_eq!((p.mean, p.std), (vec![0.0; 3], vec![1.0; 3]));
    let p = resolve_with(&[("net.toml", "[input]\ncrop = \"squash\"\ncolor = \"BGR\"")], &PHOTO).unwrap().preprocessing;
    assert_eq!((p.crop, &p.mean), (Crop::Squash, &vec![0.406, 0.456, 0.485]));
}

#[test]
fn errors_in_a_sidecar_name_the_place() {
    let place = |toml: &str| match resolve_with(&[("net.toml", toml)], &PHOTO).unwrap_err() {
        Error::SidecarSyntax { line, column, reason, .. } => (line, column, reason),
        other => panic!("{other}"),
    };
    let (line, column, reason) = place("[input]\nsize = [224, 224]\n  crpo = 0.9\n");
    assert_eq!((line, column), (3, 3), "{reason}");
    assert!(reason.contains("crpo") && reason.contains("crop"), "{reason}");
    assert_eq!(place("[input]\ncrop = true").0, 2);
    assert_eq!(place("[input]\nresize = \"spline\"").0, 2);
    assert_eq!(place("[input\n").0, 1);
    assert_eq!(place("[input]\nsize = [1, 2, 3]").0, 2);
}

#[test]
fn contradictions_are_refused() {
    let error = resolve_with(&[("net.toml", "[input]\nsize = [256, 256]")], &PHOTO).unwrap_err();
    assert!(matches!(error, Error::SizeMismatch { .. }), "{error}");
    assert!(error.to_string().contains("256 × 256") && error.to_string().contains("224 × 224"), "{error}");
    for toml in
        ["color = \"GREY\"", "crop = 0.9\nresize_to = 256", "std = [0, 1, 1]", "mean = [1]", "crop = 1.5", "size = 0"]
    {
        let error = resolve_with(&[("net.toml", &format!("[input]\n{toml}"))], &FREE).unwrap_err();
        assert!(matches!(error, Error::Metadata { .. }), "{toml}: {error}");
    }
    let error = resolve_with(&[("net.toml", "[input]\nlayout = \"NHWC\"")], &PHOTO).unwrap_err();
    assert!(matches!(error, Error::ModelInput { .. }), "{error}");
    let error = resolve_with(&[("net.toml", "[output]\nlabels = \"none.txt\"")], &PHOTO).unwrap_err();
    assert!(matches!(error, Error::NoSuchFile { what: "labels file", .. }), "{error}");
}

#[test]
fn hugging_face_vit() {
    let json = r#"{"do_normalize": true, "do_resize": true, "feature_extractor_type": "ViTFeatureExtractor",
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2, "size": 224}"#;
    let p = processor(json, &FREE);
    assert_eq!((p.size, p.crop, p.filter), ((224, 224), Crop::Squash, Filter::Bilinear));
    assert_eq!((p.range, p.mean), ([0.0, 1.0], vec![0.5; 3]));
    let new = json.replace("224}", "{\"height\": 384, \"width\": 384}, \"rescale_factor\": 0.00392156862745098}");
    assert_eq!(processor(&new, &FREE).size, (384, 384));
}

#[test]
fn hugging_face_clip_convnext_mobilevit_efficientnet() {
    let clip = processor(
        r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_normalize": true, "resample": 3,
            "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28], "size": {"shortest_edge": 230}}"#,
        &FREE,
    );
    assert_eq!((clip.size, clip.crop, clip.filter), ((224, 224), Crop::ResizeTo(230), Filter::Bicubic));
    let convnext = processor(
        r#"{"crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor", "do_normalize": true, "resample": 3,
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "size": {"shortest_edge": 224}}"#,
        &FREE,
    );
    assert_eq!((convnext.size, convnext.crop), ((224, 224), Crop::CentreFraction(0.875)));
    let large =
        processor(r#"{"crop_pct": 0.875, "feature_extractor_type": "ConvNextFeatureExtractor", "size": 384}"#, &FREE);
    assert_eq!((large.size, large.crop), ((384, 384), Crop::Squash));
    let mobilevit = processor(
        r#"{"crop_size": {"height": 256, "width": 256}, "do_center_crop": true, "do_flip_channel_order": true,
            "do_rescale": true, "resample": 2, "size": {"shortest_edge": 288}}"#,
        &FREE,
    );
    assert_eq!((mobilevit.color, mobilevit.crop), (Color::Bgr, Crop::ResizeTo(288)));
    assert_eq!((mobilevit.mean, mobilevit.std), (vec![0.0; 3], vec![1.0; 3]));
    let efficientnet = processor(
        r#"{"do_center_crop": false, "do_normalize": true, "do_rescale": true, "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.478, 0.473, 0.474], "resample": 0, "rescale_factor": 0.00784313725490196,
            "rescale_offset": true, "size": {"height": 224, "width": 224}}"#,
        &FREE,
    );
    assert_eq!((efficientnet.range, efficientnet.filter), ([-1.0, 1.0], Filter::Nearest));
}

#[test]
fn hugging_face_labels_and_the_onnx_folder() {
    let files = [
        ("preprocessor_config.json", r#"{"size": {"height": 64, "width": 64}}"#),
        ("config.json", r#"{"id2label": {"0": "cat", "1": "dog"}}"#),
    ];
    let sidecar = resolve_at("onnx/model.onnx", &files, &FREE).unwrap();
    assert_eq!((sidecar.preprocessing.size, sidecar.labels.name(1)), ((64, 64), "dog".to_owned()));
    assert!(matches!(sidecar.preprocessing.source, Source::HuggingFace(_)));
    // Another folder's files are nobody's.
    assert_eq!(resolve_at("other/model.onnx", &files, &FREE).unwrap().preprocessing.source, Source::Assumed);
    // Labels count without a preprocessor too.
    let labels_only = resolve_with(&files[1..], &FREE).unwrap();
    assert_eq!((labels_only.preprocessing.source, labels_only.labels.len()), (Source::Assumed, 2));
}

#[test]
fn what_hugging_face_says_and_we_cannot_do_is_an_error() {
    for json in [r#"{"size": {"longest_edge": 800}}"#, r#"{"do_resize": false}"#, r#"{"resample": 9}"#, "[]", "{"] {
        let error = resolve_with(&[("preprocessor_config.json", json)], &FREE).unwrap_err();
        assert!(matches!(error, Error::Metadata { .. }), "{json}: {error}");
    }
    let mismatch = resolve_with(&[("preprocessor_config.json", r#"{"size": 384}"#)], &PHOTO).unwrap_err();
    assert!(matches!(mismatch, Error::SizeMismatch { .. }), "{mismatch}");
}

#[test]
fn timm_config() {
    let json = r#"{"architecture": "resnet18", "num_classes": 2, "label_names": ["n1", "n2"],
        "label_descriptions": {"n1": "cat", "n2": "dog"},
        "pretrained_cfg": {"input_size": [3, 240, 240], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}"#;
    let sidecar = resolve_with(&[("config.json", json)], &FREE).unwrap();
    let p = &sidecar.preprocessing;
    assert_eq!((p.size, p.filter, p.crop), ((240, 240), Filter::Bicubic, Crop::CentreFraction(0.95)));
    assert_eq!(sidecar.labels.names(), ["cat", "dog"]);
    let crop = |mode: &str| {
        let json = json.replace("\"center\"", mode);
        resolve_with(&[("config.json", &json)], &FREE).map(|s| s.preprocessing.crop)
    };
    assert_eq!(crop("\"squash\"").unwrap(), Crop::SquashTo { height: 252, width: 252 });
    assert_eq!(crop("\"border\"").unwrap(), Crop::Border(0.95));
    assert!(crop("\"spiral\"").is_err());
}

/// Resolves `folder/net.onnx` for an input of that type, with the model's own metadata and the caller's values.
fn resolve_all(files: &[(&str, &str)], elem: ElemType, metadata: &[(&str, &str)], given: &Given) -> Result<Sidecar> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let declared = Declared { path: &folder.path().join("net.onnx"), shape: &FREE, elem, dense: None };
    declared.resolve(&Embedded::read(metadata.iter().copied()), given)
}

fn values(p: &Preprocessing) -> ([f32; 2], Vec<f32>, Vec<f32>, bool) {
    (p.range, p.mean.clone(), p.std.clone(), p.whole)
}

#[test]
fn an_input_of_integers_takes_grey_levels() {
    let assumed = |elem| resolve_all(&[], elem, &[], &Given::default()).unwrap().preprocessing;
    for elem in [ElemType::Uint8, ElemType::Int32, ElemType::Uint16, ElemType::Int16, ElemType::Int64] {
        assert_eq!(values(&assumed(elem)), ([0.0, 255.0], vec![0.0; 3], vec![1.0; 3], true), "{elem:?}");
    }
    assert_eq!(values(&assumed(ElemType::Int8)), ([-128.0, 127.0], vec![0.0; 3], vec![1.0; 3], true));
    assert!(!assumed(ElemType::Float16).whole);
    assert_eq!(
        assumed(ElemType::Uint8).describe(),
        "preprocessing assumed, since nothing in or beside the model says how it was trained: 224 × 224 pixels (central 87.5 %), \
         RGB from 0 to 255, as integers"
    );
    assert!(resolve_all(&[], ElemType::Bool, &[], &Given::default()).is_err());
}

#[test]
fn nothing_is_cast_to_integers_after_normalising() {
    // A sidecar that asks for it is refused, with the value that would be cut.
    let toml = [("net.toml", "[input]\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\nrange = [0, 1]\n")];
    let error = resolve_all(&toml, ElemType::Uint8, &[], &Given::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("the model's input takes uint8, and range, mean and std make -2.118 of grey level 0"),
        "{error}"
    );
    let mean = Given { mean: Some(vec![0.5]), ..Given::default() };
    let error = resolve_all(&[], ElemType::Int32, &[], &mean).unwrap_err();
    assert!(matches!(error, Error::BadPreprocessing { .. }), "{error}");
    // Values that stay integers are fine, but for those that the type can't hold.
    let centred = [("net.toml", "[input]\nmean = [128, 128, 128]\nstd = [1, 1, 1]\n")];
    let resolve = |elem| resolve_all(&centred, elem, &[], &Given::default());
    assert_eq!(resolve(ElemType::Int16).unwrap().preprocessing.mean, [128.0; 3]);
    assert!(resolve(ElemType::Uint8).unwrap_err().to_string().contains("make -128.000 of grey level 0"));
    let wide = Given { range: Some([0.0, 65535.0]), ..Given::default() };
    assert!(resolve_all(&[], ElemType::Uint16, &[], &wide).is_ok());
    assert!(resolve_all(&[], ElemType::Uint8, &[], &wide).is_err());
    // What others left beside the model is of the network before normalisation went into the graph.
    let processor =
        [("preprocessor_config.json", r#"{"size": 96, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}"#)];
    let sidecar = resolve_all(&processor, ElemType::Uint8, &[], &Given::default()).unwrap();
    assert_eq!(values(&sidecar.preprocessing), ([0.0, 255.0], vec![0.0; 3], vec![1.0; 3], true));
    assert_eq!(sidecar.preprocessing.size, (96, 96));
    assert!(sidecar.notes[0].starts_with("the model's input takes uint8: grey levels go in as they are"));
}

#[test]
fn what_the_caller_says_counts_first() {
    let toml =
        [("net.toml", "[input]\nsize = 64\nmean = [0.1, 0.2, 0.3]\nstd = [1, 2, 3]\n[output]\nlabels = ['a']\n")];
    let given = Given {
        size: Some((32, 48)),
        crop: Some(Crop::Squash),
        bgr: true,
        std: Some(vec![0.5]),
        white: Some(4095.0),
        ..Given::default()
    };
    let p = resolve_all(&toml, ElemType::Float, &[], &given).unwrap().preprocessing;
    assert_eq!((p.size, p.crop, p.color, p.white), ((32, 48), Crop::Squash, Color::Bgr, Some(4095.0)));
    assert_eq!((p.mean.clone(), p.std.clone()), (vec![0.3, 0.2, 0.1], vec![0.5; 3]));
    assert!(p.describe().starts_with("preprocessing as the options say, else read from "), "{}", p.describe());
    assert!(p.describe().ends_with(
        "net.toml: 32 × 48 pixels (squashed), BGR from 0 to 1, mean 0.3 0.2 0.1, std 0.5 0.5 0.5, white 4095"
    ));
    // Nothing said: nothing changed.
    let p = resolve_all(&toml, ElemType::Float, &[], &Given::default()).unwrap().preprocessing;
    assert!(matches!(p.source, Source::Sidecar(_)));
    // Another range has mean and std in other units.
    let range = Given { range: Some([0.0, 255.0]), ..Given::default() };
    let p = resolve_all(&[], ElemType::Float, &[], &range).unwrap().preprocessing;
    assert_eq!(values(&p), ([0.0, 255.0], vec![0.0; 3], vec![1.0; 3], false));
}

#[test]
fn files_that_the_caller_names_replace_those_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let [sidecar, labels] = ["other.toml", "other.txt"].map(|name| folder.path().join(name));
    std::fs::write(&sidecar, "[input]\nsize = 48\n[output]\nlabels = ['x', 'y']\n").unwrap();
    std::fs::write(&labels, "p\nq\n").unwrap();
    let beside = [("net.toml", "[input]\nsize = 64\n")];
    let given = Given { sidecar: Some(sidecar), ..Given::default() };
    let found = resolve_all(&beside, ElemType::Float, &[], &given).unwrap();
    assert_eq!((found.preprocessing.size, found.labels.name(1)), ((48, 48), "y".into()));
    let given = Given { labels: Some(labels), ..given };
    let found = resolve_all(&beside, ElemType::Float, &[("names", "{0: 'z'}")], &given).unwrap();
    assert_eq!(found.labels.name(1), "q");
    assert!(found.describe_labels().starts_with("2, from ") && found.describe_labels().ends_with("other.txt"));
    let missing = Given { sidecar: Some("none.toml".into()), ..Given::default() };
    let error = resolve_all(&beside, ElemType::Float, &[], &missing).unwrap_err();
    assert!(matches!(error, Error::NoSuchFile { what: "sidecar", .. }), "{error}");
}

#[test]
fn values_of_the_caller_that_cannot_be_are_refused() {
    let refused =
        |given: Given| resolve_all(&[], ElemType::Float, &[("stride", "32")], &given).unwrap_err().to_string();
    let units = Given { mean: Some(vec![123.675, 116.28, 103.53]), ..Given::default() };
    assert!(refused(units.clone()).contains("the mean 123.675 is not within 0 and 1"));
    assert!(resolve_all(&[], ElemType::Float, &[], &Given { range: Some([0.0, 255.0]), ..units }).is_ok());
    assert!(refused(Given { std: Some(vec![0.0]), ..Given::default() }).contains("std has the value 0"));
    assert!(
        refused(Given { mean: Some(vec![0.5; 2]), ..Given::default() }).contains("mean has 2 values for 3 channels")
    );
    assert!(refused(Given { size: Some((64, 50)), ..Given::default() }).contains("multiples of 32, not 64 × 50"));
    assert!(refused(Given { white: Some(0.0), ..Given::default() }).contains("white 0 is not a number above 0"));
    let declared = Declared {
        path: "net.onnx".as_ref(),
        shape: &[None, Some(1), Some(28), Some(28)],
        elem: ElemType::Float,
        dense: None,
    };
    let refused = |given: Given| declared.resolve(&Embedded::default(), &given).unwrap_err();
    assert!(matches!(refused(Given { size: Some((32, 32)), ..Given::default() }), Error::FixedSize { .. }));
    assert!(refused(Given { bgr: true, ..Given::default() }).to_string().contains("one channel"));
}

#[test]
fn the_model_files_own_metadata_is_used() {
    let ultralytics =
        [("names", "{0: 'person', 1: 'bicycle'}"), ("imgsz", "[320, 416]"), ("stride", "32"), ("task", "detect")];
    let found = resolve_all(&[], ElemType::Float, &ultralytics, &Given::default()).unwrap();
    let p = &found.preprocessing;
    assert_eq!(
        (p.size, p.crop, values(p)),
        ((320, 416), Crop::Letterbox, ([0.0, 1.0], vec![0.0; 3], vec![1.0; 3], false))
    );
    assert_eq!(
        found.remarks(),
        [
            "preprocessing read from the model's own metadata (Ultralytics): 320 × 416 pixels (letterbox), RGB from 0 to 1, no mean, \
          no std"
        ]
    );
    assert_eq!(found.labels.names(), ["person", "bicycle"]);
    assert_eq!(found.describe_labels(), "2, from the model's own metadata (`names`)");
    let classify = [("task", "classify"), ("imgsz", "[224, 224]")];
    let found = resolve_all(&[], ElemType::Float, &classify, &Given::default()).unwrap();
    assert_eq!(found.preprocessing.crop, Crop::CentreFraction(1.0));
    // Without a task only the size is known.
    let found = resolve_all(&[], ElemType::Float, &[("imgsz", "[64, 64]")], &Given::default()).unwrap();
    assert_eq!((found.preprocessing.size, found.preprocessing.source), ((64, 64), Source::Assumed));
    // A file beside the model counts first, and labels that it doesn't have are still the model's.
    let toml = [("net.toml", "[input]\nsize = 96\n")];
    let found = resolve_all(&toml, ElemType::Float, &ultralytics, &Given::default()).unwrap();
    assert_eq!((found.preprocessing.size, found.preprocessing.crop), ((96, 96), Crop::Letterbox));
    assert_eq!((found.preprocessing.mean, found.labels.len()), (vec![0.0; 3], 2));
    // What can't be understood is said.
    let found = resolve_all(&[], ElemType::Float, &[("names", "?")], &Given::default()).unwrap();
    assert_eq!(found.remarks()[1..], ["the model's metadata has a `names` that is not understood"]);
}

#[test]
fn a_size_in_the_metadata_does_not_contradict_the_graph() {
    let declared = Declared { path: "net.onnx".as_ref(), shape: &PHOTO, elem: ElemType::Float, dense: None };
    let embedded = Embedded::read([("imgsz", "[640, 640]"), ("task", "classify")]);
    assert_eq!(declared.resolve(&embedded, &Given::default()).unwrap().preprocessing.size, (224, 224));
}
