//! Tries a plugin: what runs in the child process. Every step is announced, so that the parent knows what a crash was about.

use std::{io::Write, path::Path};

use camscope_core::{
    layer::{Layer, Layout, check_preferences},
    rules::GradientRule,
    runtime::Runtime,
};
use onnx_grad::{
    Dim, EMITTED_OPSET, ElemType, ForeignNode, ValueType, check_function,
    proto::{FunctionProto, NodeProto},
};

use crate::{
    colormap::Colormap,
    events::{Event, MARK},
    library::Library,
    method::Method,
    resolver::{Facts, Resolver},
    rule::Rule,
};

/// The hidden subcommand of `camscope` that tries a plugin: the library's path, then which part: `all`, `load`, `contents`, `end` or
/// an item's number.
pub const EXERCISE_COMMAND: &str = "__exercise-plugin";

/// Tries the plugin and prints what the parent wants to know.
pub fn exercise(path: &Path, part: &str) {
    leave_no_core();
    let result = parts(path, part);
    tell(&Event::End(result));
}

/// A plugin that crashes here was expected to: no file for the debugger is wanted.
fn leave_no_core() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        // Where it cannot be had, a file is left behind.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

fn tell(event: &Event) {
    let text = serde_json::to_string(event).unwrap_or_default();
    let mut stdout = std::io::stdout().lock();
    // A parent that is gone doesn't want to know.
    let _ = writeln!(stdout, "\n{MARK}{text}");
    let _ = stdout.flush();
}

fn begin(what: impl Into<String>) {
    tell(&Event::Begin(what.into()));
}

fn parts(path: &Path, part: &str) -> Result<(), String> {
    begin("it was loaded");
    let library = Library::open(path, &mut |about| tell(&Event::About(about.clone())))?;
    if part == "load" {
        return Ok(());
    }
    begin("`init` was called");
    library.init()?;
    begin("its factories were read");
    let items = library.items()?;
    tell(&Event::Contents(items.contents()));
    let colormaps = items.colormaps.iter().map(Item::Colormap);
    let resolvers = items.resolvers.iter().map(Item::Resolver);
    let rules = items.rules.iter().map(Item::Rule);
    let methods = items.methods.iter().map(Item::Method);
    let all: Vec<Item<'_>> = colormaps.chain(resolvers).chain(rules).chain(methods).collect();
    if part == "all" {
        all.iter().try_for_each(Item::exercise)?;
    } else if let Some(item) = part.parse::<usize>().ok().and_then(|at| all.get(at)) {
        item.exercise()?;
    }
    if matches!(part, "all" | "end") {
        begin("`deinit` was called");
        library.deinit();
    }
    Ok(())
}

enum Item<'a> {
    Colormap(&'a Colormap),
    Resolver(&'a Resolver),
    Rule(&'a Rule),
    Method(&'a Method),
}

impl Item<'_> {
    fn exercise(&self) -> Result<(), String> {
        match self {
            Self::Colormap(colormap) => {
                begin(format!("colormap `{}` was filled", colormap.name));
                [256, 2, 1024, 256].into_iter().try_for_each(|count| colormap.fill(count).map(|_| ()))
            }
            Self::Resolver(resolver) => {
                begin(format!("layer resolver `{}` was asked", resolver.name));
                made_up_layers().iter().try_for_each(|layers| ask(resolver, layers))
            }
            Self::Rule(rule) => {
                begin(format!("the gradient rule for {} was asked", rule.title()));
                differentiate(rule)
            }
            Self::Method(method) => {
                begin(format!("method `{}` was asked for its function", method.name));
                let cam = method.cam()?;
                begin("ONNX Runtime was loaded");
                // Where there is none, nothing is explained either.
                let Ok(runtime) = Runtime::get_or_load() else { return Ok(()) };
                begin(format!("the function of method `{}` was run", method.name));
                cam.try_out(runtime).map_err(|reason| method.refused(&reason))
            }
        }
    }
}

fn ask(resolver: &Resolver, layers: &[Layer]) -> Result<(), String> {
    let facts = Facts {
        producer: "pytorch".into(),
        graph: "main_graph".into(),
        input: "images".into(),
        metadata: vec![("names".into(), "{0: 'cat'}".into())],
    };
    let answer = resolver.ask(&facts, layers).and_then(|preferences| check_preferences(layers, &preferences));
    answer.map(|_| ()).map_err(|reason| format!("layer resolver `{}`: {reason}", resolver.name))
}

/// Models of several families, and one without layers.
fn made_up_layers() -> [Vec<Layer>; 3] {
    let layer = |index: usize, module: &str, op: &str, shape: &[usize], layout: Layout| Layer {
        index,
        value: format!("/{}/{op}_output_0", module.replace('.', "/")),
        op: op.to_owned(),
        module: (!module.is_empty()).then(|| module.to_owned()),
        outputs_of: (index.is_multiple_of(2) && !module.is_empty()).then(|| module.to_owned()).into_iter().collect(),
        shape: std::iter::once(None).chain(shape.iter().map(|&size| Some(size))).collect(),
        elem: ElemType::Float,
        layout,
        informative: true,
    };
    let convolutions = ["model.0.conv", "model.15", "model.18", "neck.out", "", "features.17"];
    let convolutions = convolutions.iter().enumerate();
    let tokens = Layout::Tokens { prefix: 1, height: 14, width: 14 };
    let blocks = ["blocks.0", "blocks.11", "encoder.layer.3"];
    [
        convolutions.map(|(at, module)| layer(at, module, "Conv", &[8, 4, 4], Layout::Nchw)).collect(),
        blocks.iter().enumerate().map(|(at, module)| layer(at, module, "Add", &[197, 8], tokens)).collect(),
        Vec::new(),
    ]
}

/// A rule may refuse a node that is only made up, but what it gives must be such a function as the contract says.
fn differentiate(rule: &Rule) -> Result<(), String> {
    let (domain, op) = rule.of();
    let node = NodeProto {
        name: "made_up".into(),
        op_type: op.to_owned(),
        domain: domain.to_owned(),
        input: vec!["x".into()],
        output: vec!["y".into()],
        ..Default::default()
    };
    let dims = [Dim::Free, Dim::Fixed(8), Dim::Fixed(4), Dim::Fixed(4)];
    let known = ValueType { elem: ElemType::Float, shape: Some(dims.to_vec()) };
    for ty in [Some(known), None] {
        let asked = ForeignNode {
            node: &node,
            version: rule.versions().0.max(1),
            opset: EMITTED_OPSET,
            inputs: vec![ty.clone()],
            outputs: vec![ty],
            wanted: vec![true],
        };
        let title = rule.title();
        let check = |function: FunctionProto| check_function(&function, (1, 1), EMITTED_OPSET);
        match rule.differentiate(&asked) {
            Ok(function) => check(function).map_err(|reason| format!("the gradient rule for {title}: {reason}"))?,
            Err(reason) if reason.contains("are not an ONNX function") || reason.starts_with("it panicked") => {
                return Err(format!("the gradient rule for {title}: {reason}"));
            }
            Err(_) => {}
        }
    }
    Ok(())
}
