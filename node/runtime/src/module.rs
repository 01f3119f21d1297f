//! A loaded program: native code of a core module or a component, linked to the host once and
//! shared by every container that runs it.

/// How a module is compiled: with or without counting fuel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// No fuel accounting.
    Plain,
    /// Counts fuel; for containers with a fuel limit only.
    Fuel,
}

/// What a module's entry point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModuleKind {
    /// A preview-1 core module with `_start`.
    Command,
    /// A component exporting `wasi:cli/run`.
    CommandComponent,
    /// A component exporting `wasi:http/incoming-handler`.
    HttpComponent,
}

/// A program ready to be started any number of times.
pub struct Module {
    digest: String,
    flavor: Flavor,
    kind: ModuleKind,
}

impl Module {
    /// The digest it was loaded by.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it was compiled for.
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// What its entry point is.
    pub fn kind(&self) -> ModuleKind {
        self.kind
    }
}
