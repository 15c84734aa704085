//! `camscope methods`: every method, and what one computes.

use std::process::ExitCode;

use camscope_core::{
    Result,
    method::{self, Method, Parameters},
};
use serde_json::json;

use crate::{
    cli::MethodsArgs,
    output::{self, json_line},
    plugins,
};

/// Channels of the layer that costs are told for: those of ResNet-18's last one.
const CHANNELS: usize = 512;

/// Runs `camscope methods`.
///
/// # Errors
/// There is no method of that name.
pub(crate) fn run(args: &MethodsArgs) -> Result<ExitCode> {
    plugins::load(&args.plugins);
    let methods = match &args.name {
        Some(name) => vec![method::by_name(name)?],
        None => method::all(),
    };
    let text = match (args.json, &args.name) {
        (true, _) => methods.iter().map(|method| line(*method)).collect(),
        (false, Some(_)) => methods.iter().map(|method| page(*method)).collect(),
        (false, None) => table(&methods),
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// About how many forward passes it takes for one photo.
fn passes(method: Method) -> f64 {
    method.passes(&Parameters::defaults(method.parameters()), CHANNELS)
}

fn line(method: Method) -> String {
    let parameters = method
        .parameters()
        .iter()
        .map(|parameter| json!({ "name": parameter.name, "default": parameter.default, "about": parameter.about }));
    json_line(&json!({
        "name": method.name(),
        "family": method.family(),
        "about": method.about(),
        "passes": passes(method),
        "needs_gradients": method.needs_gradients(),
        "keeps_places": method.keeps_places(),
        "of_target": method.is_of_target(),
        "plugin": method.plugin(),
        "parameters": parameters.collect::<Vec<_>>(),
    }))
}

/// By family, each with its cost.
fn table(methods: &[Method]) -> String {
    let mut families: Vec<&str> = Vec::new();
    for method in methods {
        if !families.contains(&method.family()) {
            families.push(method.family());
        }
    }
    let width = methods.iter().map(|method| method.name().len()).max().unwrap_or(0);
    let mut text = format!("{:width$}  {:>8}\n", "", "passes");
    for family in families {
        text += &format!("{family}\n");
        for method in methods.iter().filter(|method| method.family() == family) {
            let from = method.plugin().map_or(String::new(), |plugin| format!(" [plugin {plugin}]"));
            text += &format!("{:width$}  {:>8}  {}{from}\n", method.name(), cost(*method), method.about());
        }
    }
    text + "passes: about how many forward passes one photo takes, with the defaults and a layer of 512 channels\n"
}

fn cost(method: Method) -> String {
    let passes = passes(method);
    if passes < 10.0 { format!("{passes:.1}") } else { format!("{passes:.0}") }
}

fn page(method: Method) -> String {
    let mut text = format!("{}: {}\n", method.name(), method.about());
    text += &format!("  family: {}; about {} forward passes a photo\n", method.family(), cost(method));
    if let Some(plugin) = method.plugin() {
        text += &format!("  of the plugin {plugin}\n");
    }
    text += if method.needs_gradients() {
        "  needs a gradient rule for every operator behind what it looks at\n"
    } else {
        "  needs no gradient\n"
    };
    if !method.is_of_target() {
        text += "  the same for every target\n";
    }
    if !method.keeps_places() {
        text += "  averages over the whole image: not for targets at one place\n";
    }
    for parameter in method.parameters() {
        text += &format!("  {}={}  {}\n", parameter.name, parameter.default, parameter.about);
    }
    text
}
