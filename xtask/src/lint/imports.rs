//! What the compiled modules want from their host.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload};

use super::Outcome;
use crate::build;
use crate::process::{cargo, run};
use crate::workspace::{WASM_TARGET, Workspace};

/// wasm-bindgen resolves imports of these names itself.
const BINDGEN_PREFIX: &str = "__wbindgen_";

/// Of an empty crate and std there are some 1,200, of the core more than 10,000.
const FUNCTIONS_MIN: u32 = 3_000;

/// The core, linked alone with all its functions kept, imports nothing: no clock, no entropy, no host.
///
/// Generic functions show only in the instances that the core itself makes.
pub(super) fn core(workspace: &Workspace) -> Result<Outcome> {
    // A target directory of its own: with these flags the core would otherwise be built anew after each lint.
    let target = workspace.scratch("probe");
    let mut probe = cargo(workspace);
    probe.args(["rustc", "--package", "headwater", "--lib", "--crate-type", "cdylib", "--target", WASM_TARGET]);
    probe.arg("--target-dir").arg(&target);
    // Without the first, rustc compiles only what a C caller could reach; without the second, the linker keeps only that.
    probe.args(["--", "-Clink-dead-code", "-Clink-arg=--no-gc-sections"]);
    run(&mut probe)?;

    let module = fs::read(target.join(WASM_TARGET).join("debug/headwater.wasm"))?;
    let Module { functions, imports } = Module::parse(&module)?;
    if functions < FUNCTIONS_MIN {
        bail!("the probe holds {functions} functions only: the linker has dropped the core");
    }
    if !imports.is_empty() {
        bail!("the core wants from its host: {}", listed(&imports));
    }
    Ok(Outcome::Holds)
}

/// The browser's module wants nothing but what wasm-bindgen will provide.
pub(super) fn www(workspace: &Workspace) -> Result<Outcome> {
    let path = build::www_module(workspace)?;
    let foreign: Vec<_> =
        imports_of(&path)?.into_iter().filter(|(from, _)| !from.starts_with(BINDGEN_PREFIX)).collect();
    if !foreign.is_empty() {
        bail!("{} wants from its host: {}", path.display(), listed(&foreign));
    }
    Ok(Outcome::Holds)
}

fn imports_of(path: &Path) -> Result<Vec<(String, String)>> {
    let module = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(Module::parse(&module)?.imports)
}

/// What matters here of a wasm module.
struct Module {
    /// How many functions have a body in it.
    functions: u32,
    /// Module and name of each import.
    imports: Vec<(String, String)>,
}

impl Module {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut module = Self { functions: 0, imports: Vec::new() };
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::FunctionSection(functions) => module.functions = functions.count(),
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        module.imports.push((import.module.to_owned(), import.name.to_owned()));
                    }
                }
                _ => {}
            }
        }
        Ok(module)
    }
}

fn listed(imports: &[(String, String)]) -> String {
    imports.iter().map(|(from, name)| format!("{from}.{name}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_found() {
        // (module (import "env" "now" (func)))
        let bytes = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x0b\x01\x03env\x03now\0\0";
        let module = Module::parse(bytes).expect("a module");
        assert_eq!(module.imports, [("env".to_owned(), "now".to_owned())]);
        assert_eq!(module.functions, 0);
    }
}
