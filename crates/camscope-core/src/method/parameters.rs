//! Parameters of methods: numbers by name.

/// A parameter of a method.
#[derive(Debug, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it is where nobody sets it.
    pub default: f64,
    /// What it does, with its unit, in one line.
    pub about: &'static str,
}

/// The parameters of a method, each with its value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(Vec<(&'static str, f64)>);

impl Parameters {
    /// Those of a method, as they are where nobody sets them.
    pub fn defaults(of: &[Parameter]) -> Self {
        Self(of.iter().map(|parameter| (parameter.name, parameter.default)).collect())
    }

    /// Sets one; whether there is one of that name.
    pub fn set(&mut self, name: &str, value: f64) -> bool {
        let found = self.0.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, own)| *own = value).is_some()
    }

    /// The value of one; 0 where there is none of that name.
    pub fn get(&self, name: &str) -> f64 {
        self.0.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, value)| *value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter().copied()
    }
}
