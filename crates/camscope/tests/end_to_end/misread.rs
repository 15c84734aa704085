//! Models that were once explained as what they are not: what is said of them now.

use camscope_core::runtime::{Runtime, SessionOptions, Value};
use insta::assert_snapshot;
use ndarray::{Array, Axis, IxDyn, concatenate};

use crate::common::{RUNTIME, Scene, cat_and_coffee, file, floats, relative_error, write_floats};

/// Text with its fractions left out: they are the machine's.
fn without_fractions(text: &str) -> String {
    let mut found = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let end = number.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        found += before;
        found += if number.trim_end_matches('.').contains('.') { "#" } else { number };
        rest = after;
    }
    found + rest
}

#[test]
fn what_was_misread_is_called_what_it_is() {
    let scene = Scene::new();
    for name in [
        "anchors",
        "anchors_of_cells",
        "auxiliary_head",
        "background_last",
        "between_minus_one_and_one",
        "bits",
        "both_sides",
        "box_beside_scores",
        "boxes_first",
        "cells_in_a_row",
        "codes",
        "colours",
        "complement",
        "corners_of_cells",
        "crnn",
        "crops_inside",
        "ctc_flattened",
        "ctc_time_first",
        "depth_in_range",
        "direction",
        "disparity_in_bounds",
        "distances",
        "distribution",
        "embedding",
        "evidence",
        "face_embedding",
        "features_in_a_path",
        "first_tokens",
        "five_numbers",
        "four_beside_logits",
        "gelu_mean",
        "groups_and_classes",
        "headless_cnn",
        "heads_stacked",
        "heat_and_segments",
        "image_plus_table",
        "joined_channels",
        "landmarks",
        "levels_joined",
        "map_in_a_row",
        "maps_and_pooled",
        "maps_in_range",
        "marked",
        "mask_logits",
        "masks_behind_classes",
        "mean_of_softmaxes",
        "mean_of_two_heads",
        "nearness",
        "numbers_of_cells",
        "of_unit_size",
        "one_by_one",
        "one_number",
        "panoptic",
        "people",
        "picture",
        "picture_in_a_row",
        "places_of_a_plate",
        "points_found",
        "points_unnamed",
        "pose_turned",
        "positions_ask",
        "projection",
        "quality",
        "queried",
        "rated_masks",
        "read_already",
        "relu_flat",
        "relu_mean",
        "rotation",
        "row_without_batch",
        "rows_joined",
        "rows_of_places",
        "scores_beside_sides",
        "scores_first",
        "seg_binary",
        "segments_beside_row",
        "shares",
        "shares_of_evidence",
        "softmax_over_places",
        "squeezed",
        "steps_of_a_scale",
        "surest_class",
        "three_heads",
        "tokens_and_pooled",
        "topk",
        "two_channels",
        "two_maps",
        "two_vectors",
        "unit_map",
        "unsuppressed",
        "yolox_turned",
    ] {
        let model = file("tests/fixtures/cases").join(name).with_extension("onnx");
        let said = scene.run(["predict".into(), model.into_os_string(), cat_and_coffee().into_os_string()]).all();
        assert_snapshot!(format!("misread_{name}"), without_fractions(&said));
    }
}

#[test]
fn of_several_outputs_the_number_that_is_taken_is_named() {
    let scene = Scene::new();
    let model = file("tests/fixtures/cases/landmarks_and_flag.onnx").into_os_string();
    let ran = scene.run(["explain".into(), model, cat_and_coffee().into_os_string(), "--json".into()]).ok_with_notes();
    let said = "of several outputs `flag` is taken for the number; the others are `landmarks`";
    assert!(ran.json()[0]["task"] == "number" && ran.stderr.contains(said), "{}", ran.all());
}

#[test]
fn what_is_but_a_guess_is_said_until_something_confirms_it() {
    let scene = Scene::new();
    scene.copy(&file("tests/fixtures/cases/five_numbers.onnx"), "five.onnx");
    scene.copy(&file("tests/fixtures/cases/projection.onnx"), "projection.onnx");
    let run = |command: &str, model: &str, options: &[&str]| {
        let first = [command.into(), model.into(), cat_and_coffee().into_os_string()];
        scene.run(first.into_iter().chain(options.iter().map(Into::into)))
    };
    let told = |ran: &crate::common::Ran| {
        ran.stderr.contains("by its shape alone") || ran.stdout.contains("by its shape alone")
    };
    for command in ["predict", "explain"] {
        let ran = run(command, "five.onnx", &["--json"]).ok_with_notes();
        let guess = ran.json()[0]["guess"].as_str().map(str::to_owned).expect("a guess");
        assert!(ran.stderr.contains(&guess) && guess.contains("kind = \"classification\""), "{}", ran.all());
    }
    assert!(told(&run("check", "five.onnx", &[])));
    // Who names a class, or one of the numbers, knows.
    for target in ["class:3", "output:output[0,0]"] {
        assert!(!told(&run("explain", "five.onnx", &["--target", target]).ok_with_notes()), "{target}");
    }
    assert_eq!(run("explain", "projection.onnx", &[]).status, Some(1));
    let labels = |count: usize| (0..count).map(|at| format!("\"kind {at}\",")).collect::<String>();
    for said in
        ["[task]\nkind = \"classification\"\n", "[output]\nlabels = [LABELS]\n", "[output]\nlogits = \"output\"\n"]
    {
        for (name, count) in [("five", 5), ("projection", 128)] {
            scene.write(&format!("{name}.toml"), said.replace("LABELS", &labels(count)));
            let ran = run("explain", &format!("{name}.onnx"), &["--json"]).ok_with_notes();
            let line = ran.json().remove(0);
            assert!(
                line["task"] == "classification" && line["guess"].is_null() && !told(&ran),
                "{name} {said}: {}",
                ran.all()
            );
        }
    }
}

#[test]
fn that_a_logistic_function_alone_makes_a_foreground_is_said_until_something_confirms_it() {
    let scene = Scene::new();
    for name in ["seg_binary", "maps_in_range"] {
        scene.copy(&file("tests/fixtures/cases").join(name).with_extension("onnx"), &format!("{name}.onnx"));
        let run = |command: &str, options: &[&str]| {
            let first = [command.into(), format!("{name}.onnx").into(), cat_and_coffee().into_os_string()];
            scene.run(first.into_iter().chain(options.iter().map(Into::into)))
        };
        let unsaid = run("predict", &["--json"]).ok_with_notes();
        let guess = unsaid.json()[0]["guess"].as_str().map(str::to_owned).expect("a guess");
        assert!(unsaid.stderr.contains(&guess) && guess.contains("by its logistic function alone"), "{}", unsaid.all());
        assert!(run("check", &[]).stdout.contains("by its logistic function alone"), "{name}");
        for (kind, target) in [("segmentation", "segment:top1"), ("dense", "pixel:peak")] {
            scene.write(&format!("{name}.toml"), format!("[task]\nkind = \"{kind}\"\n"));
            let said = run("explain", &["--json", "--target", target]).ok_with_notes();
            assert!(said.json()[0]["guess"].is_null() && said.json()[0]["task"] == kind, "{}", said.all());
        }
        let labels = if name == "seg_binary" { "[\"person\"]" } else { "[\"a\", \"b\", \"c\", \"d\"]" };
        scene.write(&format!("{name}.toml"), format!("[output]\nlabels = {labels}\n"));
        let labelled = run("predict", &["--json"]).ok_with_notes().json().remove(0);
        assert!(labelled["guess"].is_null() && labelled["task"] == "segmentation", "{labelled}");
    }
}

#[test]
fn what_softmaxes_are_made_into_is_a_probability_as_it_is() {
    for name in ["mean_of_softmaxes", "crops_inside", "groups_and_classes", "shares_of_evidence"] {
        is_a_probability_as_it_is(name);
    }
}

fn is_a_probability_as_it_is(name: &str) {
    let scene = Scene::new();
    scene.copy(&file(&format!("tests/fixtures/cases/{name}.onnx")), "mean.onnx");
    let options = ["--layer", "@input", "--raw", "raw", "--json", "--target"];
    let explain = |more: &[&str]| {
        let first = ["explain".into(), "mean.onnx".into(), cat_and_coffee().into_os_string()];
        let ran = scene.run(first.into_iter().chain(options.iter().chain(more).map(Into::into))).ok_with_notes();
        let line = ran.json().remove(0);
        let gradient = floats(scene.path(&format!("{}.gradients.npy", line["raw"].as_str().expect("a stem"))));
        (line["target"]["score"].as_f64().expect("a number"), line["probability"].as_f64(), gradient)
    };
    let (wanted, _, slope) = explain(&["output:output[0,2]"]);
    for score in ["logit", "probability"] {
        let (own, probability, gradient) = explain(&["class:2", "--score", score]);
        assert!(
            own == wanted && probability == Some(wanted) && wanted > 0.0 && wanted < 1.0,
            "{name} {own} {probability:?}"
        );
        assert!(slope.iter().any(|slope| *slope != 0.0) && relative_error(&gradient, &slope) < 1e-6, "{name} {score}");
    }
    scene.run(["export", "mean.onnx", "--score", "probability", "-o", "exported.onnx"]).ok_with_notes();
    let runtime = Runtime::load(&RUNTIME).expect("ONNX Runtime loads");
    let heat = |model: &str| {
        let session = runtime.session_from_file(&scene.path(model), &SessionOptions::default()).expect("a session");
        let image = Array::from_shape_fn(IxDyn(&[1, 3, 32, 32]), |at| ((at[1] + at[2] * at[3]) % 7) as f32 / 7.0);
        let image = Value::from_f32(image).expect("floats");
        let class = Value::from_i64(Array::from_elem(IxDyn(&[1]), 2)).expect("a class");
        let outputs = session.run(&[("image", &image), ("camscope_class", &class)]).expect("a run");
        outputs.get("heatmap").expect("a heatmap").to_f32().expect("floats")
    };
    scene.run(["export", "mean.onnx", "-o", "logits.onnx"]).ok_with_notes();
    assert!(relative_error(&heat("exported.onnx"), &heat("logits.onnx")) < 1e-6);
}

#[test]
fn a_family_is_known_where_the_size_of_its_input_is_open() {
    let scene = Scene::new();
    let families = [
        ("retinaface", "RetinaFace"),
        ("scrfd", "InsightFace's SCRFD"),
        ("yunet", "YuNet"),
        ("nanodet", "NanoDet"),
        ("centerface", "CenterFace"),
    ];
    for (name, family) in families {
        let path = file(&format!("tests/fixtures/tasks/detection/{name}.ts.onnx"));
        let network = camscope_core::model::Network::open(&path).expect("a network");
        let mut graph = network.model.graph().clone();
        let sizes = [onnx_grad::Dim::Fixed(1), onnx_grad::Dim::Fixed(3), onnx_grad::Dim::Free, onnx_grad::Dim::Free];
        let ty = onnx_grad::ValueType { elem: onnx_grad::ElemType::Float, shape: Some(sizes.to_vec()) };
        graph.input[0] = onnx_grad::value_info(&graph.input[0].name.clone(), Some(&ty));
        graph.output.iter_mut().for_each(|output| *output = onnx_grad::value_info(&output.name.clone(), None));
        network.model.with_graph(graph).write(&scene.path("open.onnx")).expect("written");
        let photo = cat_and_coffee().into_os_string();
        let run = ["predict".into(), "open.onnx".into(), photo, "--size".into(), "64".into()];
        let ran = scene.run(run);
        assert!(ran.stderr.contains(&format!("as {family} has it")), "{name}: {}", ran.all());
    }
}

#[test]
fn a_detector_exported_whole_sees_all_of_the_photo_and_has_boxes_beside_scores_of_key_points() {
    let scene = Scene::new();
    for name in ["faster_rcnn", "retinanet", "fcos"] {
        let path = file(&format!("tests/fixtures/tasks/detection/{name}.ts.onnx"));
        let network = camscope_core::model::Network::open(&path).expect("a network");
        let mut graph = network.model.graph().clone();
        // Four key points have as many scores as a box has sides.
        graph.node.push(onnx_grad::proto::NodeProto {
            op_type: "Identity".into(),
            input: vec!["boxes".into()],
            output: vec!["keypoints_scores".into()],
            ..Default::default()
        });
        graph.output.push(onnx_grad::value_info("keypoints_scores", None));
        network.model.with_graph(graph).write(&scene.path("points.onnx")).expect("written");
        for model in [path.into_os_string(), "points.onnx".into()] {
            let ran = scene.run(["predict".into(), model, cat_and_coffee().into_os_string(), "--json".into()]);
            let ran = ran.ok_with_notes();
            assert!(ran.stderr.contains("all of the photo is seen"), "{name}: {}", ran.stderr);
            let said = ran.json().remove(0);
            assert!(said["task"] == "detection" && said["format"] == "torchvision", "{name}: {said}");
        }
    }
}

#[test]
fn a_target_is_differentiated_with_its_seed_inside_where_that_is_the_same_for_every_picture() {
    let scene = Scene::new();
    let number = |at: usize| ((at * 7919) % 1009) as f32 / 500.0 - 1.0;
    let model = file("tests/fixtures/tasks/detection/yolov8.ts.onnx");
    let spec = "not:output:output0[0,5,7:9]";
    // Each of two pictures has the gradient that it has alone.
    let pictures: Vec<_> = [0, 100_000]
        .map(|from| Array::from_shape_fn(IxDyn(&[1, 3, 64, 64]), |at| number(from + (at[1] * 64 + at[2]) * 64 + at[3])))
        .into();
    let alone: Vec<_> = pictures
        .iter()
        .map(|picture| {
            let tensor = scene.path("picture.npy");
            write_floats(&tensor, picture);
            let options = ["--target", spec, "--layer", "@input", "--raw", "raw", "--json", "--size", "64"];
            let run = ["explain".into(), model.clone().into_os_string(), "--tensor".into(), tensor.into_os_string()];
            let ran = scene.run(run.into_iter().chain(options.map(Into::into))).ok_with_notes();
            floats(scene.path(&format!("{}.gradients.npy", ran.json()[0]["raw"].as_str().expect("a stem"))))
        })
        .collect();
    let shape = ["--shape", "images=1,3,64,64", "-o", "gradient.onnx", "--wrt", "images", "--target"];
    let differentiate = |spec: &str| {
        let run = ["differentiate".into(), model.clone().into_os_string()];
        scene.run(run.into_iter().chain(shape.map(Into::into)).chain([spec.into()]))
    };
    assert_snapshot!("differentiate_target", differentiate(spec).all());
    let runtime = Runtime::load(&RUNTIME).expect("ONNX Runtime loads");
    let session = runtime.session_from_file(&scene.path("gradient.onnx"), &SessionOptions::default());
    let session = session.expect("a session");
    let views: Vec<_> = pictures.iter().map(|picture| picture.view()).collect();
    let both = Value::from_f32(concatenate(Axis(0), &views).expect("one shape")).expect("a value");
    let outputs = session.run(&[("images", &both)]).expect("a run");
    let gradient = outputs.get("grad.images").expect("the gradient").to_f32().expect("floats");
    let alone: Vec<_> = alone.iter().map(|gradient| gradient.view()).collect();
    let alone = concatenate(Axis(0), &alone).expect("one shape");
    assert!(alone.iter().any(|slope| *slope != 0.0) && relative_error(&gradient, &alone) < 1e-5);
    // Which box is the surest is the picture's: its seed stays an input.
    assert_snapshot!("differentiate_target_of_a_picture", differentiate("box:1").all());
}

#[test]
fn numbers_of_boxes_and_levels_of_a_detector_are_no_classes() {
    let scene = Scene::new();
    for (name, turned) in [("tensorflow", false), ("picodet", true), ("nanodet", true)] {
        let path = file(&format!("tests/fixtures/tasks/detection/{name}.ts.onnx"));
        let network = camscope_core::model::Network::open(&path).expect("a network");
        let mut graph = network.model.graph().clone();
        for (at, output) in graph.output.iter_mut().enumerate() {
            // Other names, and rows and columns changed.
            let (from, to) = (output.name.clone(), format!("out{at}"));
            let is_table = output
                .r#type
                .as_ref()
                .and_then(onnx_grad::ValueType::from_proto)
                .is_some_and(|ty| ty.shape.is_some_and(|shape| shape.len() == 3));
            let (op, attribute) = match turned && is_table {
                true => ("Transpose", vec![onnx_grad::attr::ints("perm", &[0, 2, 1])]),
                false => ("Identity", vec![]),
            };
            graph.node.push(onnx_grad::proto::NodeProto {
                op_type: op.into(),
                input: vec![from],
                output: vec![to.clone()],
                attribute,
                ..Default::default()
            });
            *output = onnx_grad::value_info(&to, None);
        }
        network.model.with_graph(graph).write(&scene.path("other.onnx")).expect("written");
        let photo = cat_and_coffee().into_os_string();
        let run = ["predict".into(), "other.onnx".into(), photo, "--size".into(), "64".into(), "--json".into()];
        let said = scene.run(run).ok_with_notes().json().remove(0);
        let task = said["task"].as_str();
        assert!(!matches!(task, Some("classification" | "detection")), "{name}: {said}");
    }
}

#[test]
fn a_frame_of_a_video_is_not_shown_as_the_whole() {
    let scene = Scene::new();
    write_floats(&scene.path("video.npy"), &Array::from_elem(IxDyn(&[1, 4, 3, 32, 32]), 0.5));
    let model = file("tests/fixtures/cases/frames.onnx").into_os_string();
    let options = ["--tensor", "video.npy", "--json"].map(Into::into);
    let ran = scene.run(["explain".into(), model].into_iter().chain(options));
    assert_snapshot!("misread_frames", ran.all());
}

#[test]
fn what_has_lost_the_order_of_the_image_is_no_layer() {
    let scene = Scene::new();
    for (name, last) in [("unrolled", "tokens 0+8×8"), ("tokens_in_a_row", "tokens 0+8×8"), ("queries", "tokens 0+4×4")]
    {
        let model = file("tests/fixtures/cases").join(name).with_extension("onnx");
        let said = scene.run(["layers".into(), model.into_os_string()]).all();
        assert_snapshot!(format!("misread_layers_{name}"), said);
        // The tokens in the order of the image are listed, and nothing behind them.
        assert!(said.contains(last), "{said}");
    }
}
