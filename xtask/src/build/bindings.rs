//! What wasm-bindgen writes to load the module goes: `www/src/client/module.ts` does it, in less, and what it needs is exported.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Where the loading begins in the script, and what takes its place.
const SCRIPT: [&str; 2] =
    ["async function __wbg_load(", "export { __wbg_get_imports as imports, __wbg_finalize_init as begin };\n"];

/// The same in the declarations.
const DECLARATIONS: [&str; 2] = [
    "export type InitInput =",
    "/** What the module is to be given. */\n\
     export function imports(): WebAssembly.Imports;\n\n\
     /** Makes this instance the one that is behind all classes here. */\n\
     export function begin(instance: WebAssembly.Instance): void;\n",
];

/// Replaces the loading in the script `bindings` and in the declarations beside it.
pub(super) fn without_loading(folder: &Path, bindings: &str) -> Result<()> {
    for (ending, cut) in [("js", SCRIPT), ("d.ts", DECLARATIONS)] {
        let path = folder.join(format!("{bindings}.{ending}"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let text = replaced(&text, cut).with_context(|| path.display().to_string())?;
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn replaced(text: &str, [begin, end]: [&str; 2]) -> Result<String> {
    let at = text.find(begin).with_context(|| format!("wasm-bindgen wrote no `{begin}`"))?;
    Ok(format!("{}{end}", &text[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_loading_stays() {
        let script = "let wasm;\nasync function __wbg_load(module) {}\nexport { initSync, __wbg_init as default };\n";
        assert_eq!(replaced(script, SCRIPT).unwrap(), format!("let wasm;\n{}", SCRIPT[1]));
        assert!(replaced("let wasm;", SCRIPT).is_err());
    }
}
