//! What a plugin says of itself.

use serde::{Deserialize, Serialize};

/// Name and version, as the exported struct has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The interface that it was compiled for: major and minor version.
    pub abi: (u32, u32),
}

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor) = self.abi;
        match self.name.as_str() {
            "" => write!(f, "ABI {major}.{minor}"),
            name => write!(f, "{name} {}, ABI {major}.{minor}", self.version),
        }
    }
}

/// What a plugin has, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Its colormaps.
    pub colormaps: Vec<String>,
    /// Its layer resolvers.
    pub resolvers: Vec<String>,
    /// Its gradient rules, as `DOMAIN.OPERATOR`.
    pub rules: Vec<String>,
    /// Its methods.
    pub methods: Vec<String>,
}

impl Contents {
    /// The items in order, each with what it is.
    pub fn items(&self) -> Vec<(&'static str, &str)> {
        let colormaps = self.colormaps.iter().map(|name| ("colormap", name.as_str()));
        let resolvers = self.resolvers.iter().map(|name| ("layer resolver", name.as_str()));
        let rules = self.rules.iter().map(|name| ("gradient rule", name.as_str()));
        let methods = self.methods.iter().map(|name| ("method", name.as_str()));
        colormaps.chain(resolvers).chain(rules).chain(methods).collect()
    }
}
